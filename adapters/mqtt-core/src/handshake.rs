//! CONNECT and its answer.

use std::sync::Arc;
use std::time::Duration;

use pocket_domain::{Principal, TenantId, TopicName};

use crate::connection::Agreed;
use crate::{
    Authorizer, Client, ClientId, Connect, ConnectAck, Connection, Limits, Message, ProtocolVersion, ReasonCode,
    Session, Will,
};

/// Why a client may not connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The code; see [`ReasonCode::connect_return_code`] for 3.1.1.
    pub reason: ReasonCode,
    /// For people.
    pub explanation: &'static str,
}

impl Refusal {
    /// A refusal.
    pub fn new(reason: ReasonCode, explanation: &'static str) -> Self {
        Self { reason, explanation }
    }

    /// The CONNACK that says so; `None` where 3.1.1 closes without a word.
    pub fn packet(&self, version: ProtocolVersion) -> Option<ConnectAck> {
        if version == ProtocolVersion::V311 {
            self.reason.connect_return_code()?;
        }
        Some(ConnectAck {
            reason: self.reason,
            reason_string: Some(self.explanation.to_owned()),
            ..ConnectAck::default()
        })
    }
}

/// A CONNECT that is well-formed; who sent it is still to be found out.
#[derive(Debug)]
pub struct Handshake {
    connect: Connect,
    client_id: ClientId,
    assigned: bool,
    will: Option<Will>,
}

/// An accepted connection and what to tell the client.
#[derive(Debug)]
pub struct Opened {
    /// The connection.
    pub connection: Connection,
    /// The answer.
    pub ack: ConnectAck,
}

impl Opened {
    /// There is no place for a session that outlives the connection: it ends with the connection, and the client is told.
    pub fn refuse_to_keep_session(&mut self) {
        self.connection.end_session_with_connection();
        // [MQTT-3.2.2-21]
        self.ack.session_expiry = Some(0);
    }
}

impl Handshake {
    /// Checks a CONNECT as far as it can be judged without knowing the client.
    ///
    /// # Errors
    /// With the code that the specification names.
    pub fn begin(connect: Connect, random: [u8; 16]) -> Result<Self, Refusal> {
        // [MQTT-4.12.0-1] no method is offered
        if connect.authentication_method.is_some() {
            return Err(Refusal::new(
                ReasonCode::BadAuthenticationMethod,
                "connect with user name and password; no authentication method is offered",
            ));
        }
        let assigned = connect.client_id.is_empty();
        // [MQTT-3.1.3-8] 3.1.1 wants a clean session when the server is to choose the client id
        if assigned && connect.version == ProtocolVersion::V311 && !connect.clean_start {
            return Err(Refusal::new(ReasonCode::ClientIdentifierNotValid, "a persistent session needs a client id"));
        }
        let client_id = if assigned {
            ClientId::assigned(random)
        } else {
            ClientId::parse(&connect.client_id).map_err(|_| {
                Refusal::new(ReasonCode::ClientIdentifierNotValid, "a client id must be 1 to 1024 bytes without U+0000")
            })?
        };
        let will = will(&connect)?;
        Ok(Self { connect, client_id, assigned, will })
    }

    /// The user name that was shown.
    pub fn username(&self) -> Option<&str> {
        self.connect.username.as_deref()
    }

    /// The password that was shown.
    pub fn password(&self) -> Option<&[u8]> {
        self.connect.password.as_deref()
    }

    /// The will that came with it.
    pub fn will(&self) -> Option<&Will> {
        self.will.as_ref()
    }

    /// Whose session it will be, given whose credentials were shown.
    pub fn client(&self, tenant_id: TenantId, principal: Principal) -> Client {
        Client { tenant_id, principal, client_id: self.client_id.clone() }
    }

    /// Whether the client begins anew, whatever session it has.
    pub fn clean_start(&self) -> bool {
        self.connect.clean_start
    }

    /// Checks what depends on who the client is.
    ///
    /// # Errors
    /// When the will is on a topic that the client may not publish on.
    pub fn authorize(&self, client: &Client, authorizer: &dyn Authorizer) -> Result<(), Refusal> {
        match &self.will {
            // The last word of another broker on its bridge to this one; nobody is told.
            Some(will) if will.message.topic.is_of_a_bridge() => Ok(()),
            Some(will) if !authorizer.may_publish(client, &will.message.topic) => {
                Err(Refusal::new(ReasonCode::NotAuthorized, "the topic of the will is not allowed"))
            }
            _ => Ok(()),
        }
    }

    /// Whether the client wants a session that outlives the connection.
    pub fn wants_to_be_kept(&self) -> bool {
        self.connect.session_expiry > 0
    }

    /// The version that the client speaks.
    pub fn version(&self) -> ProtocolVersion {
        self.connect.version
    }

    /// Opens the connection of an authenticated client, with the session it left if there is one to go on with.
    pub fn open(self, client: Client, left: Option<Session>, limits: &Arc<Limits>) -> Opened {
        let connect = self.connect;
        let longest_session = match client.principal {
            Principal::Device(_) => limits.session_expiry_seconds,
            // A person's access ends with a bearer token that nothing renews, and so does the session.
            Principal::User(_) | Principal::Host => 0,
        };
        let agreed = Agreed {
            keep_alive: agreed_keep_alive(&connect, limits),
            session_expiry: connect.session_expiry.min(longest_session),
            longest_session,
        };
        let ack = ConnectAck {
            session_present: left.is_some(),
            // [MQTT-3.2.2-21] told where it is not what the client asked for
            session_expiry: (agreed.session_expiry != connect.session_expiry).then_some(agreed.session_expiry),
            receive_maximum: limits.receive_maximum,
            maximum_packet_size: Some(limits.packet_bytes),
            assigned_client_id: self.assigned.then(|| self.client_id.as_str().to_owned()),
            topic_alias_maximum: limits.topic_alias_maximum,
            server_keep_alive: (agreed.keep_alive != connect.keep_alive).then_some(agreed.keep_alive),
            ..ConnectAck::default()
        };
        let session = match left {
            Some(mut session) => {
                session.resume(connect.version, connect.receive_maximum);
                session
            }
            None => Session::new(Arc::clone(limits), connect.version, connect.receive_maximum),
        };
        let connection = Connection::new(&connect, client, session, self.will, agreed, Arc::clone(limits));
        Opened { connection, ack }
    }
}

/// The client's keep-alive, or the server's where the client asks for more or for none.
fn agreed_keep_alive(connect: &Connect, limits: &Limits) -> u16 {
    // 3.1.1 cannot be told another value.
    if connect.version == ProtocolVersion::V311 {
        return connect.keep_alive;
    }
    match (connect.keep_alive, limits.keep_alive_seconds) {
        (0, 0) => limits.default_keep_alive_seconds,
        (0, maximum) => maximum,
        (seconds, 0) => seconds,
        (seconds, maximum) => seconds.min(maximum),
    }
}

fn will(connect: &Connect) -> Result<Option<Will>, Refusal> {
    let Some(request) = &connect.will else { return Ok(None) };
    let topic = TopicName::parse(&request.topic).map_err(|_| {
        Refusal::new(
            ReasonCode::TopicNameInvalid,
            "the topic of a will must be 1 to 1024 bytes without +, # and U+0000",
        )
    })?;
    if request.properties.as_ref().is_some_and(|properties| properties.misdeclare(&request.payload)) {
        return Err(Refusal::new(
            ReasonCode::PayloadFormatInvalid,
            "the will is not UTF-8, as its format indicator says",
        ));
    }
    let message = Message {
        topic,
        payload: request.payload.clone(),
        qos: request.qos,
        retain: request.retain,
        properties: request.properties.clone(),
        expires_at: None,
    };
    Ok(Some(Will {
        message,
        delay: Duration::from_secs(request.delay.into()),
        expiry: request.message_expiry.map(|seconds| Duration::from_secs(seconds.into())),
    }))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use pocket_domain::{DeviceId, Timestamp, UserId};

    use super::*;
    use crate::{QoS, TenantAuthorizer, WillRequest};

    fn connect(version: ProtocolVersion) -> Connect {
        Connect {
            version,
            clean_start: true,
            keep_alive: 30,
            client_id: "sensor".to_owned(),
            username: None,
            password: None,
            will: None,
            session_expiry: 0,
            receive_maximum: u16::MAX,
            maximum_packet_size: None,
            topic_alias_maximum: 0,
            authentication_method: None,
        }
    }

    fn will_on(topic: &str) -> Option<WillRequest> {
        Some(WillRequest {
            topic: topic.to_owned(),
            payload: Bytes::from_static(b"gone"),
            qos: QoS::AtMostOnce,
            retain: false,
            delay: 0,
            message_expiry: None,
            properties: None,
        })
    }

    fn device() -> Principal {
        Principal::Device(DeviceId::new(Timestamp::MIN, [2; 10]))
    }

    fn open(connect: Connect, limits: Limits) -> Result<Opened, Refusal> {
        open_as(device(), connect, limits)
    }

    fn open_as(principal: Principal, connect: Connect, limits: Limits) -> Result<Opened, Refusal> {
        let handshake = Handshake::begin(connect, [7; 16])?;
        let client = handshake.client(TenantId::new(Timestamp::MIN, [1; 10]), principal);
        handshake.authorize(&client, &TenantAuthorizer)?;
        Ok(handshake.open(client, None, &Arc::new(limits)))
    }

    fn refusal(connect: Connect) -> ReasonCode {
        open(connect, Limits::default()).unwrap_err().reason
    }

    #[test]
    fn the_server_chooses_a_missing_client_id_and_says_so() {
        let nameless = Connect { client_id: String::new(), ..connect(ProtocolVersion::V5) };
        let opened = open(nameless, Limits::default()).unwrap();
        assert_eq!(opened.ack.assigned_client_id.as_deref(), Some("auto-07070707-0707-4707-8707-070707070707"));
        assert_eq!(opened.connection.client().client_id.as_str(), "auto-07070707-0707-4707-8707-070707070707");
    }

    #[test]
    fn a_nameless_client_of_3_1_1_must_want_a_clean_session() {
        let nameless = Connect { client_id: String::new(), ..connect(ProtocolVersion::V311) };
        assert!(open(nameless.clone(), Limits::default()).is_ok());
        assert_eq!(refusal(Connect { clean_start: false, ..nameless }), ReasonCode::ClientIdentifierNotValid);
    }

    #[test]
    fn an_authentication_method_is_refused() {
        let enhanced = Connect { authentication_method: Some("SCRAM".to_owned()), ..connect(ProtocolVersion::V5) };
        assert_eq!(refusal(enhanced), ReasonCode::BadAuthenticationMethod);
    }

    #[test]
    fn a_will_is_on_a_topic_that_exists_and_is_allowed() {
        let with = |topic| Connect { will: will_on(topic), ..connect(ProtocolVersion::V5) };
        assert!(open(with("state"), Limits::default()).is_ok());
        assert_eq!(refusal(with("a/#")), ReasonCode::TopicNameInvalid);
        assert_eq!(refusal(with("$SYS/x")), ReasonCode::NotAuthorized);
    }

    #[test]
    fn the_session_expiry_has_a_limit_that_is_told() {
        let limits = Limits { session_expiry_seconds: 60, ..Default::default() };
        for (asked, told, agreed) in [(0, None, 0), (60, None, 60), (61, Some(60), 60), (u32::MAX, Some(60), 60)] {
            let connect = Connect { session_expiry: asked, ..connect(ProtocolVersion::V5) };
            let opened = open(connect, limits.clone()).unwrap();
            assert_eq!((opened.ack.session_expiry, opened.connection.session_expiry().as_secs()), (told, agreed));
        }
    }

    #[test]
    fn the_session_of_a_person_ends_with_the_connection_and_5_0_is_told() {
        let person = Principal::User(UserId::new(Timestamp::MIN, [2; 10]));
        for (version, asked, told) in [
            (ProtocolVersion::V5, 0, None),
            (ProtocolVersion::V5, 60, Some(0)),
            (ProtocolVersion::V311, u32::MAX, Some(0)),
        ] {
            let connect = Connect { session_expiry: asked, clean_start: false, ..connect(version) };
            let opened = open_as(person, connect, Limits::default()).unwrap();
            assert_eq!(opened.ack.session_expiry, told);
            assert!(opened.connection.session_expiry().is_zero());
        }
    }

    #[test]
    fn a_limit_of_the_keep_alive_is_told_to_clients_of_5_0() {
        let limits = Limits { keep_alive_seconds: 60, ..Default::default() };
        for (asked, told) in [(30, None), (60, None), (61, Some(60)), (0, Some(60))] {
            let asking = |version| Connect { keep_alive: asked, ..connect(version) };
            let opened = open(asking(ProtocolVersion::V5), limits.clone()).unwrap();
            assert_eq!(opened.ack.server_keep_alive, told);
            let opened = open(asking(ProtocolVersion::V311), limits.clone()).unwrap();
            assert_eq!(opened.ack.server_keep_alive, None);
        }
    }

    #[test]
    fn a_refusal_without_a_code_in_3_1_1_has_no_packet_there() {
        let refusal = Refusal::new(ReasonCode::TopicNameInvalid, "no");
        assert_eq!(refusal.packet(ProtocolVersion::V311), None);
        assert_eq!(refusal.packet(ProtocolVersion::V5).unwrap().reason, ReasonCode::TopicNameInvalid);
    }
}
