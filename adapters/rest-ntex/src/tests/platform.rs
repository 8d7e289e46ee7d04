//! A platform to ask, and what it answers.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use ntex::SharedCfg;
use ntex::http::body::MessageBody;
use ntex::http::{HeaderMap, Method, Request, Response};
use ntex::service::boxed::BoxService;
use ntex::service::{Pipeline, ServiceFactory};
use ntex::web::{Error, WebAppConfig, test::TestRequest};
use pocket_application::{
    ActivityOptions, Adapters, Application, FirstAdmin, IngestOptions, Options, TelemetryRules, ThrottleLimits,
};
use pocket_auth::{Argon2PasswordHasher, HashingLimits, HmacTokenHasher, JwtIssuer, OsEntropy};
use pocket_domain::{NodeName, Password, PayloadPolicy, Timestamp, TopicFilter, Username};
use pocket_ports::FixedClock;
use serde_json::{Value, json};

use crate::app::app;
use crate::config::{BodyLimits, Metrics, MetricsToken};
use crate::extract::Shared;
use crate::gate::Gate;
use crate::stats::RestMeter;
use crate::trusted::TrustedProxies;

pub(super) const PASSWORD: &str = "correct horse battery";
pub(super) const TTL: Duration = Duration::from_secs(3_600);
pub(super) const LIMITS: BodyLimits = BodyLimits { telemetry: 200_000, other: 10_000 };

/// A running platform with the administrator `admin`.
pub(super) struct Platform {
    pub(super) application: Arc<Application>,
    pub(super) clock: Arc<FixedClock>,
    pub(super) shared: Shared,
    service: Pipeline<BoxService<Request, Response, Error>>,
}

/// An answer.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) text: String,
}

impl Reply {
    pub(super) async fn read(mut response: Response) -> Self {
        let text = String::from_utf8(Self::bytes(&mut response).await).unwrap();
        Self { status: response.status().as_u16(), headers: response.headers().clone(), text }
    }

    /// The whole body.
    pub(super) async fn bytes(response: &mut Response) -> Vec<u8> {
        let mut body = response.take_body();
        let mut bytes = Vec::new();
        while let Some(chunk) = poll_fn(|cx| body.poll_next_chunk(cx)).await {
            bytes.extend_from_slice(&chunk.unwrap());
        }
        bytes
    }

    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {}", self.text))
    }

    /// The JSON of an answer with this status.
    #[track_caller]
    pub(super) fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        if self.text.is_empty() { Value::Null } else { self.json() }
    }

    /// Asserts a problem of this status and code and gives the names of its fields.
    #[track_caller]
    pub(super) fn problem(&self, status: u16, code: &str) -> Vec<String> {
        let body = self.expect(status);
        assert_eq!(self.header("content-type"), "application/problem+json");
        assert_eq!((&body["code"], &body["status"]), (&json!(code), &json!(status)), "{}", self.text);
        assert_eq!(body["type"], "about:blank");
        for text in ["title", "detail", "instance"] {
            assert!(body[text].as_str().is_some_and(|text| !text.is_empty()), "{text}: {}", self.text);
        }
        assert!(!self.header("x-request-id").is_empty());
        let errors = body["errors"].as_array().cloned().unwrap_or_default();
        errors.iter().map(|error| error["field"].as_str().unwrap().to_owned()).collect()
    }
}

impl Platform {
    pub(super) async fn start() -> Self {
        Self::start_with(ThrottleLimits::PEOPLE, None).await
    }

    pub(super) async fn start_with(people_throttle: ThrottleLimits, metrics_token: Option<&str>) -> Self {
        let clock = Arc::new(FixedClock::new(Timestamp::from_millis(1_800_000_000_000).unwrap()));
        let limits = HashingLimits { at_once: 4, waiting: 64 };
        let adapters = Adapters {
            storage: pocket_storage_memory::storage(),
            password_hasher: Arc::new(Argon2PasswordHasher::new(tokio::runtime::Handle::current(), limits)),
            token_issuer: Arc::new(JwtIssuer::new(&[1; 32], TTL).unwrap()),
            token_hasher: Arc::new(HmacTokenHasher::new(&[2; 32]).unwrap()),
            entropy: Arc::new(OsEntropy),
            clock: clock.clone(),
        };
        let admin = FirstAdmin {
            username: Username::parse("admin").unwrap(),
            password: Some(Password::parse(PASSWORD).unwrap()),
        };
        pocket_application::prepare(&adapters, admin, PayloadPolicy::Auto).await.unwrap();
        let options = Options {
            node: NodeName::default(),
            ingest: IngestOptions::default(),
            telemetry: TelemetryRules {
                topics: vec![TopicFilter::parse("#").unwrap()],
                max_payload: 65_536,
                max_retained_payload: 1 << 20,
                max_keys: 2_048,
                payload_policy: PayloadPolicy::Auto,
            },
            time: pocket_application::TimeOptions::default(),
            topics: pocket_application::TopicLimits::default(),
            activity: ActivityOptions::default(),
            reads: pocket_application::SlotLimits::READS,
            max_login_age: Options::MAX_LOGIN_AGE,
            people_throttle,
            device_throttle: ThrottleLimits::DEVICES,
        };
        let application = Application::start(adapters, options);
        let metrics = Metrics {
            text: Arc::new(|| "pocket_up 1\n# EOF\n".to_owned()),
            token: metrics_token.and_then(MetricsToken::new),
        };
        let meter = RestMeter::new(Gate::new(Gate::REQUESTS));
        let shared = Shared::new(Arc::clone(&application), LIMITS, metrics, TrustedProxies::default(), &meter);
        let config = SharedCfg::new("test").add(WebAppConfig::new()).into();
        let service = app(shared.clone(), meter).boxed().pipeline(config).await.unwrap();
        Self { application, clock, shared, service }
    }

    /// Sends a request.
    pub(super) async fn send(&self, request: TestRequest) -> Reply {
        Reply::read(self.respond(request).await).await
    }

    /// Sends a request whose answer is not read.
    pub(super) async fn respond(&self, request: TestRequest) -> Response {
        self.service.call(request.header("host", "a").to_request()).await.unwrap()
    }

    /// Sends a request with a body, or without when it is null.
    pub(super) async fn call(&self, token: &str, method: &str, path: &str, body: Value) -> Reply {
        let mut request = TestRequest::with_uri(path).method(method.parse::<Method>().unwrap());
        if !token.is_empty() {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if !body.is_null() {
            request = request.set_json(&body);
        }
        self.send(request).await
    }

    pub(super) async fn get(&self, token: &str, path: &str) -> Reply {
        self.call(token, "GET", path, Value::Null).await
    }

    pub(super) async fn post(&self, token: &str, path: &str, body: Value) -> Reply {
        self.call(token, "POST", path, body).await
    }

    /// Logs in and gives the token.
    pub(super) async fn login(&self, tenant: &str, username: &str) -> String {
        let body = json!({"tenant": tenant, "username": username, "password": PASSWORD});
        let reply = self.post("", "/api/v1/auth/login", body).await.expect(200);
        reply["token"].as_str().unwrap().to_owned()
    }

    pub(super) async fn admin(&self) -> String {
        self.login("default", "admin").await
    }

    /// Adds a user of a role to a tenant and logs them in.
    pub(super) async fn user(&self, admin: &str, tenant: &Value, role: &str) -> String {
        let username = format!("some-{role}");
        let body = json!({"username": username, "password": PASSWORD, "role": role});
        let path = format!("/api/v1/users?tenantId={}", tenant["id"].as_str().unwrap());
        self.post(admin, &path, body).await.expect(201);
        self.login(tenant["name"].as_str().unwrap(), &username).await
    }

    /// Adds a tenant.
    pub(super) async fn tenant(&self, admin: &str, name: &str) -> Value {
        self.post(admin, "/api/v1/tenants", json!({"name": name})).await.expect(201)
    }

    /// Registers a device and gives its id.
    pub(super) async fn device(&self, token: &str, name: &str) -> String {
        let device = self.post(token, "/api/v1/devices", json!({"name": name})).await.expect(201);
        device["id"].as_str().unwrap().to_owned()
    }
}
