//! What went wrong, as `application/problem+json` (RFC 9457). The one place where an error of the application gets an HTTP
//! status. The client is told a stable code and a safe detail; the log gets the cause, with the id of the request.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use ntex::http::{StatusCode, header};
use ntex::web::{DefaultError, HttpRequest, HttpResponse, WebResponseError};
use pocket_application::{Error, ImportSummary};
use pocket_domain::Invalid;
use pocket_ports::Conflict;
use serde::Serialize;
use utoipa::ToSchema;

use crate::code::Code;

/// The media type of every problem.
pub(crate) const MEDIA_TYPE: &str = "application/problem+json";
/// How long a client is asked to wait for a database that is away.
const UNAVAILABLE_RETRY: Duration = Duration::from_secs(5);

/// Something that went wrong on the way to an answer.
#[derive(Debug)]
pub(crate) struct Problem {
    code: Code,
    detail: Cow<'static, str>,
    errors: Vec<FieldError>,
    retry_after: Option<Duration>,
    allow: Option<String>,
    /// For the log only.
    cause: Option<String>,
}

/// A field and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct FieldError {
    /// The field of the request: a key of the body, `[3].topic` within an array, or a query parameter.
    #[schema(example = "name")]
    pub(crate) field: String,
    /// What is wrong and what is allowed.
    #[schema(example = "must be 1 to 128 characters, not blank, without control characters")]
    pub(crate) message: String,
}

/// A problem as it is sent.
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct ProblemBody<'a> {
    /// Always `about:blank`: `code` tells problems apart.
    #[serde(rename = "type")]
    #[schema(example = "about:blank")]
    kind: &'a str,
    /// The short text of the status.
    #[schema(example = "Unprocessable Entity")]
    title: &'a str,
    /// The HTTP status.
    #[schema(example = 422)]
    status: u16,
    /// What is wrong this time, for people.
    #[schema(example = "name: must be 1 to 128 characters, not blank, without control characters")]
    detail: &'a str,
    /// The path of the request.
    #[schema(example = "/api/v1/devices")]
    instance: &'a str,
    /// A stable error code.
    #[schema(example = "INVALID")]
    code: &'a str,
    /// The fields that are wrong, where fields are.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [FieldError],
}

impl Problem {
    /// A problem with a detail that may be shown.
    pub(crate) fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { code, detail: detail.into(), errors: Vec::new(), retry_after: None, allow: None, cause: None }
    }

    /// A problem with one field.
    pub(crate) fn field(code: Code, field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::fields(code, vec![FieldError { field: field.into(), message: message.into() }])
    }

    /// A problem with several fields.
    pub(crate) fn fields(code: Code, errors: Vec<FieldError>) -> Self {
        let detail = errors.iter().map(|error| format!("{}: {}", error.field, error.message)).collect::<Vec<_>>();
        Self { errors, ..Self::new(code, detail.join("; ")) }
    }

    /// No such thing, or none that the caller may know of.
    pub(crate) fn not_found() -> Self {
        Self::new(Code::NotFound, "not found, or not visible to you")
    }

    /// Nobody is logged in.
    pub(crate) fn unauthenticated(detail: &'static str) -> Self {
        Self::new(Code::Unauthenticated, detail)
    }

    /// A path that is there, asked with a method that it does not have.
    pub(crate) fn method_not_allowed(allow: &str) -> Self {
        let detail = format!("this path accepts {allow}");
        Self { allow: Some(allow.to_owned()), ..Self::new(Code::MethodNotAllowed, detail) }
    }

    /// Something that should not happen, with a cause for the log.
    pub(crate) fn internal(cause: impl Into<String>) -> Self {
        let detail = "internal error; the log of the platform has the cause under the x-request-id of this response";
        Self { cause: Some(cause.into()), ..Self::new(Code::Internal, detail) }
    }

    /// Storage is away.
    pub(crate) fn unavailable(cause: impl Into<String>) -> Self {
        let detail = "storage is unavailable at present; retry later";
        let retry_after = Some(UNAVAILABLE_RETRY);
        Self { cause: Some(cause.into()), retry_after, ..Self::new(Code::Unavailable, detail) }
    }

    /// Storage is away, told to who watches over the platform: with the reason.
    pub(crate) fn not_ready(reason: String) -> Self {
        Self { retry_after: Some(UNAVAILABLE_RETRY), ..Self::new(Code::Unavailable, reason) }
    }

    /// As many of some kind are under way as there may be.
    pub(crate) fn too_many_at_once(what: &str, most: usize, is_share: bool) -> Self {
        let of = if is_share { " of the tenant" } else { "" };
        let detail = format!("the limit of {most} {what}{of} at once is reached; retry later");
        Self { retry_after: Some(UNAVAILABLE_RETRY), ..Self::new(Code::Unavailable, detail) }
    }

    /// The same problem, telling how much of an import is stored nevertheless.
    pub(crate) fn stored_before(mut self, summary: ImportSummary) -> Self {
        let ImportSummary { rows, stored, present } = summary;
        let told = format!(
            "{}; earlier batches had {rows} rows: {stored} stored, {present} already present. The import can be repeated",
            self.detail
        );
        self.detail = told.into();
        self
    }

    /// The answer to a request for `path`.
    pub(crate) fn answer(&self, path: &str) -> HttpResponse {
        if let Some(cause) = &self.cause {
            tracing::error!(code = self.code.as_str(), %cause, "request failed");
        }
        let body = ProblemBody {
            kind: "about:blank",
            title: self.code.title(),
            status: self.code.status().as_u16(),
            detail: &self.detail,
            instance: path,
            code: self.code.as_str(),
            errors: &self.errors,
        };
        let body = serde_json::to_vec(&body).expect("texts and numbers can be written as JSON");
        let mut answer = HttpResponse::build(self.code.status());
        answer.header(header::CONTENT_TYPE, MEDIA_TYPE);
        if self.code == Code::Unauthenticated {
            answer.header(header::WWW_AUTHENTICATE, "Bearer");
        }
        if let Some(wait) = self.retry_after {
            // At least a second, and the rest of a begun one with it.
            let seconds = wait.as_millis().div_ceil(1_000).max(1);
            answer.header(header::RETRY_AFTER, seconds.to_string());
        }
        if let Some(allow) = &self.allow {
            answer.header(header::ALLOW, allow.as_str());
        }
        answer.body(body)
    }

    /// A problem with an entry that was posted: its fields are those of `[index]`, or plain where only one was posted.
    pub(crate) fn of_entry(error: Error, index: Option<usize>) -> Self {
        let problem = match error {
            Error::NotFound => Self::field(Code::NotFound, "deviceId", "is not a device of this tenant"),
            other => Self::from(other),
        };
        let Some(index) = index.filter(|_| !problem.errors.is_empty()) else { return problem };
        let within = |error: FieldError| FieldError { field: format!("[{index}].{}", error.field), ..error };
        Self::fields(problem.code, problem.errors.into_iter().map(within).collect())
    }
}

impl WebResponseError<DefaultError> for Problem {
    fn status_code(&self) -> StatusCode {
        self.code.status()
    }

    fn error_response(&self, request: &HttpRequest) -> HttpResponse {
        self.answer(request.path())
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.as_str(), self.detail)
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::Unauthenticated => Self::unauthenticated("the name, password or bearer token is not valid"),
            Error::Forbidden(reason) => Self::new(Code::Forbidden, reason),
            Error::NotFound => Self::not_found(),
            Error::Invalid(invalid) => invalid.into(),
            Error::Conflict(conflict) => conflict.into(),
            Error::DefaultTenant => Self::new(Code::DefaultTenant, error.to_string()),
            Error::Entry { index, error } => Self::of_entry(*error, Some(index)),
            Error::TooManyAttempts { retry_after } => {
                let detail = "too many attempts; retry after `Retry-After` seconds";
                Self { retry_after: Some(retry_after), ..Self::new(Code::TooManyAttempts, detail) }
            }
            Error::Busy { limit, retry_after } => {
                let detail = format!("{limit}; retry after `Retry-After` seconds");
                Self { retry_after: Some(retry_after), ..Self::new(Code::Busy, detail) }
            }
            Error::TooMuch(detail) => Self::new(Code::TooMuch, detail),
            Error::Unavailable(cause) => Self::unavailable(cause),
            other => Self::internal(other.to_string()),
        }
    }
}

impl From<Conflict> for Problem {
    fn from(conflict: Conflict) -> Self {
        let detail = conflict.to_string();
        match conflict {
            Conflict::TenantName => Self::field(Code::TenantNameTaken, "name", detail),
            Conflict::Username | Conflict::DeviceUsername => Self::field(Code::UsernameTaken, "username", detail),
            Conflict::DeviceName => Self::field(Code::DeviceNameTaken, "name", detail),
            Conflict::AccessRules => Self::new(Code::TooManyAccessRules, detail),
            Conflict::LastAdmin => Self::new(Code::LastAdmin, detail),
            _ => Self::new(Code::Conflict, detail),
        }
    }
}

impl From<Invalid> for Problem {
    fn from(invalid: Invalid) -> Self {
        Self::field(Code::Invalid, invalid.field, invalid.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(problem: &Problem, name: header::HeaderName) -> Option<String> {
        problem.answer("/").headers().get(name).map(|value| value.to_str().unwrap().to_owned())
    }

    #[test]
    fn every_error_has_its_code() {
        let entry = |error| Error::Entry { index: 3, error: Box::new(error) };
        let waits = Error::TooManyAttempts { retry_after: Duration::ZERO };
        for (error, code, status) in [
            (Error::Unauthenticated, "UNAUTHENTICATED", 401),
            (Error::Forbidden("no"), "FORBIDDEN", 403),
            (Error::NotFound, "NOT_FOUND", 404),
            (Invalid::new("name", "is wrong").into(), "INVALID", 422),
            (Error::Conflict(Conflict::TenantName), "TENANT_NAME_TAKEN", 409),
            (Error::Conflict(Conflict::Username), "USERNAME_TAKEN", 409),
            (Error::Conflict(Conflict::DeviceName), "DEVICE_NAME_TAKEN", 409),
            (Error::Conflict(Conflict::LastAdmin), "LAST_ADMIN", 409),
            (Error::Conflict(Conflict::AccessRules), "TOO_MANY_ACCESS_RULES", 409),
            (Error::DefaultTenant, "DEFAULT_TENANT", 409),
            (entry(Error::NotFound), "NOT_FOUND", 404),
            (entry(Invalid::new("topic", "is wrong").into()), "INVALID", 422),
            (entry(Error::Internal("secret".into())), "INTERNAL", 500),
            (waits, "TOO_MANY_ATTEMPTS", 429),
            (Error::Busy { limit: "4 requests".into(), retry_after: Duration::ZERO }, "BUSY", 429),
            (Error::TooMuch("5 rows".into()), "TOO_MUCH", 422),
            (Error::Unavailable("secret".into()), "UNAVAILABLE", 503),
            (Error::Internal("secret".into()), "INTERNAL", 500),
        ] {
            let problem = Problem::from(error);
            assert_eq!((problem.code.as_str(), problem.status_code().as_u16()), (code, status));
            assert!(!problem.detail.contains("secret"), "{problem}");
        }
    }

    #[test]
    fn an_entry_is_named_in_its_fields() {
        let problem = |error| Problem::from(Error::Entry { index: 3, error: Box::new(error) }).to_string();
        assert_eq!(problem(Invalid::new("topic", "is wrong").into()), "INVALID: [3].topic: is wrong");
        assert_eq!(problem(Error::NotFound), "NOT_FOUND: [3].deviceId: is not a device of this tenant");
    }

    #[test]
    fn the_time_to_wait_is_whole_seconds_and_at_least_one() {
        for (wait, text) in [(0, "1"), (1, "1"), (1_000, "1"), (1_001, "2"), (60_000, "60")] {
            let problem = Problem::from(Error::TooManyAttempts { retry_after: Duration::from_millis(wait) });
            assert_eq!(header(&problem, header::RETRY_AFTER).as_deref(), Some(text), "{wait}");
        }
        let away = Problem::unavailable("connection refused");
        assert_eq!(header(&away, header::RETRY_AFTER).as_deref(), Some("5"));
        assert_eq!(header(&Problem::not_found(), header::RETRY_AFTER), None);
    }

    #[test]
    fn who_is_not_ready_says_why() {
        let problem = Problem::not_ready("storage is unavailable: connection refused".into());
        assert_eq!(problem.to_string(), "UNAVAILABLE: storage is unavailable: connection refused");
    }
}
