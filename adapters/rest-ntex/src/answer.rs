//! Answers that went well.

use ntex::http::header;
use ntex::web::HttpResponse;
use serde::Serialize;

use crate::problem::Problem;

/// Room for a body that has one thing to tell.
const SHORT: usize = 1_024;

/// What a handler gives.
pub(crate) type Answer = Result<HttpResponse, Problem>;

/// 200 with a body.
pub(crate) fn ok(body: &impl Serialize) -> Answer {
    json(&mut HttpResponse::Ok(), body)
}

/// 200 with a body of about so many bytes: a long one is not moved again and again while it grows.
pub(crate) fn ok_of(bytes: usize, body: &impl Serialize) -> Answer {
    sized_json(&mut HttpResponse::Ok(), body, bytes)
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

fn json(answer: &mut ntex::web::HttpResponseBuilder, value: &impl Serialize) -> Answer {
    sized_json(answer, value, SHORT)
}

fn sized_json(answer: &mut ntex::web::HttpResponseBuilder, value: &impl Serialize, bytes: usize) -> Answer {
    let mut body = Vec::with_capacity(bytes);
    serde_json::to_writer(&mut body, value)
        .map_err(|error| Problem::internal(format!("answer not written: {error}")))?;
    Ok(answer.header(header::CONTENT_TYPE, "application/json").body(body))
}
