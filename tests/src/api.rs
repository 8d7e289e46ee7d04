//! A client of the REST API.

use std::net::{IpAddr, SocketAddr};

use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};

/// The REST API as somebody sees it who may be logged in.
#[derive(Clone)]
pub struct Api {
    client: reqwest::Client,
    base: String,
    token: Option<String>,
}

/// What a call was answered.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The body as JSON; null when it is empty or something else.
    pub body: Value,
}

impl Answer {
    /// The body, when the status is this one.
    ///
    /// # Panics
    /// When the status is another.
    #[track_caller]
    pub fn expect(self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.body);
        self.body
    }
}

impl Api {
    /// The API at this address, without a log-in.
    pub fn at(address: SocketAddr) -> Self {
        Self { client: reqwest::Client::new(), base: format!("http://{address}"), token: None }
    }

    /// The API at this address, asked from an address of this machine.
    ///
    /// # Panics
    /// When no client can be made.
    pub fn from(address: SocketAddr, source: IpAddr) -> Self {
        let client = reqwest::Client::builder().local_address(source).build().expect("a client is made");
        Self { client, ..Self::at(address) }
    }

    /// The bearer token of a log-in.
    ///
    /// # Panics
    /// When the log-in is refused.
    pub async fn token_of(&self, tenant: &str, username: &str, password: &str) -> String {
        let Self { token, .. } = self.log_in_to(tenant, username, password).await;
        token.expect("a log-in has a token")
    }

    /// The same API with a log-in of the tenant `default`.
    ///
    /// # Panics
    /// When the log-in is refused.
    pub async fn log_in(&self, username: &str, password: &str) -> Self {
        self.log_in_with(json!({ "username": username, "password": password })).await
    }

    /// The same API with a log-in of another tenant.
    ///
    /// # Panics
    /// When the log-in is refused.
    pub async fn log_in_to(&self, tenant: &str, username: &str, password: &str) -> Self {
        self.log_in_with(json!({ "tenant": tenant, "username": username, "password": password })).await
    }

    async fn log_in_with(&self, credentials: Value) -> Self {
        let session = self.post("/api/v1/auth/login", credentials).await.expect(200);
        let token = session["token"].as_str().expect("a log-in answers a token").to_owned();
        Self { token: Some(token), ..self.clone() }
    }

    /// The bearer token, when somebody is logged in.
    pub fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// A request that has the log-in, for what the calls below do not cover.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.client.request(method, format!("{}{path}", self.base));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// GET.
    pub async fn get(&self, path: &str) -> Answer {
        answer(self.request(Method::GET, path)).await
    }

    /// POST with a JSON body.
    pub async fn post(&self, path: &str, body: Value) -> Answer {
        answer(self.request(Method::POST, path).json(&body)).await
    }

    /// PATCH with a JSON body.
    pub async fn patch(&self, path: &str, body: Value) -> Answer {
        answer(self.request(Method::PATCH, path).json(&body)).await
    }

    /// PUT with a JSON body.
    pub async fn put(&self, path: &str, body: Value) -> Answer {
        answer(self.request(Method::PUT, path).json(&body)).await
    }

    /// DELETE.
    pub async fn delete(&self, path: &str) -> Answer {
        answer(self.request(Method::DELETE, path)).await
    }

    /// Registers a device and returns its id and token.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn register_device(&self, name: &str) -> (String, String) {
        let device = self.post("/api/v1/devices", json!({ "name": name })).await.expect(201);
        let text = |field: &str| device[field].as_str().expect("a new device has an id and a token").to_owned();
        (text("id"), text("token"))
    }

    /// A figure of `/metrics`, with its labels as they stand there: `name{label="value"}`. Nothing when it is not there.
    ///
    /// # Panics
    /// When the API does not answer, or the figure is no number.
    pub async fn metric(&self, name: &str) -> Option<f64> {
        let answer = self.request(Method::GET, "/metrics").send().await.expect("the API answers");
        let text = answer.text().await.expect("the answer is complete");
        let figure = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
        Some(figure.parse().expect("a figure is a number"))
    }

    /// All telemetry that a query finds, page by page through the cursor. `query` has no `cursor`.
    ///
    /// # Panics
    /// When a page is refused.
    pub async fn telemetry(&self, query: &str) -> Vec<Value> {
        let mut rows = Vec::new();
        let mut cursor = String::new();
        loop {
            let page = self.get(&format!("/api/v1/telemetry?{query}{cursor}")).await.expect(200);
            rows.extend(page["data"].as_array().expect("a page has data").iter().cloned());
            match page["pagination"]["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return rows,
            }
        }
    }
}

async fn answer(request: RequestBuilder) -> Answer {
    let response = request.send().await.expect("the API answers");
    let status = response.status();
    let bytes = response.bytes().await.expect("the answer is complete");
    Answer { status, body: serde_json::from_slice(&bytes).unwrap_or(Value::Null) }
}
