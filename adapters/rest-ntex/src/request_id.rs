//! The id by which an answer and the lines that the log has of it are found together.

use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::{BuildHasher, Hasher};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use ntex::http::HeaderMap;
use ntex::http::header::{HeaderName, HeaderValue};

/// The header of request and answer.
pub(crate) const HEADER: HeaderName = HeaderName::from_static("x-request-id");
/// The longest id that is taken over from a client.
const MAX_CHARS: usize = 128;

/// Identifies one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RequestId(String);

impl RequestId {
    /// The client's own id when it can be printed, else a new one.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        headers.get(HEADER).and_then(|value| Self::parse(value.to_str().ok()?)).unwrap_or_else(Self::new)
    }

    fn parse(text: &str) -> Option<Self> {
        let sane = (1..=MAX_CHARS).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        sane.then(|| Self(text.to_owned()))
    }

    /// Different in every process and for every request. Nobody needs to guess it, so nothing is lost if somebody can.
    fn new() -> Self {
        static PROCESS: LazyLock<u64> = LazyLock::new(|| RandomState::new().build_hasher().finish());
        static REQUESTS: AtomicU64 = AtomicU64::new(1);
        Self(format!("{:016x}-{:x}", *PROCESS, REQUESTS.fetch_add(1, Ordering::Relaxed)))
    }

    /// The id as a header.
    pub(crate) fn header(&self) -> HeaderValue {
        HeaderValue::from_str(&self.0).expect("ids are printable ASCII")
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sane_id_is_taken_over() {
        for right in ["a", "trace-1:2/3", &"x".repeat(MAX_CHARS)] {
            assert_eq!(RequestId::parse(right).unwrap().to_string(), right);
        }
        for wrong in ["", "a b", "a\u{e9}", "a\t", &"x".repeat(MAX_CHARS + 1)] {
            assert!(RequestId::parse(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn new_ids_differ() {
        assert_ne!(RequestId::new(), RequestId::new());
    }
}
