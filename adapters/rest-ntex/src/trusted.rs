//! Where a request comes from when it came through proxies.
//!
//! A header that tells it is believed as far as those who wrote it are trusted: it is read from its end, and the first address that
//! is no trusted proxy is the source.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use ipnet::IpNet;
use ntex::http::HeaderMap;
use ntex::http::header::HeaderName;

/// The newer header (RFC 7239), and the one that most proxies write.
const FORWARDED: HeaderName = HeaderName::from_static("forwarded");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// Headers that a proxy adds to what it passes on.
const OF_PROXIES: [HeaderName; 8] = [
    FORWARDED,
    X_FORWARDED_FOR,
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-forwarded-proto"),
    HeaderName::from_static("x-forwarded-port"),
    HeaderName::from_static("x-forwarded-server"),
    HeaderName::from_static("x-real-ip"),
    HeaderName::from_static("via"),
];
/// Proxies in a row that are followed.
const MOST_HOPS: usize = 16;

/// Networks whose proxies are believed.
#[derive(Clone, Debug, Default)]
pub(crate) struct TrustedProxies(Arc<[IpNet]>);

impl TrustedProxies {
    pub(crate) fn new(networks: &[IpNet]) -> Self {
        Self(networks.into())
    }

    /// Whether a proxy of this address is believed.
    pub(crate) fn has(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }

    /// The source of a request that came over a connection from `peer`.
    pub(crate) fn source(&self, peer: Option<IpAddr>, headers: &HeaderMap) -> IpAddr {
        let Some(peer) = peer.map(|peer| peer.to_canonical()) else { return IpAddr::V4(Ipv4Addr::UNSPECIFIED) };
        if !self.has(peer) {
            return peer;
        }
        let told = |name: &HeaderName| headers.contains_key(name).then(|| self.follow(peer, headers, name));
        match (told(&X_FORWARDED_FOR), told(&FORWARDED)) {
            (Some(one), Some(other)) if one == other => one,
            // One of them is the client's own, and nobody knows which.
            (Some(_), Some(_)) | (None, None) => peer,
            (Some(source), None) | (None, Some(source)) => source,
        }
    }

    /// The last address of a list that is no trusted proxy; the farthest one that is, when the rest cannot be read.
    fn follow(&self, peer: IpAddr, headers: &HeaderMap, name: &HeaderName) -> IpAddr {
        let lists: Vec<&str> = headers.get_all(name).map(|value| value.to_str().unwrap_or_default()).collect();
        let hops = lists.iter().rev().flat_map(|list| list.rsplit(','));
        let mut farthest = peer;
        for hop in hops.take(MOST_HOPS) {
            let address = if *name == FORWARDED { forwarded_for(hop) } else { Some(hop.trim()) };
            match address.and_then(address_of) {
                Some(address) if self.has(address) => farthest = address,
                Some(address) => return address,
                None => return farthest,
            }
        }
        farthest
    }
}

/// Whether a request came through a proxy, as far as it tells.
pub(crate) fn is_forwarded(headers: &HeaderMap) -> bool {
    OF_PROXIES.iter().any(|name| headers.contains_key(name))
}

/// The `for` of an element of `Forwarded`.
fn forwarded_for(element: &str) -> Option<&str> {
    element.split(';').find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        name.trim().eq_ignore_ascii_case("for").then(|| value.trim().trim_matches('"'))
    })
}

/// An address, which may be in brackets and have a port.
fn address_of(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare = match text.strip_prefix('[') {
        Some(rest) => rest.split(']').next()?,
        None if text.matches(':').count() == 1 => text.split(':').next()?,
        None => text,
    };
    bare.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use ntex::http::header::HeaderValue;

    use super::*;

    fn source(peer: &str, headers: &[(&'static str, &str)]) -> String {
        let trusted = TrustedProxies::new(&["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()]);
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        }
        trusted.source(Some(peer.parse().unwrap()), &map).to_string()
    }

    #[test]
    fn nobody_is_believed_but_trusted_proxies() {
        assert_eq!(source("192.0.2.1", &[("x-forwarded-for", "198.51.100.1")]), "192.0.2.1");
        assert_eq!(source("10.0.0.1", &[("x-forwarded-for", "198.51.100.1")]), "198.51.100.1");
        assert_eq!(source("::ffff:10.0.0.1", &[("x-forwarded-for", "198.51.100.1")]), "198.51.100.1");
        assert_eq!(source("10.0.0.1", &[]), "10.0.0.1");
        let nobody = TrustedProxies::default();
        assert_eq!(nobody.source(None, &HeaderMap::new()).to_string(), "0.0.0.0");
    }

    #[test]
    fn the_list_is_read_from_its_end() {
        for (value, expected) in [
            ("203.0.113.9, 198.51.100.1, 10.1.1.1", "198.51.100.1"),
            ("203.0.113.9,198.51.100.1:4711", "198.51.100.1"),
            ("10.2.2.2, 10.1.1.1", "10.2.2.2"),
            ("203.0.113.9, unknown", "10.0.0.1"),
            ("203.0.113.9, unknown, 10.1.1.1", "10.1.1.1"),
            ("[2001:db8::1]:80", "2001:db8::1"),
            ("2001:db8::1", "2001:db8::1"),
            ("", "10.0.0.1"),
        ] {
            assert_eq!(source("10.0.0.1", &[("x-forwarded-for", value)]), expected, "{value}");
        }
        let twice = [("x-forwarded-for", "203.0.113.9"), ("x-forwarded-for", "198.51.100.1")];
        assert_eq!(source("10.0.0.1", &twice), "198.51.100.1");
    }

    #[test]
    fn the_newer_header_is_read_too_and_a_contradiction_is_not_believed() {
        for (value, expected) in [
            ("for=198.51.100.1;proto=http", "198.51.100.1"),
            ("for=203.0.113.9, proto=https;For=\"[2001:db8::1]:4711\"", "2001:db8::1"),
            ("for=198.51.100.1, for=10.9.9.9", "198.51.100.1"),
            ("for=_hidden", "10.0.0.1"),
            ("proto=http", "10.0.0.1"),
        ] {
            assert_eq!(source("10.0.0.1", &[("forwarded", value)]), expected, "{value}");
        }
        let both = [("x-forwarded-for", "198.51.100.1"), ("forwarded", "for=203.0.113.9")];
        assert_eq!(source("10.0.0.1", &both), "10.0.0.1");
    }
}
