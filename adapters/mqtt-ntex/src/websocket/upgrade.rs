//! From an HTTP request to a WebSocket: RFC 6455, section 4.2, with what MQTT wants besides.

use ntex::http::error::DecodeError;
use ntex::http::header::{self, HeaderName};
use ntex::http::{HttpServiceConfig, Method, RequestHead, StatusCode, h1};
use ntex::io::IoBoxed;
use ntex::util::Either;

/// The path, which may end in another slash.
const PATH: &str = "/mqtt";
/// The only sub-protocol there is.
const PROTOCOL: &str = "mqtt";
/// Characters of the header `sec-websocket-key`: 16 bytes in base-64.
const KEY_CHARS: usize = 24;
/// The longest request that is read.
const MAX_REQUEST: usize = 8 * 1024;

/// The settings that a listener's sockets need.
pub(crate) fn http_config() -> HttpServiceConfig {
    HttpServiceConfig::new().set_max_buf_size(MAX_REQUEST)
}

/// Reads a request and answers it; `false` when it was not answered by a WebSocket, and the connection is to be closed.
pub(crate) async fn upgrade(io: &IoBoxed) -> bool {
    let codec = h1::Codec::new(0, io.shared().get());
    let answer = match io.recv(&codec).await {
        Ok(Some((request, _))) => accept_key(request.head()),
        Ok(None) | Err(Either::Right(_)) => return false,
        Err(Either::Left(DecodeError::TooLarge(_))) => Err(Refusal::TOO_LARGE),
        Err(Either::Left(_)) => Err(Refusal::NO_HTTP),
    };
    let text = match &answer {
        // [MQTT-6.0.0-4] the sub-protocol that is returned is `mqtt`
        Ok(key) => format!(
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\
             sec-websocket-accept: {key}\r\nsec-websocket-protocol: {PROTOCOL}\r\n\r\n"
        ),
        Err(refusal) => refusal.response(),
    };
    io.encode_slice(text.as_bytes()).is_ok() && answer.is_ok()
}

/// Why a request is not answered by a WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Refusal {
    status: StatusCode,
    /// A header that the status demands.
    header: &'static str,
    words: &'static str,
}

impl Refusal {
    const NO_HTTP: Self = Self::of(StatusCode::BAD_REQUEST, "this is not a request of HTTP/1.1");
    const TOO_LARGE: Self = Self::of(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "the request is too large");
    const NO_GET: Self =
        Self { header: "allow: GET\r\n", ..Self::of(StatusCode::METHOD_NOT_ALLOWED, "a WebSocket begins with GET") };
    const NO_UPGRADE: Self = Self::of(StatusCode::BAD_REQUEST, "this address speaks MQTT over WebSocket only");
    const OTHER_VERSION: Self = Self {
        header: "sec-websocket-version: 13\r\n",
        ..Self::of(StatusCode::UPGRADE_REQUIRED, "the WebSocket version must be 13")
    };
    const NO_KEY: Self = Self::of(StatusCode::BAD_REQUEST, "the header sec-websocket-key is missing or wrong");
    const NOT_FOUND: Self = Self::of(StatusCode::NOT_FOUND, "MQTT over WebSocket is at /mqtt");
    const NO_MQTT: Self = Self::of(StatusCode::BAD_REQUEST, "the WebSocket sub-protocol mqtt is required");

    const fn of(status: StatusCode, words: &'static str) -> Self {
        Self { status, header: "", words }
    }

    fn response(&self) -> String {
        let Self { status, header, words } = self;
        format!(
            "HTTP/1.1 {status}\r\n{header}connection: close\r\ncontent-type: text/plain\r\ncontent-length: {}\r\n\r\n\
             {words}\n",
            words.len() + 1
        )
    }
}

/// The proof that the request was understood, of what has to be in it.
fn accept_key(head: &RequestHead) -> Result<String, Refusal> {
    let path = head.uri.path();
    if path.strip_suffix('/').unwrap_or(path) != PATH {
        return Err(Refusal::NOT_FOUND);
    }
    if head.method != Method::GET {
        return Err(Refusal::NO_GET);
    }
    let has = |name, wanted: &str| tokens(head, name).any(|token| token.eq_ignore_ascii_case(wanted));
    // `verify_handshake` of ntex 3.12 does not find the second of two tokens, as in "keep-alive, Upgrade".
    if !has(header::UPGRADE, "websocket") || !has(header::CONNECTION, "upgrade") {
        return Err(Refusal::NO_UPGRADE);
    }
    if !has(header::SEC_WEBSOCKET_VERSION, "13") {
        return Err(Refusal::OTHER_VERSION);
    }
    // [MQTT-6.0.0-3] the client offers the sub-protocol `mqtt`
    if !tokens(head, header::SEC_WEBSOCKET_PROTOCOL).any(|protocol| protocol == PROTOCOL) {
        return Err(Refusal::NO_MQTT);
    }
    let key = head.headers().get(header::SEC_WEBSOCKET_KEY).filter(|key| key.len() == KEY_CHARS);
    let accepted = key.and_then(|key| ntex::ws::hash_key(key.as_bytes()).ok());
    accepted.ok_or(Refusal::NO_KEY)
}

/// The members of a list that may stand in several headers.
fn tokens(head: &RequestHead, name: HeaderName) -> impl Iterator<Item = &str> {
    let lists = head.headers().get_all(name).filter_map(|value| value.to_str().ok());
    lists.flat_map(|list| list.split(',')).map(str::trim)
}

#[cfg(test)]
mod tests {
    use ntex::http::test::TestRequest;

    use super::*;

    /// The example of RFC 6455, section 1.3, with what MQTT wants, and other values for some headers.
    fn request(changes: &[(&'static str, &'static str)]) -> TestRequest {
        let headers = [
            ("upgrade", "websocket"),
            ("connection", "keep-alive, Upgrade"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ("sec-websocket-protocol", "mqttv3.1, mqtt"),
        ];
        let mut request = TestRequest::default();
        request.uri("/mqtt");
        for (name, value) in headers {
            let change = changes.iter().find(|(changed, _)| *changed == name);
            request.header(name, change.map_or(value, |(_, value)| *value));
        }
        request
    }

    fn answer(mut request: TestRequest) -> Result<String, u16> {
        accept_key(request.finish().head()).map_err(|refusal| refusal.status.as_u16())
    }

    #[test]
    fn the_key_is_answered_as_the_rfc_shows() {
        assert_eq!(answer(request(&[])), Ok("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=".to_owned()));
        assert!(answer(request(&[("connection", "Upgrade"), ("upgrade", "WebSocket")])).is_ok());
    }

    #[test]
    fn a_refusal_has_the_status_of_what_is_wrong() {
        let at = |path| {
            let mut request = request(&[]);
            request.uri(path);
            request
        };
        assert!(answer(at("/mqtt?token=no")).is_ok());
        assert_eq!(answer(at("/")), Err(404));
        assert!(answer(at("/mqtt/")).is_ok());
        assert!(answer(at("/mqtt/?token=no")).is_ok());
        assert_eq!(answer(at("/mqtt//")), Err(404));
        assert_eq!(answer(at("/mqtt/x")), Err(404));
        let mut post = request(&[]);
        post.method(Method::POST);
        assert_eq!(answer(post), Err(405));
        for (name, value, status) in [
            ("upgrade", "h2c", 400),
            ("connection", "keep-alive", 400),
            ("sec-websocket-version", "8", 426),
            ("sec-websocket-protocol", "mqttv3.1", 400),
            ("sec-websocket-protocol", "MQTT", 400),
            ("sec-websocket-key", "short", 400),
        ] {
            assert_eq!(answer(request(&[(name, value)])), Err(status), "{name}: {value}");
        }
    }

    #[test]
    fn a_refusal_is_a_whole_response() {
        let text = Refusal::OTHER_VERSION.response();
        assert!(text.starts_with("HTTP/1.1 426 Upgrade Required\r\nsec-websocket-version: 13\r\n"), "{text}");
        assert!(text.ends_with("content-length: 33\r\n\r\nthe WebSocket version must be 13\n"), "{text}");
    }
}
