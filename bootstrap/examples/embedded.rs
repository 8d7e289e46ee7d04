//! A service that embeds Pocket IoT without its transports: the domain, the ports and the application, with a storage
//! adapter of its own. No socket is opened and no type of a web framework is in sight.
//!
//! Run it with `cargo run --example embedded`; it prints what a device reported.

#[path = "embedded/journal.rs"]
mod journal;

use std::error::Error;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use pocket_application::{
    ActivityOptions, Adapters, Application, ClientCredentials, DeviceGateway, FirstAdmin, IngestOptions, LoginAttempt,
    NewDevice, Options, RegisteredDevice, TelemetryRules, ThrottleLimits, prepare,
};
use pocket_auth::{Argon2PasswordHasher, HashingLimits, HmacTokenHasher, JwtIssuer, OsEntropy};
use pocket_domain::{
    DeviceName, Labels, NodeName, Notes, Password, SortOrder, TelemetryQuery, TopicFilter, TopicName, Username,
};
use pocket_ports::{Storage, Submission, SystemClock};

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const PASSWORD: &str = "correct horse battery";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let dir = std::env::temp_dir().join(format!("pocket-embedded-{}", std::process::id()));
    std::fs::create_dir_all(&dir)?;
    let adapters = adapters(&dir)?;
    let admin = FirstAdmin { username: Username::parse("admin")?, password: Some(Password::parse(PASSWORD)?) };
    prepare(&adapters, admin).await?;
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
    if report.not_stored > 0 { Err(format!("{} messages were not stored", report.not_stored).into()) } else { Ok(()) }
}

/// What a transport of one's own does: prove the device, validate its messages, wait for the commit.
async fn report(gateway: &DeviceGateway, registered: &RegisteredDevice) -> Result<(), Box<dyn Error>> {
    let credentials = ClientCredentials { username: Some(registered.token.expose()), password: None, source: HERE };
    let access = gateway.connect(credentials).await?;
    let topic = TopicName::parse("house/boiler/temperature")?;
    let mut messages = Vec::new();
    for payload in ["61.5", r#"{"ts":1700000000000,"values":{"celsius":59.0}}"#] {
        messages.extend(gateway.accept(&access, &topic, payload.as_bytes(), gateway.now())?);
    }
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let receipt = Box::new(move |result: Result<&[_], _>| {
        // The receiver waits below.
        let _ = sender.send(result.map(<[_]>::len));
    });
    let submission = Submission { messages, changes: Vec::new(), receipt: Some(receipt) };
    gateway.submit(submission).map_err(|_| "the ingest does not take messages")?;
    let stored = receiver.await??;
    print(&format!("{stored} messages stored"));
    Ok(())
}

fn adapters(dir: &std::path::Path) -> Result<Adapters, Box<dyn Error>> {
    let registry = pocket_storage_memory::storage();
    let history = journal::Journal::open(&dir.join("telemetry.journal"), Arc::clone(&registry.devices))?;
    Ok(Adapters {
        // The state of a broker is stored with the history it came with; this one has no place for it.
        storage: Storage { telemetry: Arc::new(history), broker: None, ..registry },
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
        telemetry: TelemetryRules { topics: vec![TopicFilter::parse("#")?], max_payload: 65_536 },
        activity: ActivityOptions::default(),
        people_throttle: ThrottleLimits::PEOPLE,
        device_throttle: ThrottleLimits::DEVICES,
    })
}

#[allow(clippy::print_stdout, reason = "an example shows what it did")]
fn print(line: &str) {
    println!("{line}");
}
