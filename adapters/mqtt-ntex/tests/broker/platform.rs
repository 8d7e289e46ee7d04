//! A platform to test against, and a client that speaks in bytes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use pocket_application::{
    ActivityOptions, Adapters, Application, Caller, FirstAdmin, IngestOptions, NewDevice, NewTenant, Options,
    TelemetryRules, ThrottleLimits, prepare,
};
use pocket_auth::{Argon2PasswordHasher, HashingLimits, HmacTokenHasher, JwtIssuer, OsEntropy};
use pocket_domain::{
    DeviceId, DeviceName, Labels, NodeName, Notes, Password, PayloadPolicy, Retention, Telemetry, TelemetryQuery,
    TenantId, TenantName, TopicFilter, User, Username,
};
use pocket_mqtt_ntex::{Broker, MqttConfig, RunningBroker, TenantAuthorizer, Transport};
use pocket_ports::{BrokerState, Clock, Storage, SystemClock};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::packets;

/// How long a test waits for what must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// A whole platform in this process.
pub(crate) struct Platform {
    pub(crate) application: Arc<Application>,
    pub(crate) broker: Arc<Broker>,
    pub(crate) running: RunningBroker,
    pub(crate) admin: Caller,
}

/// A registered device with its token.
#[derive(Clone)]
pub(crate) struct Device {
    pub(crate) id: DeviceId,
    pub(crate) tenant: TenantId,
    pub(crate) token: String,
}

impl Platform {
    /// With the defaults and two workers.
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// With other settings of the broker.
    pub(crate) async fn start_with(adjust: impl FnOnce(&mut MqttConfig)) -> Self {
        Self::start_with_rules(adjust, rules(&["#"]), IngestOptions::default()).await
    }

    /// With other settings of the broker and of what is stored.
    pub(crate) async fn start_with_rules(
        adjust: impl FnOnce(&mut MqttConfig),
        rules: TelemetryRules,
        ingest: IngestOptions,
    ) -> Self {
        Self::start_on(pocket_storage_memory::storage(), adjust, rules, ingest).await
    }

    /// On another storage, too.
    pub(crate) async fn start_on(
        storage: Storage,
        adjust: impl FnOnce(&mut MqttConfig),
        rules: TelemetryRules,
        ingest: IngestOptions,
    ) -> Self {
        let runtime = tokio::runtime::Handle::current();
        let adapters = Adapters {
            storage,
            password_hasher: Arc::new(Argon2PasswordHasher::new(runtime, HashingLimits::default())),
            token_issuer: Arc::new(JwtIssuer::new(&[7; 32], Duration::from_secs(60)).unwrap()),
            token_hasher: Arc::new(HmacTokenHasher::new(&[8; 32]).unwrap()),
            entropy: Arc::new(OsEntropy),
            clock: Arc::new(SystemClock),
        };
        let first = FirstAdmin {
            username: Username::parse("admin").unwrap(),
            password: Some(Password::parse("a long enough password").unwrap()),
        };
        let created = prepare(&adapters, first, PayloadPolicy::Auto).await.unwrap();
        let admin = admin(&adapters.storage).await;
        assert!(created.is_none_or(|created| created.user == admin));
        let options = Options {
            node: NodeName::default(),
            ingest,
            telemetry: rules,
            time: pocket_application::TimeOptions::default(),
            topics: pocket_application::TopicLimits::default(),
            activity: ActivityOptions::default(),
            reads: pocket_application::SlotLimits::READS,
            max_login_age: Options::MAX_LOGIN_AGE,
            people_throttle: ThrottleLimits::PEOPLE,
            device_throttle: ThrottleLimits::DEVICES,
        };
        let application = Application::start(adapters, options);
        let mut config = MqttConfig::new(SocketAddr::from(([127, 0, 0, 1], 0)));
        config.workers = 2;
        adjust(&mut config);
        let broker = Broker::new(config, Arc::clone(&application.gateway), Arc::new(TenantAuthorizer));
        application.attach_sessions(broker.clone());
        broker.restore().await.unwrap();
        let running = broker.bind().unwrap().start().await.unwrap();
        Self { application, broker, running, admin: Caller::new(admin) }
    }

    /// The process is gone without a word, and another one starts on the same storage.
    pub(crate) async fn crash(self) -> Self {
        self.running.stop().await;
        Self::start_on(self.application.storage.clone(), |_| {}, rules(&["#"]), IngestOptions::default()).await
    }

    /// The broker stops as it should, and another one starts on the same storage.
    pub(crate) async fn restart(self) -> Self {
        self.running.stop_accepting().await;
        assert_eq!(self.running.close_sessions(PATIENCE).await, 0);
        self.application.ingest.drain(PATIENCE).await;
        self.crash().await
    }

    /// What storage has of the broker's state.
    pub(crate) async fn stored_state(&self) -> BrokerState {
        let broker = self.application.storage.broker.as_ref().unwrap();
        broker.load(&NodeName::default(), SystemClock.now()).await.unwrap()
    }

    /// Waits until storage has something of the broker's state that nobody waits for.
    pub(crate) async fn eventually_stored(&self, what: impl Fn(&BrokerState) -> bool) {
        let until = tokio::time::Instant::now() + PATIENCE;
        loop {
            let state = self.stored_state().await;
            if what(&state) {
                return;
            }
            assert!(tokio::time::Instant::now() < until, "never stored: {state:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// A device of the tenant `default`.
    pub(crate) async fn device(&self, name: &str) -> Device {
        self.device_in(None, name).await
    }

    /// A device of a tenant.
    pub(crate) async fn device_in(&self, tenant: Option<TenantId>, name: &str) -> Device {
        let new = NewDevice {
            name: DeviceName::parse(name).unwrap(),
            labels: Labels::default(),
            notes: Notes::default(),
            token_expires_at: None,
        };
        let registered = self.application.devices.register(&self.admin, tenant, new).await.unwrap();
        Device {
            id: registered.device.id,
            tenant: registered.device.tenant_id,
            token: registered.token.expose().to_owned(),
        }
    }

    /// Another tenant.
    pub(crate) async fn tenant(&self, name: &str, payload_policy: PayloadPolicy) -> TenantId {
        let retention = Retention::default();
        let new = NewTenant { name: TenantName::parse(name).unwrap(), payload_policy: Some(payload_policy), retention };
        self.application.tenants.create(&self.admin, new).await.unwrap().id
    }

    /// Where one of its transports is.
    pub(crate) fn address(&self, transport: Transport) -> SocketAddr {
        let found = self.running.addresses().iter().find(|(present, _)| *present == transport);
        found.expect("the transport is on").1
    }

    /// A socket that has not said anything.
    pub(crate) async fn socket(&self) -> Socket {
        Socket::open(self.running.local_addr()).await
    }

    /// A connected client of 3.1.1.
    pub(crate) async fn v3(&self, device: &Device, client_id: &str) -> Socket {
        let mut socket = self.socket().await;
        socket.connect3(device, client_id).await;
        socket
    }

    /// A connected client of 5.0.
    pub(crate) async fn v5(&self, device: &Device, client_id: &str) -> Socket {
        let mut socket = self.socket().await;
        socket.connect5(device, client_id).await;
        socket
    }

    /// A client of 3.1.1 whose session is kept, and whether it was there before.
    pub(crate) async fn v3_kept(&self, device: &Device, client_id: &str) -> (Socket, bool) {
        let mut socket = self.socket().await;
        let credentials = [device.id.to_string(), device.token.clone()];
        let fields = [credentials[0].as_bytes(), credentials[1].as_bytes()];
        socket.send(&packets::connect3_with(0xc0, 0, client_id, &fields)).await;
        let ack = socket.packet().await;
        assert_eq!((ack[0], ack[3]), (0x20, 0), "{ack:02x?}");
        (socket, ack[2] == 1)
    }

    /// A client of 5.0 without clean start, with a session expiry, and whether the session was there before.
    pub(crate) async fn v5_kept(&self, device: &Device, client_id: &str, expiry: u32) -> (Socket, bool) {
        let mut socket = self.socket().await;
        let properties = [[0x11].as_slice(), &expiry.to_be_bytes()].concat();
        let credentials = [device.id.to_string(), device.token.clone()].map(|text| packets::field(text.as_bytes()));
        let connect = packets::connect5_with(0xc0, 0, &properties, client_id, &credentials[0], &credentials[1]);
        socket.send(&connect).await;
        let ack = socket.packet().await;
        assert_eq!((ack[0], ack[3]), (0x20, 0), "{ack:02x?}");
        (socket, ack[2] == 1)
    }

    /// What is stored of a device, oldest first, when there are as many rows as expected.
    pub(crate) async fn stored(&self, device: &Device, rows: usize) -> Vec<Telemetry> {
        let query = TelemetryQuery { device_id: Some(device.id), ..Default::default() };
        let until = tokio::time::Instant::now() + PATIENCE;
        loop {
            let page = self.application.storage.telemetry.range(device.tenant, &query).await.unwrap();
            if page.rows.len() >= rows || tokio::time::Instant::now() > until {
                let mut found = page.rows;
                found.reverse();
                assert_eq!(found.len(), rows);
                return found;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until something holds that other threads bring about.
    pub(crate) async fn eventually(&self, what: impl Fn(&Self) -> bool) {
        let until = tokio::time::Instant::now() + PATIENCE;
        while !what(self) {
            assert!(tokio::time::Instant::now() < until, "never happened: {:?}", self.broker.stats());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// What is stored: the messages on these topics, of up to 64 KiB.
pub(crate) fn rules(topics: &[&str]) -> TelemetryRules {
    let topics = topics.iter().map(|filter| TopicFilter::parse(filter).unwrap()).collect();
    TelemetryRules {
        topics,
        max_payload: 65_536,
        max_retained_payload: 65_536,
        max_keys: 2_048,
        payload_policy: PayloadPolicy::Auto,
    }
}

/// The first administrator.
async fn admin(storage: &Storage) -> User {
    let tenant = storage.tenants.find_by_name(&TenantName::parse("default").unwrap()).await.unwrap().unwrap();
    let found = storage.users.find_by_name(tenant.id, &Username::parse("admin").unwrap()).await.unwrap();
    found.unwrap().0
}

/// What carries bytes in both directions.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// The other end of a connection.
pub(crate) struct Socket {
    stream: Box<dyn Stream>,
    address: Option<SocketAddr>,
    pending: Vec<u8>,
}

/// A connection that nothing was said on.
pub(crate) async fn tcp(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

impl Socket {
    /// Over TCP.
    pub(crate) async fn open(address: SocketAddr) -> Self {
        let stream = tcp(address).await;
        let address = stream.local_addr().ok();
        Self { address, ..Self::over(stream) }
    }

    /// Over whatever carries the packets.
    pub(crate) fn over(stream: impl Stream + 'static) -> Self {
        Self { stream: Box::new(stream), address: None, pending: Vec::new() }
    }

    /// Connects as a client of 3.1.1.
    pub(crate) async fn connect3(&mut self, device: &Device, client_id: &str) {
        self.send(&packets::connect3(device, client_id)).await;
        self.expect(b"\x20\x02\0\0").await;
    }

    /// Connects as a client of 5.0.
    pub(crate) async fn connect5(&mut self, device: &Device, client_id: &str) {
        self.send(&packets::connect5(device, client_id, b"")).await;
        let ack = self.packet().await;
        assert_eq!((ack[0], ack[3]), (0x20, 0), "{ack:02x?}");
    }

    /// Where the server sees it come from, over plain TCP.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address.unwrap()
    }

    /// Sends bytes.
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    /// Receives one whole packet.
    pub(crate) async fn packet(&mut self) -> Vec<u8> {
        match tokio::time::timeout(PATIENCE, self.next()).await {
            Ok(Some(packet)) => packet,
            Ok(None) => panic!("the connection was closed"),
            Err(_) => panic!("no packet came"),
        }
    }

    /// Receives exactly this packet.
    pub(crate) async fn expect(&mut self, packet: &[u8]) {
        let received = self.packet().await;
        assert_eq!(received, packet, "received {received:02x?}, expected {packet:02x?}");
    }

    /// The server closes without another word.
    pub(crate) async fn expect_closed(&mut self) {
        match tokio::time::timeout(PATIENCE, self.next()).await {
            Ok(None) => {}
            Ok(Some(packet)) => panic!("instead of closing the server sent {packet:02x?}"),
            Err(_) => panic!("the connection is still open"),
        }
    }

    /// The server closes, whether it says why or not.
    pub(crate) async fn packet_or_end(&mut self) {
        assert!(tokio::time::timeout(PATIENCE, self.next()).await.is_ok(), "the connection is still open");
    }

    /// The server says DISCONNECT with this reason and closes.
    pub(crate) async fn expect_disconnect(&mut self, reason: u8) {
        let packet = self.packet().await;
        assert_eq!((packet[0], packet[2]), (0xe0, reason), "{packet:02x?}");
        self.expect_closed().await;
    }

    /// Nothing was sent before the answer to a ping.
    pub(crate) async fn expect_nothing(&mut self) {
        self.send(b"\xc0\0").await;
        self.expect(b"\xd0\0").await;
    }

    /// The connection is torn down as a broken network would.
    pub(crate) fn break_off(self) {
        drop(self.stream);
    }

    async fn next(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some(len) = packets::len(&self.pending).filter(|len| *len <= self.pending.len()) {
                let rest = self.pending.split_off(len);
                return Some(std::mem::replace(&mut self.pending, rest));
            }
            let mut buffer = [0; 4096];
            match self.stream.read(&mut buffer).await {
                Ok(0) | Err(_) => return None,
                Ok(read) => self.pending.extend_from_slice(&buffer[..read]),
            }
        }
    }
}
