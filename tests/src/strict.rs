//! A client of MQTT 3.1.1 that does exactly what the specification asks of a client, no more and no less, so that what it
//! saw is evidence: it keeps its session state across connections and crashes of the broker, sends again what was not
//! acknowledged, and gives each message of QoS 2 to its user once.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::BytesMut;
use rumqttc::QoS;
use rumqttc::mqttbytes::v4::{Connect, ConnectReturnCode, Packet, PubAck, PubComp, PubRec, PubRel, Publish, Subscribe};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const MAX_PACKET: usize = 1024 * 1024;

/// How far a message to the broker has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Published,
    Released,
}

/// A session as its client remembers it.
pub struct StrictClient {
    client_id: String,
    username: String,
    password: String,
    next_id: u16,
    /// Messages that are not acknowledged, in the order they were published.
    unacknowledged: VecDeque<(u16, QoS, String, String, Stage)>,
    /// Packet ids of messages of QoS 2 that were taken and not yet released by the broker.
    taken: BTreeSet<u16>,
    /// Payloads that the broker acknowledged, with the QoS of each.
    pub acknowledged: Vec<(QoS, String)>,
    /// Payloads that came, with how often the user was given each and at which QoS.
    pub received: BTreeMap<String, (QoS, u32)>,
    stream: Option<(TcpStream, BytesMut)>,
}

impl StrictClient {
    /// A client that was never connected.
    pub fn new(client_id: &str, username: &str, password: &str) -> Self {
        Self {
            client_id: client_id.into(),
            username: username.into(),
            password: password.into(),
            next_id: 0,
            unacknowledged: VecDeque::new(),
            taken: BTreeSet::new(),
            acknowledged: Vec::new(),
            received: BTreeMap::new(),
            stream: None,
        }
    }

    /// Connects without a clean session and sends again what was not acknowledged. Returns whether the broker knew the
    /// session.
    ///
    /// # Errors
    /// When the connection breaks or is refused.
    pub async fn connect(&mut self, address: SocketAddr) -> io::Result<bool> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        self.stream = Some((stream, BytesMut::new()));
        let mut connect = Connect::new(self.client_id.clone());
        connect.clean_session = false;
        // It sends nothing while a test looks elsewhere.
        connect.keep_alive = 0;
        connect.set_login(self.username.clone(), self.password.clone());
        self.send(Packet::Connect(connect)).await?;
        let Packet::ConnAck(ack) = self.next().await? else { return Err(unexpected("instead of CONNACK")) };
        if ack.code != ConnectReturnCode::Success {
            return Err(unexpected(&format!("{:?}", ack.code)));
        }
        for (id, qos, topic, payload, stage) in self.unacknowledged.clone() {
            match stage {
                Stage::Published => self.send_publish(id, qos, &topic, &payload, true).await?,
                Stage::Released => self.send(Packet::PubRel(PubRel::new(id))).await?,
            }
        }
        Ok(ack.session_present)
    }

    /// Subscribes and waits for the answer.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn subscribe(&mut self, filter: &str, qos: QoS) -> io::Result<()> {
        let mut subscribe = Subscribe::new(filter, qos);
        subscribe.pkid = u16::MAX;
        self.send(Packet::Subscribe(subscribe)).await?;
        loop {
            match self.next().await? {
                Packet::SubAck(_) => return Ok(()),
                other => self.take(other).await?,
            }
        }
    }

    /// Publishes without waiting for the acknowledgement.
    ///
    /// # Errors
    /// When the connection breaks; the message is sent again with the next.
    pub async fn publish(&mut self, topic: &str, qos: QoS, payload: String) -> io::Result<()> {
        // Far fewer than 60,000 are under way at a time.
        self.next_id = self.next_id % 60_000 + 1;
        let id = self.next_id;
        self.unacknowledged.push_back((id, qos, topic.into(), payload.clone(), Stage::Published));
        self.send_publish(id, qos, topic, &payload, false).await
    }

    /// Messages that are not acknowledged.
    pub fn unacknowledged(&self) -> usize {
        self.unacknowledged.len()
    }

    /// Takes packets until nothing has come for `silence`. Returns how many came.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn take_all(&mut self, silence: Duration) -> io::Result<usize> {
        let mut count = 0;
        while let Ok(packet) = tokio::time::timeout(silence, self.next()).await {
            self.take(packet?).await?;
            count += 1;
        }
        Ok(count)
    }

    /// Takes one packet.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn take_one(&mut self) -> io::Result<()> {
        let packet = self.next().await?;
        self.take(packet).await
    }

    /// Breaks the connection off.
    pub fn break_off(&mut self) {
        self.stream = None;
    }

    async fn take(&mut self, packet: Packet) -> io::Result<()> {
        match packet {
            Packet::PubAck(ack) => self.end(ack.pkid, QoS::AtLeastOnce),
            Packet::PubRec(ack) => {
                if let Some(entry) = self.unacknowledged.iter_mut().find(|entry| entry.0 == ack.pkid) {
                    entry.4 = Stage::Released;
                }
                self.send(Packet::PubRel(PubRel::new(ack.pkid))).await?;
            }
            Packet::PubComp(ack) => self.end(ack.pkid, QoS::ExactlyOnce),
            Packet::Publish(publish) => self.receive(publish).await?,
            Packet::PubRel(ack) => {
                self.taken.remove(&ack.pkid);
                self.send(Packet::PubComp(PubComp::new(ack.pkid))).await?;
            }
            other => return Err(unexpected(&format!("{other:?}"))),
        }
        Ok(())
    }

    async fn receive(&mut self, publish: Publish) -> io::Result<()> {
        let id = publish.pkid;
        if publish.qos != QoS::ExactlyOnce || self.taken.insert(id) {
            let payload = String::from_utf8_lossy(&publish.payload).into_owned();
            self.received.entry(payload).or_insert((publish.qos, 0)).1 += 1;
        }
        match publish.qos {
            QoS::AtMostOnce => Ok(()),
            QoS::AtLeastOnce => self.send(Packet::PubAck(PubAck::new(id))).await,
            QoS::ExactlyOnce => self.send(Packet::PubRec(PubRec::new(id))).await,
        }
    }

    fn end(&mut self, id: u16, qos: QoS) {
        let place = self.unacknowledged.iter().position(|entry| entry.0 == id && entry.1 == qos);
        if let Some((_, qos, _, payload, _)) = place.and_then(|place| self.unacknowledged.remove(place)) {
            self.acknowledged.push((qos, payload));
        }
    }

    async fn send_publish(&mut self, id: u16, qos: QoS, topic: &str, payload: &str, dup: bool) -> io::Result<()> {
        let mut publish = Publish::new(topic, qos, payload);
        publish.pkid = id;
        publish.dup = dup;
        self.send(Packet::Publish(publish)).await
    }

    async fn send(&mut self, packet: Packet) -> io::Result<()> {
        let (stream, _) = self.stream.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        let mut buffer = BytesMut::new();
        packet.write(&mut buffer, MAX_PACKET).map_err(|error| unexpected(&format!("{error:?}")))?;
        stream.write_all(&buffer).await
    }

    async fn next(&mut self) -> io::Result<Packet> {
        let (stream, buffer) = self.stream.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        loop {
            match Packet::read(buffer, MAX_PACKET) {
                Ok(packet) => return Ok(packet),
                Err(rumqttc::mqttbytes::Error::InsufficientBytes(_)) => {}
                Err(error) => return Err(unexpected(&format!("{error:?}"))),
            }
            if stream.read_buf(buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

fn unexpected(what: &str) -> io::Error {
    io::Error::other(what.to_owned())
}
