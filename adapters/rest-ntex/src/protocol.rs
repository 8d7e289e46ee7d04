//! Answers to what is not HTTP, or not in time: before there is a request, and so outside of everything else.

use std::io;

use ntex::http::error::DecodeError;
use ntex::http::h1::control::Reason;
use ntex::http::h1::{Control, ControlAck, ProtocolError};
use ntex::http::{HeaderMap, Response};
use ntex::io::Filter;
use ntex::web::Error;

use crate::code::Code;
use crate::expect::expect;
use crate::extract::Shared;
use crate::observe::dress;
use crate::problem::Problem;
use crate::request_id::RequestId;
use crate::stats::RestMeter;

/// Acknowledges what ntex does with a connection, and gives what breaks the protocol an answer like any other.
pub(crate) async fn control<F: Filter>(
    event: Control<F, Error>,
    shared: &Shared,
    meter: &RestMeter,
) -> Result<ControlAck<F>, io::Error> {
    match event {
        Control::Expect(asked) => Ok(expect(asked, shared, meter).await),
        Control::Disconnect(Reason::ProtocolError(error)) => {
            if let ProtocolError::ResponsePayload(cause) = error.err() {
                // Its head is sent. What follows must not look like more of the body, nor like its end.
                tracing::warn!(%cause, "a response could not be sent completely");
                return Err(io::Error::other(cause.to_string()));
            }
            let answer = answer(error.err());
            Ok(error.fail_with(answer))
        }
        other => Ok(other.ack()),
    }
}

fn answer(error: &ProtocolError) -> Response {
    let problem = match error {
        ProtocolError::Decode(DecodeError::MaxHeaders | DecodeError::TooLarge(_)) => {
            Problem::new(Code::HeadTooLarge, "the head of the request is too large or has too many fields")
        }
        ProtocolError::Decode(error) => Problem::new(Code::BadRequest, format!("this is not HTTP/1.1: {error}")),
        ProtocolError::SlowRequestTimeout | ProtocolError::SlowPayloadTimeout => {
            Problem::new(Code::RequestTimeout, "the request did not arrive in time")
        }
        ProtocolError::Encode(_) | ProtocolError::ResponsePayload(_) => Problem::internal(error.to_string()),
    };
    let id = RequestId::of(&HeaderMap::new());
    let mut answer = problem.answer("/");
    tracing::info!(target: "pocket_rest_ntex::access", %id, status = answer.status().as_u16(), %error, "not HTTP");
    dress(&mut answer, &id);
    answer
}
