//! Calls of those who watch over the platform. They are outside of the API's paths and take any query parameters.

use std::net::IpAddr;

use ntex::http::{Payload, header};
use ntex::web::{DefaultError, FromRequest, HttpRequest, HttpResponse};
use serde::Serialize;
use utoipa::ToSchema;

use crate::answer::{Answer, ok};
use crate::code::Code;
use crate::config::Metrics;
use crate::extract::{App, Shared, Source, bearer};
use crate::problem::Problem;

/// The state of the process.
#[derive(Serialize, ToSchema)]
pub(crate) struct Health {
    #[schema(example = "ok")]
    status: &'static str,
}

/// Whether the process serves
#[utoipa::path(get, path = "/health", tag = "health", operation_id = "health",
    responses((status = 200, description = "It does.", body = Health)))]
pub(crate) async fn health() -> Answer {
    ok(&Health { status: "ok" })
}

/// Whether the platform can store
///
/// When it cannot, the problem's detail says why.
#[utoipa::path(get, path = "/ready", tag = "health", operation_id = "ready",
    responses((status = 200, description = "It can.", body = Health)))]
pub(crate) async fn ready(app: App) -> Answer {
    app.ready().await.map_err(|error| Problem::not_ready(error.to_string()))?;
    ok(&Health { status: "ok" })
}

/// The figures for somebody who may read them.
pub(crate) struct Reader(Metrics);

impl FromRequest<DefaultError> for Reader {
    type Error = Problem;

    async fn from_request(request: &HttpRequest, _: &mut Payload) -> Result<Self, Problem> {
        let metrics = &Shared::of(request)?.metrics;
        permit(metrics, bearer(request), Source::of(request))?;
        Ok(Self(metrics.clone()))
    }
}

fn permit(metrics: &Metrics, shown: Option<&str>, source: IpAddr) -> Result<(), Problem> {
    match (&metrics.token, shown) {
        (Some(token), Some(shown)) if token.is(shown) => Ok(()),
        // Somebody who shows a wrong token learns it, on this machine too.
        (Some(_), None) | (None, _) if source.is_loopback() => Ok(()),
        (Some(_), _) => Err(Problem::unauthenticated("/metrics needs the bearer token of the configuration")),
        (None, _) => {
            let detail = "while the configuration has no token for /metrics, it answers to this machine only";
            Err(Problem::new(Code::Forbidden, detail))
        }
    }
}

/// Figures for Prometheus
///
/// For readers on this machine, and for those who show the token of the configuration.
#[utoipa::path(get, path = "/metrics", tag = "health", operation_id = "metrics",
    responses((status = 200, description = "The figures.", body = String,
        content_type = "application/openmetrics-text")))]
pub(crate) async fn metrics(reader: Reader) -> Answer {
    let text = (reader.0.text)();
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(HttpResponse::Ok().header(header::CONTENT_TYPE, content_type).body(text))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::config::MetricsToken;

    fn permitted(token: &str, shown: Option<&str>, source: &str) -> bool {
        let metrics = Metrics { text: Arc::new(String::new), token: MetricsToken::new(token) };
        permit(&metrics, shown, source.parse().unwrap()).is_ok()
    }

    #[test]
    fn without_a_token_only_this_machine_reads_metrics() {
        assert!(
            permitted("", None, "127.0.0.1") && permitted("", None, "::1") && permitted("", Some("x"), "127.0.0.1")
        );
        assert!(!permitted("", None, "10.0.0.1") && !permitted("", Some(""), "10.0.0.1"));
    }

    #[test]
    fn with_a_token_who_shows_it_reads_metrics_from_anywhere() {
        for source in ["127.0.0.1", "10.0.0.1"] {
            assert!(permitted("s3cret", Some("s3cret"), source) && !permitted("s3cret", Some("other"), source));
        }
        assert!(permitted("s3cret", None, "127.0.0.1") && !permitted("s3cret", None, "10.0.0.1"));
    }
}
