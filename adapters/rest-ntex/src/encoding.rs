//! How bodies are compressed, as far as clients say (RFC 9110, 8.4 and 12.5.3).

use ntex::http::{HeaderMap, header};

use crate::code::Code;
use crate::problem::Problem;

/// Whether the client would rather have gzip than plain text.
pub(crate) fn accepts_gzip(headers: &HeaderMap) -> bool {
    let (mut gzip, mut identity, mut any) = (None, None, None);
    let lists = headers.get_all(header::ACCEPT_ENCODING).filter_map(|value| value.to_str().ok());
    for (coding, weight) in lists.flat_map(|list| list.split(',')).filter_map(weighted) {
        match coding.as_str() {
            "gzip" | "x-gzip" => gzip = Some(weight),
            "identity" => identity = Some(weight),
            "*" => any = Some(weight),
            _ => {}
        }
    }
    let gzip = gzip.or(any).unwrap_or(0);
    gzip > 0 && gzip >= identity.unwrap_or(0)
}

/// A coding in lower case, with its weight in thousandths; `None` for what is none.
fn weighted(entry: &str) -> Option<(String, u16)> {
    let mut parts = entry.split(';').map(str::trim);
    let coding = parts.next().filter(|coding| !coding.is_empty())?.to_ascii_lowercase();
    let mut weight = 1_000;
    for parameter in parts {
        let (name, value) = parameter.split_once('=')?;
        if name.trim().eq_ignore_ascii_case("q") {
            let value: f32 = value.trim().parse().ok().filter(|value| (0.0..=1.0).contains(value))?;
            weight = (value * 1_000.0).round() as u16;
        }
    }
    Some((coding, weight))
}

/// Whether a body is gzip.
pub(crate) fn is_gzip(headers: &HeaderMap) -> Result<bool, Problem> {
    let coding = headers.get(header::CONTENT_ENCODING).map(|value| value.to_str().unwrap_or("?").to_ascii_lowercase());
    match coding.as_deref().map(str::trim) {
        None | Some("" | "identity") => Ok(false),
        Some("gzip" | "x-gzip") => Ok(true),
        Some(_) => {
            let detail = "content-encoding must be gzip or absent";
            Err(Problem::new(Code::UnsupportedMediaType, detail))
        }
    }
}

#[cfg(test)]
mod tests {
    use ntex::http::header::HeaderValue;

    use super::*;

    fn headers(name: &header::HeaderName, values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name.clone(), HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[test]
    fn gzip_is_for_those_who_want_it() {
        for (values, expected) in [
            (&[][..], false),
            (&[""], false),
            (&["gzip"], true),
            (&["GZIP"], true),
            (&["deflate, gzip;q=0.5, br"], true),
            (&["deflate", "x-gzip"], true),
            (&["*"], true),
            (&["gzip;q=0"], false),
            (&["gzip;q=0.000, *"], false),
            (&["gzip; q=0.001"], true),
            (&["*;q=0"], false),
            (&["identity, gzip;q=0.5"], false),
            (&["identity;q=0.5, gzip"], true),
            (&["gzip;q=many"], false),
            (&["br, deflate"], false),
        ] {
            assert_eq!(accepts_gzip(&headers(&header::ACCEPT_ENCODING, values)), expected, "{values:?}");
        }
    }

    #[test]
    fn bodies_are_plain_or_gzip() {
        let of = |value: &str| is_gzip(&headers(&header::CONTENT_ENCODING, &[value]));
        assert!(!is_gzip(&HeaderMap::new()).unwrap() && !of("identity").unwrap());
        assert!(of("gzip").unwrap() && of("X-GZIP").unwrap());
        assert!(of("br").unwrap_err().to_string().contains("must be gzip"));
        assert!(of("gzip, br").is_err());
    }
}
