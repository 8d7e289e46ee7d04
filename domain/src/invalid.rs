//! The one error of parsing: which field is wrong, and what is allowed.

/// A value that a type refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct Invalid {
    /// The field as users know it, in camelCase: `tokenExpiresAt`.
    pub field: &'static str,
    /// What is wrong and what is allowed. Never repeats a secret.
    pub message: String,
}

impl Invalid {
    /// An error about `field`.
    pub fn new(field: &'static str, message: impl Into<String>) -> Self {
        Self { field, message: message.into() }
    }

    /// The same error about a field of another name, for a type that serves several fields.
    #[must_use]
    pub fn of(mut self, field: &'static str) -> Self {
        self.field = field;
        self
    }
}
