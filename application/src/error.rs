//! Why a use case did not happen. Each edge turns these into its own language once.

use std::time::Duration;

use pocket_domain::Invalid;
use pocket_ports::{AuthError, Conflict, StorageError};

/// Why a use case did not happen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Nobody is logged in, or the name or password is wrong; which, is not told.
    #[error("not logged in, or the name or password is wrong")]
    Unauthenticated,
    /// The caller's role does not allow it.
    #[error("{0}")]
    Forbidden(&'static str),
    /// There is no such thing in the caller's tenant.
    #[error("not found")]
    NotFound,
    /// A value is wrong.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// A name is taken, or the last administrator would be gone.
    #[error("{0}")]
    Conflict(Conflict),
    /// The tenant that exists from the first start on cannot be renamed or deleted.
    #[error("the tenant default cannot be renamed or deleted")]
    DefaultTenant,
    /// One entry of several is wrong; none was taken.
    #[error("entry {index}: {error}")]
    Entry {
        /// Its place, counted from 0.
        index: usize,
        /// What is wrong with it.
        error: Box<Error>,
    },
    /// Too many failed log-ins.
    #[error("too many attempts, try again in {} s", retry_after.as_secs())]
    TooManyAttempts {
        /// When the next attempt is heard.
        retry_after: Duration,
    },
    /// As much work of this kind is under way as there may be at once; the same call may succeed later.
    #[error("{limit}; try again in {} s", retry_after.as_secs())]
    Busy {
        /// Which limit is reached, for the caller.
        limit: String,
        /// How long to wait before the next try.
        retry_after: Duration,
    },
    /// Answering would take more work than one request may cause; the text names the limit, and what to ask instead.
    #[error("{0}")]
    TooMuch(String),
    /// Storage cannot be used at present; the same call may succeed later.
    #[error("not available at present: {0}")]
    Unavailable(String),
    /// Something that should not happen; the text is for the log, not for the caller.
    #[error("{0}")]
    Internal(String),
}

impl From<StorageError> for Error {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::NotFound => Self::NotFound,
            StorageError::Conflict(conflict) => Self::Conflict(conflict),
            StorageError::Unavailable(cause) => Self::Unavailable(cause),
            StorageError::TooMuch(limit) => Self::TooMuch(limit),
            other => Self::Internal(other.to_string()),
        }
    }
}

impl From<AuthError> for Error {
    fn from(error: AuthError) -> Self {
        match error {
            AuthError::Busy => Self::TooManyAttempts { retry_after: Duration::from_secs(1) },
            AuthError::InvalidToken => Self::Unauthenticated,
            other => Self::Internal(other.to_string()),
        }
    }
}
