//! The client id at the end of a path, which may have any characters.

use ntex::http::Payload;
use ntex::web::{DefaultError, FromRequest, HttpRequest};

use crate::code::Code;
use crate::problem::Problem;

/// What is in the path before it.
const BEFORE: &str = "/sessions/";

/// The `{clientId}` of the path, decoded once.
pub(crate) struct ClientId(pub(crate) String);

impl FromRequest<DefaultError> for ClientId {
    type Error = Problem;

    async fn from_request(request: &HttpRequest, _: &mut Payload) -> Result<Self, Problem> {
        // The router's own segments have some characters decoded and others not.
        let path = request.uri().path();
        let encoded = path.split_once(BEFORE).map(|(_, rest)| rest).ok_or_else(Problem::not_found)?;
        decode(encoded)
            .map(Self)
            .ok_or_else(|| Problem::field(Code::Invalid, "clientId", "must be percent-encoded UTF-8"))
    }
}

/// Decodes a part of a path: `%` and two hexadecimal digits are a byte, everything else, `+` too, stands for itself (RFC 3986, 2.1).
fn decode(text: &str) -> Option<String> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let digits = tail.get(..2).filter(|digits| *first == b'%' && digits.iter().all(u8::is_ascii_hexdigit));
        let byte = digits.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        rest = if byte.is_some() { &tail[2..] } else { tail };
        decoded.push(byte.unwrap_or(*first));
    }
    String::from_utf8(decoded).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_path_is_decoded_once() {
        for (encoded, decoded) in [
            ("a", Some("a")),
            ("a%2Fb%20c", Some("a/b c")),
            ("k%C3%BCche+1", Some("k\u{fc}che+1")),
            ("%252F", Some("%2F")),
            ("100%", Some("100%")),
            ("%zz", Some("%zz")),
            ("%FF", None),
            ("", Some("")),
        ] {
            assert_eq!(decode(encoded).as_deref(), decoded, "{encoded}");
        }
    }
}
