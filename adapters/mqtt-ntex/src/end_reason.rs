//! Why a connection ended, in the words that people read in the events of a device. They are stable, and docs/MQTT.md lists
//! them.

use std::borrow::Cow;

use pocket_mqtt_core::{Closing, ReasonCode};

/// The words for the end of a connection whose session people ended.
pub(crate) const ENDED: &str = "session_ended";

/// The words for the end of a connection; `closing` is `None` when it was not said, neither by the client nor by the broker.
pub(crate) fn of(closing: Option<Closing>) -> Cow<'static, str> {
    let words = match closing {
        None => "connection_lost",
        Some(Closing::ByClient { with_will: false }) => "client_disconnect",
        Some(Closing::ByClient { with_will: true }) => "disconnect_with_will",
        Some(Closing::ByServer(reason) | Closing::Silently(reason)) => return of_server(reason),
    };
    words.into()
}

fn of_server(reason: ReasonCode) -> Cow<'static, str> {
    let words = match reason {
        ReasonCode::KeepAliveTimeout => "keep_alive_timeout",
        ReasonCode::SessionTakenOver => "taken_over",
        ReasonCode::ServerShuttingDown => "server_shutdown",
        ReasonCode::PacketTooLarge => "packet_too_large",
        // The only quota that ends a connection; others refuse what is asked for.
        ReasonCode::QuotaExceeded => "slow_consumer",
        ReasonCode::AdministrativeAction => "access_revoked: disabled",
        ReasonCode::NotAuthorized => "access_revoked: token",
        // 3.1.1 cannot be told of a message that was not stored.
        ReasonCode::UnspecifiedError | ReasonCode::ImplementationSpecificError => "not_stored",
        other => return format!("protocol_error: {}", error_name(other)).into(),
    };
    words.into()
}

/// The names of section 2.4 of 5.0, in lower case.
fn error_name(reason: ReasonCode) -> &'static str {
    match reason {
        ReasonCode::MalformedPacket => "malformed_packet",
        ReasonCode::ProtocolError => "protocol_error",
        ReasonCode::UnsupportedProtocolVersion => "unsupported_protocol_version",
        ReasonCode::BadAuthenticationMethod => "bad_authentication_method",
        ReasonCode::TopicFilterInvalid => "topic_filter_invalid",
        ReasonCode::TopicNameInvalid => "topic_name_invalid",
        ReasonCode::ReceiveMaximumExceeded => "receive_maximum_exceeded",
        ReasonCode::TopicAliasInvalid => "topic_alias_invalid",
        ReasonCode::MessageRateTooHigh => "message_rate_too_high",
        ReasonCode::PayloadFormatInvalid => "payload_format_invalid",
        ReasonCode::RetainNotSupported => "retain_not_supported",
        ReasonCode::QoSNotSupported => "qos_not_supported",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use ReasonCode as R;

    use super::*;

    /// Those with which a broker closes.
    const BY_SERVER: [ReasonCode; 15] = [
        R::UnspecifiedError,
        R::MalformedPacket,
        R::ProtocolError,
        R::ImplementationSpecificError,
        R::NotAuthorized,
        R::ServerShuttingDown,
        R::KeepAliveTimeout,
        R::SessionTakenOver,
        R::TopicFilterInvalid,
        R::TopicNameInvalid,
        R::ReceiveMaximumExceeded,
        R::TopicAliasInvalid,
        R::PacketTooLarge,
        R::QuotaExceeded,
        R::AdministrativeAction,
    ];

    #[test]
    fn every_reason_is_documented() {
        let document = include_str!("../../../docs/MQTT.md");
        let by_server = BY_SERVER.map(|reason| of(Some(Closing::ByServer(reason))));
        let by_client = [false, true].map(|with_will| of(Some(Closing::ByClient { with_will })));
        for words in by_server.into_iter().chain(by_client).chain([of(None)]) {
            assert!(!words.ends_with(": other"), "{words}");
            let word = words.strip_prefix("protocol_error: ").unwrap_or(&words);
            assert!(document.contains(&format!("`{word}`")), "{words}");
        }
    }
}
