//! What can be chosen about the REST API.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use subtle::ConstantTimeEq;

use crate::cors::Cors;

/// What can be chosen about the REST API.
#[derive(Clone, Debug)]
pub struct RestConfig {
    /// The name or address to listen on; a name may stand for several addresses.
    pub host: String,
    /// The port; 0 stands for any that is free.
    pub port: u16,
    /// Threads that serve requests, at least one.
    pub workers: usize,
    /// How long requests that are being served may take to end when the server stops.
    pub shutdown_deadline: Duration,
    /// How large bodies may be.
    pub body_limits: BodyLimits,
    /// What `/metrics` says and to whom.
    pub metrics: Metrics,
    /// Networks of the proxies whose `X-Forwarded-For` or `Forwarded` tells where a request comes from.
    pub trusted_proxies: Vec<IpNet>,
    /// Pages of other addresses that may read answers.
    pub cors: Cors,
}

/// How large bodies may be, in bytes. Larger ones are answered with 413.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyLimits {
    /// The body of `POST /telemetry`.
    pub telemetry: usize,
    /// Every other body.
    pub other: usize,
}

impl Default for BodyLimits {
    /// 16 MiB for telemetry, 1 MiB for the rest.
    fn default() -> Self {
        Self { telemetry: 16 * 1_024 * 1_024, other: 1_024 * 1_024 }
    }
}

/// What `/metrics` says and to whom.
#[derive(Clone)]
pub struct Metrics {
    /// Writes the present figures as OpenMetrics text.
    pub text: Arc<dyn Fn() -> String + Send + Sync>,
    /// The bearer token that every reader must show. Without one, only readers on this machine are answered, if no proxy passes
    /// their request on.
    pub token: Option<MetricsToken>,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").field("token", &self.token).finish_non_exhaustive()
    }
}

/// The secret of who may read `/metrics`.
#[derive(Clone)]
pub struct MetricsToken(String);

impl MetricsToken {
    /// Takes the token from the configuration; an empty one would let everybody in and is none.
    pub fn new(token: impl Into<String>) -> Option<Self> {
        Some(token.into()).filter(|token| !token.is_empty()).map(Self)
    }

    /// Whether somebody showed this token. Takes the same time wherever two tokens of one length differ.
    pub(crate) fn is(&self, shown: &str) -> bool {
        self.0.as_bytes().ct_eq(shown.as_bytes()).into()
    }
}

impl fmt::Debug for MetricsToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MetricsToken(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_token_is_none_and_no_token_is_printed() {
        assert!(MetricsToken::new("").is_none());
        let token = MetricsToken::new("s3cret").unwrap();
        assert!(token.is("s3cret") && !token.is("s3cre") && !token.is(""));
        assert_eq!(format!("{token:?}"), "MetricsToken(redacted)");
    }
}
