//! Answers that went well.

use ntex::http::header;
use ntex::web::HttpResponse;
use serde::Serialize;

use crate::problem::Problem;

/// What a handler gives.
pub(crate) type Answer = Result<HttpResponse, Problem>;

/// 200 with a body.
pub(crate) fn ok(body: &impl Serialize) -> Answer {
    json(&mut HttpResponse::Ok(), body)
}

/// 201 with a body.
pub(crate) fn created(body: &impl Serialize) -> Answer {
    json(&mut HttpResponse::Created(), body)
}

/// 201 with a body and the path of what was made.
pub(crate) fn created_at(location: &str, body: &impl Serialize) -> Answer {
    json(HttpResponse::Created().header(header::LOCATION, location), body)
}

/// 204.
pub(crate) fn no_content() -> Answer {
    Ok(HttpResponse::NoContent().finish())
}

fn json(answer: &mut ntex::web::HttpResponseBuilder, body: &impl Serialize) -> Answer {
    let body = serde_json::to_vec(body).map_err(|error| Problem::internal(format!("answer not written: {error}")))?;
    Ok(answer.header(header::CONTENT_TYPE, "application/json").body(body))
}
