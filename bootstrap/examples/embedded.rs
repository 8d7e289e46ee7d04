//! A service that embeds Pocket IoT: the domain, the ports and the application, with a storage adapter of its own, and the
//! broker, with which it talks without a socket. No type of a web framework is in sight.
//!
//! Run it with `cargo run --example embedded`; it prints what a device reported.

#[path = "embedded/journal.rs"]
mod journal;

use std::error::Error;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use pocket_application::{
    ActivityOptions, Adapters, Application, ClientCredentials, DeviceGateway, FirstAdmin, IngestOptions, LoginAttempt,
    NewDevice, Options, RegisteredDevice, SlotLimits, TelemetryRules, ThrottleLimits, TimeOptions, TopicLimits,
    prepare,
};
use pocket_auth::{Argon2PasswordHasher, HashingLimits, HmacTokenHasher, JwtIssuer, OsEntropy};
use pocket_domain::{
    DeviceName, Labels, NodeName, Notes, Password, PayloadPolicy, SortOrder, TelemetryQuery, TopicFilter, TopicName,
    Username,
};
use pocket_mqtt_ntex::{Broker, MqttConfig, Publication, QoS, TenantAuthorizer};
use pocket_ports::{Settled, Storage, Submission, SystemClock};

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const PASSWORD: &str = "correct horse battery";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let dir = std::env::temp_dir().join(format!("pocket-embedded-{}", std::process::id()));
    std::fs::create_dir_all(&dir)?;
    let adapters = adapters(&dir)?;
    let admin = FirstAdmin { username: Username::parse("admin")?, password: Some(Password::parse(PASSWORD)?) };
    prepare(&adapters, admin, PayloadPolicy::Auto).await?;
    let application = Application::start(adapters, options()?);

    let attempt = LoginAttempt { tenant: None, username: "admin".into(), password: PASSWORD.into(), source: HERE };
    let session = application.auth.login(attempt).await?;
    let caller = application.auth.authenticate(&session.token).await?;
    let new = NewDevice {
        name: DeviceName::parse("boiler-1")?,
        labels: Labels::parse(&["cellar"])?,
        notes: Notes::default(),
        token_expires_at: None,
    };
    let registered = application.devices.register(&caller, None, new).await?;
    report(&application.gateway, &registered).await?;
    converse(&application, &registered).await?;

    let query = TelemetryQuery {
        topic: Some(TopicFilter::parse("house/#")?),
        order: SortOrder::Ascending,
        ..TelemetryQuery::default()
    };
    for row in application.telemetry.range(&caller, None, &query).await?.rows {
        print(&format!("{} {} {}", registered.device.name, row.topic, row.payload.as_str()));
    }

    let report = application.shutdown(Duration::from_secs(5)).await;
    std::fs::remove_dir_all(&dir)?;
    if report.not_stored.is_nothing() { Ok(()) } else { Err(format!("{} were not stored", report.not_stored).into()) }
}

/// What a transport of one's own does: prove the device, validate its messages, wait for the commit.
async fn report(gateway: &DeviceGateway, registered: &RegisteredDevice) -> Result<(), Box<dyn Error>> {
    let credentials = ClientCredentials { username: Some(registered.token.expose()), password: None, source: HERE };
    let access = gateway.connect(credentials).await?;
    let topic = TopicName::parse("house/boiler/temperature")?;
    let mut messages = Vec::new();
    for payload in ["61.5", r#"{"ts":1700000000000,"values":{"celsius":59.0}}"#] {
        messages.extend(gateway.accept(&access, &topic, payload.as_bytes(), false, gateway.now())?);
    }
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let receipt = Box::new(move |result: Result<Settled<'_>, _>| {
        // The receiver waits below.
        let _ = sender.send(result.map(|settled| settled.fates.len()));
    });
    let submission =
        Submission { tenant: Some(access.tenant_id), messages, changes: Vec::new(), receipt: Some(receipt) };
    gateway.submit(submission).map_err(|_| "the ingest does not take messages")?;
    let stored = receiver.await??;
    print(&format!("{stored} messages stored"));
    Ok(())
}

/// Publishes and subscribes through the broker. Devices would connect to its port, which is a free one of this machine.
async fn converse(application: &Application, registered: &RegisteredDevice) -> Result<(), Box<dyn Error>> {
    let config = MqttConfig::new(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    let broker = Broker::new(config, Arc::clone(&application.gateway), Arc::new(TenantAuthorizer));
    // Without this the broker does not hear of devices that are disabled.
    application.attach_sessions(Arc::clone(&broker) as Arc<_>);
    let running = broker.bind()?.start().await?;

    let client = broker.client(registered.device.tenant_id).await?;
    let mut messages = client.subscribe("house/#", QoS::AtLeastOnce)?;
    // For the device: telemetry, and committed when this returns.
    let boiler = client.device(registered.device.id).await?;
    boiler.publish(Publication::new("house/boiler/pressure", "1.4")?.at(QoS::AtLeastOnce)).await?;
    // For the service itself: for whoever listens, and not stored.
    client.publish(Publication::new("house/boiler/set", r#"{"celsius":55}"#)?).await?;
    for _ in 0..2 {
        let message = messages.next().await.ok_or("the broker has stopped")?;
        print(&format!("heard {} {}", message.topic, String::from_utf8_lossy(&message.payload)));
    }
    running.close_sessions(Duration::from_secs(1)).await;
    running.stop().await;
    Ok(())
}

fn adapters(dir: &std::path::Path) -> Result<Adapters, Box<dyn Error>> {
    let registry = pocket_storage_memory::storage();
    let history = Arc::new(journal::Journal::open(&dir.join("telemetry.journal"), &registry)?);
    Ok(Adapters {
        // The state of a broker is stored with the history it came with; this one has no place for it.
        storage: Storage {
            write: history.clone(),
            dead_letters: history.clone(),
            telemetry: history,
            broker: None,
            sessions: None,
            ..registry
        },
        password_hasher: Arc::new(Argon2PasswordHasher::new(
            tokio::runtime::Handle::current(),
            HashingLimits::default(),
        )),
        token_issuer: Arc::new(JwtIssuer::new(&[7; 32], Duration::from_secs(3600))?),
        token_hasher: Arc::new(HmacTokenHasher::new(&[8; 32])?),
        entropy: Arc::new(OsEntropy),
        clock: Arc::new(SystemClock),
    })
}

fn options() -> Result<Options, Box<dyn Error>> {
    Ok(Options {
        node: NodeName::default(),
        ingest: IngestOptions::default(),
        telemetry: TelemetryRules {
            topics: vec![TopicFilter::parse("#")?],
            max_payload: 65_536,
            max_retained_payload: 1 << 20,
            max_keys: 2_048,
            payload_policy: PayloadPolicy::Auto,
        },
        time: TimeOptions::default(),
        topics: TopicLimits::default(),
        activity: ActivityOptions::default(),
        reads: SlotLimits::READS,
        max_login_age: Options::MAX_LOGIN_AGE,
        people_throttle: ThrottleLimits::PEOPLE,
        device_throttle: ThrottleLimits::DEVICES,
    })
}

#[allow(clippy::print_stdout, reason = "an example shows what it did")]
fn print(line: &str) {
    println!("{line}");
}
