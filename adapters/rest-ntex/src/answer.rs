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

/// 200 with a body that is JSON already.
pub(crate) fn ok_with(json: Vec<u8>) -> Answer {
    Ok(with_json(&mut HttpResponse::Ok(), json))
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
    let mut json = Vec::with_capacity(SHORT);
    serde_json::to_writer(&mut json, value)
        .map_err(|error| Problem::internal(format!("answer not written: {error}")))?;
    Ok(with_json(answer, json))
}

fn with_json(answer: &mut ntex::web::HttpResponseBuilder, json: Vec<u8>) -> HttpResponse {
    answer.header(header::CONTENT_TYPE, "application/json").body(json)
}
