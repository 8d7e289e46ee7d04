//! Errors of the application and of the codecs as reason codes, and reason codes as the codec of 5.0 wants them.

use ntex_mqtt::error::DecodeError;
use ntex_mqtt::v5::codec::{
    ConnectAckReason, DisconnectReasonCode, PublishAckReason, SubscribeAckReason, UnsubscribeAckReason,
};
use pocket_application::{AccessDenied, RefusalKind};
use pocket_domain::PayloadError;
use pocket_mqtt_core::{ReasonCode, Refusal};
use pocket_ports::IngestError;

const DISABLED: &str = "the device is disabled";
const TOO_MANY_ATTEMPTS: &str = "too many failed attempts";

/// The reason for bytes that are no packet.
pub(crate) fn of_decode_error(error: &DecodeError) -> ReasonCode {
    match error {
        DecodeError::MaxSizeExceeded { .. } => ReasonCode::PacketTooLarge,
        DecodeError::InvalidProtocol | DecodeError::UnsupportedProtocolLevel => ReasonCode::UnsupportedProtocolVersion,
        DecodeError::InvalidClientId => ReasonCode::ClientIdentifierNotValid,
        _ => ReasonCode::MalformedPacket,
    }
}

/// What CONNACK says of credentials that were not accepted. An unknown device and a wrong token are the same.
pub(crate) fn of_access(denied: &AccessDenied) -> Refusal {
    match denied {
        AccessDenied::BadCredentials => Refusal::new(ReasonCode::BadUserNameOrPassword, "not authorised"),
        AccessDenied::Disabled => Refusal::new(ReasonCode::NotAuthorized, DISABLED),
        AccessDenied::TooManyAttempts => Refusal::new(ReasonCode::QuotaExceeded, TOO_MANY_ATTEMPTS),
        AccessDenied::Unavailable(_) => Refusal::new(ReasonCode::ServerUnavailable, "not available at present"),
    }
}

/// What a refused connection is counted as; `None` when it broke by itself.
pub(crate) fn refusal_kind(refusal: &Refusal) -> Option<RefusalKind> {
    Some(match refusal.reason {
        ReasonCode::UnspecifiedError => return None,
        ReasonCode::BadUserNameOrPassword => RefusalKind::Credentials,
        ReasonCode::NotAuthorized if refusal.explanation == DISABLED => RefusalKind::Disabled,
        ReasonCode::QuotaExceeded if refusal.explanation == TOO_MANY_ATTEMPTS => RefusalKind::Throttled,
        ReasonCode::QuotaExceeded | ReasonCode::ServerBusy => RefusalKind::Connections,
        ReasonCode::NotAuthorized | ReasonCode::TopicNameInvalid | ReasonCode::PayloadFormatInvalid => {
            RefusalKind::Will
        }
        ReasonCode::ServerUnavailable => RefusalKind::Unavailable,
        ReasonCode::KeepAliveTimeout => RefusalKind::NoConnect,
        ReasonCode::UnsupportedProtocolVersion => RefusalKind::Version,
        _ => RefusalKind::Malformed,
    })
}

/// What DISCONNECT says of access that ended; `None` when it did not end.
pub(crate) fn of_lost_access(denied: &AccessDenied) -> Option<ReasonCode> {
    match denied {
        AccessDenied::Unavailable(_) => None,
        AccessDenied::Disabled => Some(ReasonCode::AdministrativeAction),
        _ => Some(ReasonCode::NotAuthorized),
    }
}

/// What PUBACK and PUBREC say of a payload that was not accepted.
pub(crate) fn of_payload(error: &PayloadError) -> ReasonCode {
    match error {
        PayloadError::TooLarge { .. } | PayloadError::TooManyReadings { .. } | PayloadError::TooManyTopics(_) => {
            ReasonCode::QuotaExceeded
        }
        _ => ReasonCode::PayloadFormatInvalid,
    }
}

/// What PUBACK and PUBREC say of messages that were not stored.
pub(crate) fn of_ingest(_: &IngestError) -> ReasonCode {
    ReasonCode::UnspecifiedError
}

/// For PUBACK and PUBREC. Codes that these packets do not have become the general one.
pub(crate) fn of_publication(reason: ReasonCode) -> PublishAckReason {
    PublishAckReason::try_from(reason.as_u8()).unwrap_or(PublishAckReason::UnspecifiedError)
}

/// For CONNACK.
pub(crate) fn of_connection(reason: ReasonCode) -> ConnectAckReason {
    ConnectAckReason::try_from(reason.as_u8()).unwrap_or(ConnectAckReason::UnspecifiedError)
}

/// For SUBACK.
pub(crate) fn of_subscription(reason: ReasonCode) -> SubscribeAckReason {
    SubscribeAckReason::try_from(reason.as_u8()).unwrap_or(SubscribeAckReason::UnspecifiedError)
}

/// For UNSUBACK.
pub(crate) fn of_unsubscription(reason: ReasonCode) -> UnsubscribeAckReason {
    UnsubscribeAckReason::try_from(reason.as_u8()).unwrap_or(UnsubscribeAckReason::UnspecifiedError)
}

/// For DISCONNECT.
pub(crate) fn of_disconnect(reason: ReasonCode) -> DisconnectReasonCode {
    DisconnectReasonCode::try_from(reason.as_u8()).unwrap_or(DisconnectReasonCode::UnspecifiedError)
}
