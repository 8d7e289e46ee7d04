//! Cross-origin requests: which pages of other addresses may read answers (Fetch Standard, 3.2).
//!
//! Off unless origins are configured. Nothing here lets anybody in: the API knows people by bearer tokens, which a page has to send
//! itself, and never by what a browser adds, so `Access-Control-Allow-Credentials` is never sent.

use std::sync::Arc;

use ntex::http::header::{self, HeaderMap, HeaderValue};
use ntex::http::{Method, Request, Response, StatusCode};

/// Every method that the API has.
const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";
/// What pages may read of an answer beside what browsers let them read in any case.
const EXPOSED: &str = "x-request-id, retry-after, location, allow, content-disposition, etag";
/// Seconds for which a browser remembers the answer to a preflight.
const MAX_AGE: &str = "600";
/// The longest list of headers that a preflight may ask for.
const MOST_HEADERS: usize = 4_096;

/// The pages that may read answers. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Cors(Option<Arc<Origins>>);

#[derive(Debug)]
enum Origins {
    All,
    Listed(Vec<String>),
}

impl Cors {
    /// The pages of these origins, such as `https://dashboard.example.org`; `*` stands for all, and none turns it off.
    pub fn new(origins: impl IntoIterator<Item = String>) -> Self {
        let origins: Vec<String> = origins.into_iter().map(|origin| origin.to_ascii_lowercase()).collect();
        Self(match origins.as_slice() {
            [] => None,
            some if some.iter().any(|origin| origin == "*") => Some(Arc::new(Origins::All)),
            _ => Some(Arc::new(Origins::Listed(origins))),
        })
    }

    /// What is to be said to the page that a request comes from. To be asked before the request is handled.
    pub(crate) fn judge(&self, request: &Request) -> Verdict {
        let Some(origins) = &self.0 else { return Verdict::Off };
        let origin = request.headers().get(header::ORIGIN);
        match (&**origins, origin) {
            (_, None) => Verdict::NotAllowed { varies: matches!(**origins, Origins::Listed(_)) },
            (Origins::All, Some(_)) => Verdict::Allowed(HeaderValue::from_static("*")),
            (Origins::Listed(listed), Some(origin)) => {
                let is_listed = |text: &str| listed.iter().any(|listed| listed.eq_ignore_ascii_case(text));
                match origin.to_str().ok().filter(|text| is_listed(text)) {
                    Some(_) => Verdict::Allowed(origin.clone()),
                    None => Verdict::NotAllowed { varies: true },
                }
            }
        }
    }
}

/// What is said to a page.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// Nothing, for there are no origins.
    Off,
    /// Nothing, but whether the answer would be another for other pages.
    NotAllowed {
        /// It would.
        varies: bool,
    },
    /// It may read the answer.
    Allowed(HeaderValue),
}

impl Verdict {
    /// The answer to a question of a browser whether it may send a request; `None` when this is none, or not of a page that may.
    pub(crate) fn preflight(&self, request: &Request) -> Option<Response> {
        let headers = request.headers();
        if !matches!(self, Self::Allowed(_))
            || *request.method() != Method::OPTIONS
            || !headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
        {
            return None;
        }
        let mut answer = Response::build(StatusCode::NO_CONTENT).finish();
        let said = answer.headers_mut();
        said.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(METHODS));
        said.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(MAX_AGE));
        said.append(header::VARY, HeaderValue::from_static("Access-Control-Request-Headers"));
        if let Some(asked) = headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS).filter(|asked| is_list(asked)) {
            said.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, asked.clone());
        }
        // A page of a public address asks so before it speaks to one of a private network.
        if asks_for_private_network(headers) {
            said.insert(PRIVATE_NETWORK_ALLOWED, HeaderValue::from_static("true"));
        }
        Some(answer)
    }

    /// Adds to an answer of any kind what lets a page read it.
    pub(crate) fn dress(&self, answer: &mut Response) {
        let headers = answer.headers_mut();
        match self {
            Self::Off | Self::NotAllowed { varies: false } => {}
            Self::NotAllowed { varies: true } => headers.append(header::VARY, HeaderValue::from_static("Origin")),
            Self::Allowed(origin) => {
                headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
                headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
                if origin != "*" {
                    headers.append(header::VARY, HeaderValue::from_static("Origin"));
                }
            }
        }
    }
}

const PRIVATE_NETWORK_ASKED: header::HeaderName =
    header::HeaderName::from_static("access-control-request-private-network");
const PRIVATE_NETWORK_ALLOWED: header::HeaderName =
    header::HeaderName::from_static("access-control-allow-private-network");

fn asks_for_private_network(headers: &HeaderMap) -> bool {
    headers.get(PRIVATE_NETWORK_ASKED).is_some_and(|asked| asked == "true")
}

/// Whether this is a list of names of headers.
fn is_list(value: &HeaderValue) -> bool {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~, ".contains(&byte);
    value.as_bytes().len() <= MOST_HEADERS && value.as_bytes().iter().all(|byte| is_name(*byte))
}

#[cfg(test)]
mod tests {
    use ntex::http::test::TestRequest;

    use super::*;

    fn cors(origins: &[&str]) -> Cors {
        Cors::new(origins.iter().map(|origin| (*origin).to_owned()))
    }

    fn request(headers: &[(&'static str, &'static str)]) -> Request {
        let mut request = TestRequest::default();
        request.method(Method::OPTIONS);
        for (name, value) in headers {
            request.header(*name, *value);
        }
        request.finish()
    }

    fn dressed(cors: &Cors, origin: Option<&'static str>) -> (Option<String>, Vec<String>) {
        let headers: Vec<_> = origin.map(|origin| ("origin", origin)).into_iter().collect();
        let mut answer = Response::build(StatusCode::OK).finish();
        cors.judge(&request(&headers)).dress(&mut answer);
        let text = |value: &HeaderValue| value.to_str().unwrap().to_owned();
        assert!(!answer.headers().contains_key(header::ACCESS_CONTROL_ALLOW_CREDENTIALS));
        (
            answer.headers().get(header::ACCESS_CONTROL_ALLOW_ORIGIN).map(text),
            answer.headers().get_all(header::VARY).map(text).collect(),
        )
    }

    #[test]
    fn only_listed_origins_are_allowed_and_answers_vary() {
        let cors = cors(&["https://a.example", "http://localhost:5173"]);
        for origin in ["https://a.example", "http://localhost:5173"] {
            assert_eq!(dressed(&cors, Some(origin)), (Some(origin.into()), vec!["Origin".into()]));
        }
        for origin in [Some("http://a.example"), Some("https://a.example:8443"), Some("https://b.a.example"), None] {
            assert_eq!(dressed(&cors, origin), (None, vec!["Origin".into()]), "{origin:?}");
        }
    }

    #[test]
    fn a_star_is_for_all_and_nothing_is_for_none() {
        assert_eq!(dressed(&cors(&["*"]), Some("https://a.example")), (Some("*".into()), vec![]));
        assert_eq!(dressed(&cors(&["*"]), None), (None, vec![]));
        assert_eq!(dressed(&cors(&[]), Some("https://a.example")), (None, vec![]));
    }

    #[test]
    fn a_preflight_is_answered_for_who_may() {
        let cors = cors(&["https://a.example"]);
        let asked = [
            ("origin", "https://a.example"),
            ("access-control-request-method", "PATCH"),
            ("access-control-request-headers", "authorization, content-type"),
            ("access-control-request-private-network", "true"),
        ];
        let preflight = request(&asked);
        let answer = cors.judge(&preflight).preflight(&preflight).unwrap();
        let said = |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or("");
        assert_eq!(answer.status(), StatusCode::NO_CONTENT);
        assert!(said("access-control-allow-methods").contains("PATCH"));
        assert_eq!(said("access-control-allow-headers"), "authorization, content-type");
        assert_eq!(said("access-control-allow-private-network"), "true");
        let plain = request(&asked[..1]);
        assert!(cors.judge(&plain).preflight(&plain).is_none());
        let foreign = request(&[("origin", "https://b.example"), asked[1]]);
        assert!(cors.judge(&foreign).preflight(&foreign).is_none());
    }
}
