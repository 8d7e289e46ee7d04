//! Passwords, bearer tokens, hashes of device tokens, and randomness.

use async_trait::async_trait;
use pocket_domain::{
    DeviceToken, Invalid, LoginId, Password, PasswordHash, TenantId, Timestamp, TokenHash, TokenKeyFingerprint, UserId,
};

/// Why a secret could not be worked with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AuthError {
    /// Too many passwords are being hashed; the same call may succeed later.
    #[error("too many log-ins at once")]
    Busy,
    /// A bearer token that is malformed, forged or expired.
    #[error("the bearer token is not valid")]
    InvalidToken,
    /// The library failed.
    #[error("{0}")]
    Backend(String),
}

/// Hashes people's passwords. Each call may take tens of milliseconds and MUST NOT hold up the thread it is awaited on.
#[async_trait]
pub trait PasswordHasher: Send + Sync {
    /// A salted hash in PHC string format.
    async fn hash(&self, password: Password) -> Result<PasswordHash, AuthError>;

    /// Whether `attempt` is the password of `hash`. Without a hash (nobody has the name) it MUST take as long and be
    /// `false`.
    async fn verify(&self, attempt: String, hash: Option<PasswordHash>) -> Result<bool, AuthError>;

    /// A hash that another program made, so that [`verify`](Self::verify) can compare with it later. MUST refuse one of a form that is
    /// not known, and one that would take more than tens of milliseconds to compare with. The message MUST NOT repeat the hash.
    fn adopt(&self, text: &str) -> Result<PasswordHash, Invalid> {
        let _ = text;
        Err(Invalid::new("hash", "hashes of other programs are not supported"))
    }

    /// Whether a hash is at least as strong as those of [`hash`](Self::hash). Others are replaced when their password is shown.
    fn is_current(&self, hash: &PasswordHash) -> bool {
        let _ = hash;
        true
    }
}

/// What a bearer token says of its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// The person.
    pub user_id: UserId,
    /// Their tenant.
    pub tenant_id: TenantId,
    /// Their `credential_version` when it was issued.
    pub credential_version: u32,
    /// The log-in that it came from.
    pub login: LoginId,
    /// When that log-in was, in whole seconds.
    pub logged_in_at: Timestamp,
}

/// A bearer token that was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidToken {
    /// What it says.
    pub claims: Claims,
    /// When it stops.
    pub until: Timestamp,
}

/// Signs and checks bearer tokens.
pub trait TokenIssuer: Send + Sync {
    /// A token that is valid from `now` until `until`, both in whole seconds.
    fn issue(&self, claims: &Claims, now: Timestamp, until: Timestamp) -> Result<String, AuthError>;

    /// The claims of a token, and when it stops. MUST return `InvalidToken` for one that is malformed, signed with another key or algorithm,
    /// made by or for another program, or expired at `now`.
    fn verify(&self, token: &str, now: Timestamp) -> Result<ValidToken, AuthError>;

    /// For how many seconds a token is valid, unless its log-in ends earlier.
    fn ttl_seconds(&self) -> u64;
}

/// Hashes device tokens with a key that is not in the database.
pub trait DeviceTokenHasher: Send + Sync {
    /// The hash under which the token is stored; the same for the same token and key.
    fn hash(&self, token: &DeviceToken) -> TokenHash;

    /// Tells the key from others. It MUST be the same for the same key, and MUST NOT help to find the key.
    fn fingerprint(&self) -> TokenKeyFingerprint;
}

/// Random bytes that nobody can guess.
pub trait Entropy: Send + Sync {
    /// Fills the buffer.
    fn fill(&self, buffer: &mut [u8]);
}
