//! Reason codes of 5.0 and what 3.1.1 says in their place.

/// A reason code of MQTT 5.0, section 2.4. 3.1.1 has its own few return codes; see [`ConnectReturnCode`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ReasonCode {
    /// Success, normal disconnection, or granted QoS 0.
    Success = 0x00,
    /// Granted QoS 1.
    GrantedQoS1 = 0x01,
    /// Granted QoS 2.
    GrantedQoS2 = 0x02,
    /// The client leaves and wants its will published.
    DisconnectWithWill = 0x04,
    /// Nobody subscribes to the topic.
    NoMatchingSubscribers = 0x10,
    /// There was no such subscription.
    NoSubscriptionExisted = 0x11,
    /// Another step of an authentication.
    ContinueAuthentication = 0x18,
    /// A client begins a new authentication.
    ReAuthenticate = 0x19,
    /// None of the others fits.
    UnspecifiedError = 0x80,
    /// The packet cannot be parsed.
    MalformedPacket = 0x81,
    /// The packet is not allowed here.
    ProtocolError = 0x82,
    /// Valid, but not accepted by this server.
    ImplementationSpecificError = 0x83,
    /// Neither 3.1.1 nor 5.0.
    UnsupportedProtocolVersion = 0x84,
    /// The client id is not allowed.
    ClientIdentifierNotValid = 0x85,
    /// The credentials are wrong.
    BadUserNameOrPassword = 0x86,
    /// The client may not do this.
    NotAuthorized = 0x87,
    /// The server cannot serve at present.
    ServerUnavailable = 0x88,
    /// The server has too much to do.
    ServerBusy = 0x89,
    /// The client is banned.
    Banned = 0x8a,
    /// The server is stopping.
    ServerShuttingDown = 0x8b,
    /// The authentication method is not offered.
    BadAuthenticationMethod = 0x8c,
    /// Nothing came for one and a half times the keep-alive.
    KeepAliveTimeout = 0x8d,
    /// Another connection uses the client id.
    SessionTakenOver = 0x8e,
    /// The topic filter is not accepted.
    TopicFilterInvalid = 0x8f,
    /// The topic name is not accepted.
    TopicNameInvalid = 0x90,
    /// The packet id is in use.
    PacketIdentifierInUse = 0x91,
    /// The packet id is not known.
    PacketIdentifierNotFound = 0x92,
    /// More messages in flight than the receive maximum.
    ReceiveMaximumExceeded = 0x93,
    /// A topic alias of 0, or above the maximum.
    TopicAliasInvalid = 0x94,
    /// Larger than the maximum packet size.
    PacketTooLarge = 0x95,
    /// Too many messages a second.
    MessageRateTooHigh = 0x96,
    /// A limit of the server is reached.
    QuotaExceeded = 0x97,
    /// An administrator closed the connection.
    AdministrativeAction = 0x98,
    /// The payload is not what the topic or tenant accepts.
    PayloadFormatInvalid = 0x99,
    /// Retained messages are not supported.
    RetainNotSupported = 0x9a,
    /// The QoS is not supported.
    QoSNotSupported = 0x9b,
    /// Shared subscriptions are not supported.
    SharedSubscriptionsNotSupported = 0x9e,
    /// Connects come too fast.
    ConnectionRateExceeded = 0x9f,
    /// Subscription identifiers are not supported.
    SubscriptionIdentifiersNotSupported = 0xa1,
    /// Wildcard subscriptions are not supported.
    WildcardSubscriptionsNotSupported = 0xa2,
}

impl ReasonCode {
    /// The byte on the wire.
    pub fn as_u8(self) -> u8 {
        self as u8
    }

    /// Whether it says that something failed.
    pub fn is_error(self) -> bool {
        self.as_u8() >= 0x80
    }

    /// What CONNACK of 3.1.1 says in its place; `None` where 3.1.1 closes without a word.
    pub fn connect_return_code(self) -> Option<ConnectReturnCode> {
        match self {
            Self::Success => Some(ConnectReturnCode::Accepted),
            Self::UnsupportedProtocolVersion => Some(ConnectReturnCode::UnacceptableProtocolVersion),
            Self::ClientIdentifierNotValid => Some(ConnectReturnCode::IdentifierRejected),
            Self::BadUserNameOrPassword => Some(ConnectReturnCode::BadUserNameOrPassword),
            Self::NotAuthorized => Some(ConnectReturnCode::NotAuthorized),
            Self::ServerUnavailable
            | Self::ServerBusy
            | Self::QuotaExceeded
            | Self::ConnectionRateExceeded
            | Self::ServerShuttingDown => Some(ConnectReturnCode::ServerUnavailable),
            _ => None,
        }
    }
}

/// A return code of CONNACK in 3.1.1, table 3.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ConnectReturnCode {
    /// Accepted.
    Accepted = 0,
    /// The protocol level is not supported.
    UnacceptableProtocolVersion = 1,
    /// The client id is not allowed.
    IdentifierRejected = 2,
    /// The server cannot serve at present.
    ServerUnavailable = 3,
    /// The credentials are wrong.
    BadUserNameOrPassword = 4,
    /// The client may not connect.
    NotAuthorized = 5,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_from_0x80_on_are_errors() {
        assert!(!ReasonCode::ReAuthenticate.is_error());
        assert!(ReasonCode::UnspecifiedError.is_error());
    }

    #[test]
    fn refused_credentials_have_a_code_in_both_versions() {
        assert_eq!(
            ReasonCode::BadUserNameOrPassword.connect_return_code(),
            Some(ConnectReturnCode::BadUserNameOrPassword)
        );
        assert_eq!(ReasonCode::QuotaExceeded.connect_return_code(), Some(ConnectReturnCode::ServerUnavailable));
        assert_eq!(ReasonCode::ProtocolError.connect_return_code(), None);
    }
}
