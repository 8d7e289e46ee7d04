//! The codes by which a program tells problems apart. They are part of the interface: one is never renamed.

use ntex::http::StatusCode;

/// What kind of problem an answer tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Code {
    BadRequest,
    MalformedJson,
    Unauthenticated,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    RequestTimeout,
    TenantNameTaken,
    UsernameTaken,
    DeviceNameTaken,
    LastAdmin,
    DefaultTenant,
    TooManyAccessRules,
    Conflict,
    PayloadTooLarge,
    UnsupportedMediaType,
    Invalid,
    TooMuch,
    TooManyAttempts,
    Busy,
    HeadTooLarge,
    Internal,
    Unavailable,
}

impl Code {
    /// Every code, by status.
    pub(crate) const ALL: [Self; 23] = [
        Self::BadRequest,
        Self::MalformedJson,
        Self::Unauthenticated,
        Self::Forbidden,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::RequestTimeout,
        Self::TenantNameTaken,
        Self::UsernameTaken,
        Self::DeviceNameTaken,
        Self::LastAdmin,
        Self::DefaultTenant,
        Self::TooManyAccessRules,
        Self::Conflict,
        Self::PayloadTooLarge,
        Self::UnsupportedMediaType,
        Self::Invalid,
        Self::TooMuch,
        Self::TooManyAttempts,
        Self::Busy,
        Self::HeadTooLarge,
        Self::Internal,
        Self::Unavailable,
    ];

    /// The code as it is sent.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::BadRequest => "BAD_REQUEST",
            Self::MalformedJson => "MALFORMED_JSON",
            Self::Unauthenticated => "UNAUTHENTICATED",
            Self::Forbidden => "FORBIDDEN",
            Self::NotFound => "NOT_FOUND",
            Self::MethodNotAllowed => "METHOD_NOT_ALLOWED",
            Self::RequestTimeout => "REQUEST_TIMEOUT",
            Self::TenantNameTaken => "TENANT_NAME_TAKEN",
            Self::UsernameTaken => "USERNAME_TAKEN",
            Self::DeviceNameTaken => "DEVICE_NAME_TAKEN",
            Self::LastAdmin => "LAST_ADMIN",
            Self::DefaultTenant => "DEFAULT_TENANT",
            Self::TooManyAccessRules => "TOO_MANY_ACCESS_RULES",
            Self::Conflict => "CONFLICT",
            Self::PayloadTooLarge => "PAYLOAD_TOO_LARGE",
            Self::UnsupportedMediaType => "UNSUPPORTED_MEDIA_TYPE",
            Self::Invalid => "INVALID",
            Self::TooMuch => "TOO_MUCH",
            Self::TooManyAttempts => "TOO_MANY_ATTEMPTS",
            Self::Busy => "BUSY",
            Self::HeadTooLarge => "HEAD_TOO_LARGE",
            Self::Internal => "INTERNAL",
            Self::Unavailable => "UNAVAILABLE",
        }
    }

    /// The HTTP status that goes with it.
    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::BadRequest | Self::MalformedJson => StatusCode::BAD_REQUEST,
            Self::Unauthenticated => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::TenantNameTaken
            | Self::UsernameTaken
            | Self::DeviceNameTaken
            | Self::LastAdmin
            | Self::DefaultTenant
            | Self::TooManyAccessRules
            | Self::Conflict => StatusCode::CONFLICT,
            Self::PayloadTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Invalid | Self::TooMuch => StatusCode::UNPROCESSABLE_ENTITY,
            Self::TooManyAttempts | Self::Busy => StatusCode::TOO_MANY_REQUESTS,
            Self::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// The short text of the status, which is the title of a problem whose type is `about:blank` (RFC 9457, 4.2.1).
    pub(crate) fn title(self) -> &'static str {
        self.status().canonical_reason().unwrap_or("Problem")
    }
}
