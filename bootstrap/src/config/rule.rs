//! What a setting's value may be. A rule parses the text and words what is allowed, so that both come from one place.

use std::fmt::Display;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

use ipnet::IpNet;
use pocket_domain::{NodeName, Password, TopicFilter, Username};
use tracing_subscriber::EnvFilter;

use super::Secret;

/// Reads the text of one kind of value.
pub(super) trait Rule<T>: Sync {
    /// The value, or `None` when the text is not allowed.
    fn parse(&self, text: &str) -> Option<T>;

    /// What is allowed, as the end of the sentence "must be …".
    fn allowed(&self) -> String;

    /// The least and the greatest number, for a rule that is about numbers.
    fn bounds(&self) -> Option<(u64, u64)> {
        None
    }
}

/// A whole number between two bounds, both included.
pub(super) struct Number<T> {
    pub(super) min: T,
    pub(super) max: T,
    /// What is counted: `seconds`, `bytes`.
    pub(super) unit: &'static str,
}

impl<T: FromStr + PartialOrd + Display + Copy + Into<u64> + Sync> Rule<T> for Number<T> {
    fn parse(&self, text: &str) -> Option<T> {
        text.parse().ok().filter(|number| (self.min..=self.max).contains(number))
    }

    fn allowed(&self) -> String {
        format!("a whole number of {} from {} to {}", self.unit, self.min, self.max)
    }

    fn bounds(&self) -> Option<(u64, u64)> {
        Some((self.min.into(), self.max.into()))
    }
}

/// A TCP port; 0 takes any free one.
pub(super) struct Port;

impl Rule<u16> for Port {
    fn parse(&self, text: &str) -> Option<u16> {
        text.parse().ok()
    }

    fn allowed(&self) -> String {
        "a port from 0 to 65535 (0 takes any free one)".into()
    }

    fn bounds(&self) -> Option<(u64, u64)> {
        Some((0, u64::from(u16::MAX)))
    }
}

/// An address to listen on.
pub(super) struct Address;

impl Rule<IpAddr> for Address {
    fn parse(&self, text: &str) -> Option<IpAddr> {
        text.parse().ok()
    }

    fn allowed(&self) -> String {
        "an IP address such as 0.0.0.0, 127.0.0.1 or ::".into()
    }
}

/// One of a few words.
pub(super) struct Choice<T: 'static>(pub(super) &'static [(&'static str, T)]);

impl<T: Copy + Sync> Rule<T> for Choice<T> {
    fn parse(&self, text: &str) -> Option<T> {
        self.0.iter().find(|(word, _)| *word == text).map(|(_, value)| *value)
    }

    fn allowed(&self) -> String {
        let words: Vec<&str> = self.0.iter().map(|(word, _)| *word).collect();
        words.join(" or ")
    }
}

/// Nothing, or what another rule allows.
pub(super) struct Optional<R>(pub(super) R);

impl<T, R: Rule<T>> Rule<Option<T>> for Optional<R> {
    fn parse(&self, text: &str) -> Option<Option<T>> {
        if text.is_empty() { Some(None) } else { self.0.parse(text).map(Some) }
    }

    fn allowed(&self) -> String {
        format!("{}, or empty", self.0.allowed())
    }

    fn bounds(&self) -> Option<(u64, u64)> {
        self.0.bounds()
    }
}

/// The path of a file or directory.
pub(super) struct Path;

impl Rule<PathBuf> for Path {
    fn parse(&self, text: &str) -> Option<PathBuf> {
        (!text.is_empty() && !text.contains('\0')).then(|| PathBuf::from(text))
    }

    fn allowed(&self) -> String {
        "a path".into()
    }
}

/// A secret of a least length.
pub(super) struct SecretOf {
    pub(super) min_bytes: usize,
}

impl Rule<Secret> for SecretOf {
    fn parse(&self, text: &str) -> Option<Secret> {
        (text.len() >= self.min_bytes).then(|| Secret::new(text))
    }

    fn allowed(&self) -> String {
        format!("at least {} bytes", self.min_bytes)
    }
}

/// A bearer token: characters that a request header can carry.
pub(super) struct BearerToken;

impl Rule<Secret> for BearerToken {
    fn parse(&self, text: &str) -> Option<Secret> {
        (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())).then(|| Secret::new(text))
    }

    fn allowed(&self) -> String {
        "visible ASCII characters without spaces".into()
    }
}

/// The name of a person.
pub(super) struct Person;

impl Rule<Username> for Person {
    fn parse(&self, text: &str) -> Option<Username> {
        Username::parse(text).ok()
    }

    fn allowed(&self) -> String {
        format!("{} to {} characters of a-z, 0-9, '.', '_' and '-'", Username::MIN_CHARS, Username::MAX_CHARS)
    }
}

/// The password of a person.
pub(super) struct PersonalPassword;

impl Rule<Password> for PersonalPassword {
    fn parse(&self, text: &str) -> Option<Password> {
        Password::parse(text).ok()
    }

    fn allowed(&self) -> String {
        format!("{} to {} characters", Password::MIN_CHARS, Password::MAX_CHARS)
    }
}

/// The name of a process.
pub(super) struct Node;

impl Rule<NodeName> for Node {
    fn parse(&self, text: &str) -> Option<NodeName> {
        NodeName::parse(text).ok()
    }

    fn allowed(&self) -> String {
        format!("1 to {} characters of a-z, 0-9, '.' and '-'", NodeName::MAX_CHARS)
    }
}

/// MQTT topic filters, separated by commas; empty for none.
pub(super) struct TopicFilters;

impl Rule<Vec<TopicFilter>> for TopicFilters {
    fn parse(&self, text: &str) -> Option<Vec<TopicFilter>> {
        if text.is_empty() {
            return Some(Vec::new());
        }
        text.split(',').map(|filter| TopicFilter::parse(filter.trim()).ok()).collect()
    }

    fn allowed(&self) -> String {
        "MQTT topic filters separated by commas, such as sensors/#,+/status, or empty".into()
    }
}

/// Networks, or single addresses, separated by commas; empty for none.
pub(super) struct Networks;

impl Rule<Vec<IpNet>> for Networks {
    fn parse(&self, text: &str) -> Option<Vec<IpNet>> {
        if text.trim().is_empty() {
            return Some(Vec::new());
        }
        let network = |text: &str| text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)).ok();
        text.split(',').map(|text| network(text.trim())).collect()
    }

    fn allowed(&self) -> String {
        "networks or addresses separated by commas, such as 10.0.0.0/8,2001:db8::/32,192.0.2.7, or empty".into()
    }
}

/// Origins of web pages, separated by commas; `*` for all, empty for none.
pub(super) struct Origins;

impl Origins {
    /// The origin as browsers send it: without a slash at its end, and without the port that its scheme has in any case.
    fn origin(text: &str) -> Option<String> {
        let text = text.trim().to_ascii_lowercase();
        if text == "*" || text == "null" {
            return Some(text);
        }
        let text = text.strip_suffix('/').unwrap_or(&text);
        let (scheme, authority) = text.split_once("://")?;
        let is_scheme = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
        let is_host = |c: char| c.is_ascii_alphanumeric() || "-._[]:".contains(c);
        if scheme.is_empty() || !scheme.chars().all(is_scheme) || !authority.chars().all(is_host) {
            return None;
        }
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, Some(port.parse::<u16>().ok()?)),
            _ => (authority, None),
        };
        let port = port.filter(|port| !matches!((scheme, port), ("http", 80) | ("https", 443)));
        let shown = port.map_or(String::new(), |port| format!(":{port}"));
        (!host.is_empty()).then(|| format!("{scheme}://{host}{shown}"))
    }
}

impl Rule<Vec<String>> for Origins {
    fn parse(&self, text: &str) -> Option<Vec<String>> {
        if text.trim().is_empty() {
            return Some(Vec::new());
        }
        let origins: Vec<String> = text.split(',').map(Self::origin).collect::<Option<_>>()?;
        // `*` beside others would make a list that looks like a limit, and is none.
        (origins.len() == 1 || !origins.iter().any(|origin| origin == "*")).then_some(origins)
    }

    fn allowed(&self) -> String {
        "origins separated by commas, such as https://dashboard.example.org,http://localhost:5173, or * alone, or empty"
            .into()
    }
}

/// Directives of `tracing_subscriber::EnvFilter`, kept as text because a filter cannot be copied.
pub(super) struct LogFilter;

impl Rule<String> for LogFilter {
    fn parse(&self, text: &str) -> Option<String> {
        (!text.is_empty() && EnvFilter::try_new(text).is_ok()).then(|| text.to_owned())
    }

    fn allowed(&self) -> String {
        "a level (error, warn, info, debug, trace, off) or directives such as info,pocket_iot=debug".into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_includes_both_bounds() {
        let rule = Number { min: 2u32, max: 10, unit: "things" };
        assert_eq!(rule.parse("2"), Some(2));
        assert_eq!(rule.parse("10"), Some(10));
        for wrong in ["1", "11", "-1", "", "ten", "4294967296", "2.0", " 3"] {
            assert_eq!(rule.parse(wrong), None, "{wrong}");
        }
        assert_eq!(rule.allowed(), "a whole number of things from 2 to 10");
    }

    #[test]
    fn ports_are_sixteen_bits() {
        assert_eq!(Port.parse("0"), Some(0));
        assert_eq!(Port.parse("65535"), Some(65_535));
        assert_eq!(Port.parse("65536"), None);
    }

    #[test]
    fn secrets_count_bytes() {
        let rule = SecretOf { min_bytes: 32 };
        assert!(rule.parse(&"a".repeat(31)).is_none());
        assert!(rule.parse(&"a".repeat(32)).is_some());
        assert!(rule.parse(&"é".repeat(16)).is_some());
    }

    #[test]
    fn a_bearer_token_fits_a_header() {
        assert!(BearerToken.parse("abc~!123").is_some());
        for wrong in ["", "a b", "a\nb", "é"] {
            assert!(BearerToken.parse(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn topic_filters_may_be_none_or_several() {
        assert_eq!(TopicFilters.parse("").map(|filters| filters.len()), Some(0));
        assert_eq!(TopicFilters.parse("a/#, +/b").map(|filters| filters.len()), Some(2));
        for wrong in [",", "a/#/b", "a,,b"] {
            assert_eq!(TopicFilters.parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn networks_may_be_none_or_several_and_single_addresses() {
        assert_eq!(Networks.parse(""), Some(Vec::new()));
        let several = Networks.parse("10.0.0.0/8, fd00::/8,192.0.2.7").unwrap();
        assert_eq!(several, ["10.0.0.0/8", "fd00::/8", "192.0.2.7/32"].map(|text| text.parse().unwrap()));
        for wrong in [",", "10.0.0.0/33", "proxy.example.org", "10.0.0.1/8/8"] {
            assert_eq!(Networks.parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn origins_are_what_browsers_send() {
        assert_eq!(Origins.parse(" "), Some(Vec::new()));
        assert_eq!(Origins.parse("*"), Some(vec!["*".to_owned()]));
        let several = "HTTPS://A.example/, http://localhost:5173,https://b.example:443,http://[::1]:8080,capacitor://localhost,null";
        let read = Origins.parse(several).unwrap();
        let expected = [
            "https://a.example",
            "http://localhost:5173",
            "https://b.example",
            "http://[::1]:8080",
            "capacitor://localhost",
            "null",
        ];
        assert_eq!(read, expected);
        for wrong in [
            "a.example",
            "https://",
            "https://a.example/path",
            "*,https://a.example",
            "https://a:port",
            ",",
            "https://*.a.example",
        ] {
            assert_eq!(Origins.parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn log_filters_are_checked() {
        assert!(LogFilter.parse("info,pocket_iot=debug").is_some());
        assert!(LogFilter.parse("pocket_iot=loud").is_none());
    }

    #[test]
    fn empty_means_off_where_a_setting_is_optional() {
        assert_eq!(Optional(Port).parse(""), Some(None));
        assert_eq!(Optional(Port).parse("8883"), Some(Some(8_883)));
        assert_eq!(Optional(Port).parse("x"), None);
    }
}
