//! `Expect: 100-continue` (RFC 9110, 10.1.1): a client that asks first, as curl does before a large body, is refused before it sends
//! the body, where the head of its request tells enough. ntex answers 100 to all others.

use ntex::http::h1::ControlAck;
use ntex::http::h1::control::Expect;
use ntex::http::{Method, Request, header};

use crate::body::limit_of;
use crate::code::Code;
use crate::extract::{Shared, bearer};
use crate::observe::dress;
use crate::problem::Problem;
use crate::request_id::RequestId;
use crate::routes::{self, Call};
use crate::stats::RestMeter;

/// Answers who asks whether to send a body.
pub(crate) async fn expect<F>(asked: Expect, shared: &Shared, meter: &RestMeter) -> ControlAck<F> {
    let began = std::time::Instant::now();
    let request = asked.get_ref();
    let Err(problem) = judge(request, shared).await else { return asked.ack() };
    let id = RequestId::of(request.headers());
    let mut answer = problem.answer(request.path());
    dress(&mut answer, &id);
    meter.answered(answer.status(), began.elapsed());
    let status = answer.status().as_u16();
    tracing::info!(target: "pocket_rest_ntex::access", %id, status, "refused before its body");
    asked.fail_with(answer)
}

/// Judges a request by its head, as its handler would.
async fn judge(request: &Request, shared: &Shared) -> Result<(), Problem> {
    let call = find(request.method(), request.path())?;
    if call.user {
        let token = bearer(request.headers())
            .ok_or_else(|| Problem::unauthenticated("a bearer token is needed, which a log-in answers"))?;
        let caller = shared.application.auth.authenticate(token).await?;
        if call.path.starts_with("/telemetry") && call.method == Method::POST {
            shared.application.telemetry.permit_writing(&caller)?;
        }
    }
    let length = request.headers().get(header::CONTENT_LENGTH);
    let length: Option<usize> = length.and_then(|length| length.to_str().ok()?.parse().ok());
    match (length, limit_of(call.path, &shared.body_limits)) {
        (Some(length), Some(limit)) if length > limit => {
            Err(Problem::new(Code::PayloadTooLarge, format!("the body must be at most {limit} bytes")))
        }
        _ => Ok(()),
    }
}

/// The call that a request is for.
fn find(method: &Method, path: &str) -> Result<&'static Call, Problem> {
    let of_path = || {
        let below = |prefix: &str, call: &Call| path.strip_prefix(prefix).is_some_and(|rest| is_at(call.path, rest));
        let api = routes::API.iter().filter(move |call| routes::PREFIXES.iter().any(|prefix| below(prefix, call)));
        api.chain(routes::BESIDE.iter().chain(routes::DOCUMENT).filter(|call| is_at(call.path, path)))
    };
    let answers = |call: &&Call| call.method == *method || (call.method == Method::GET && *method == Method::HEAD);
    if let Some(call) = of_path().find(answers) {
        return Ok(call);
    }
    let allow: Vec<&str> = of_path().map(|call| call.method.as_str()).collect();
    Err(if allow.is_empty() { Problem::not_found() } else { Problem::method_not_allowed(&allow.join(", ")) })
}

/// Whether a path is one of a pattern, in which `{…}` stands for any level.
fn is_at(pattern: &str, path: &str) -> bool {
    let levels = pattern.split('/').zip(path.split('/'));
    pattern.split('/').count() == path.split('/').count() && { levels }
        .all(|(wanted, level)| wanted == level || (wanted.starts_with('{') && !level.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_found_as_its_server_finds_it() {
        let found = |method: Method, path: &str| match find(&method, path) {
            Ok(call) => call.path.to_owned(),
            Err(problem) => problem.to_string().split(':').next().unwrap_or_default().to_owned(),
        };
        assert_eq!(found(Method::POST, "/api/v1/telemetry/import"), "/telemetry/import");
        assert_eq!(found(Method::POST, "/api/telemetry"), "/telemetry");
        assert_eq!(found(Method::PATCH, "/api/v1/devices/x"), "/devices/{id}");
        assert_eq!(found(Method::HEAD, "/health"), "/health");
        assert_eq!(found(Method::PUT, "/api/v1/telemetry"), "METHOD_NOT_ALLOWED");
        for path in ["/api/v1/nothing", "/api/v1/devices//", "/api/v1", "/", "/telemetry", "/api/v1/telemetry/import/x"]
        {
            assert_eq!(found(Method::POST, path), "NOT_FOUND", "{path}");
        }
    }
}
