//! What the signing key and the key of device tokens have in common: a least length.

/// A key that is too short to keep a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the key has {bytes} bytes; {} are the least", KeyTooShort::LEAST)]
pub struct KeyTooShort {
    /// Its length.
    pub bytes: usize,
}

impl KeyTooShort {
    /// The fewest bytes of a key: as many as SHA-256 gives (RFC 7518, section 3.2, demands it of HS256).
    pub const LEAST: usize = 32;

    pub(crate) fn check(key: &[u8]) -> Result<(), Self> {
        if key.len() < Self::LEAST { Err(Self { bytes: key.len() }) } else { Ok(()) }
    }
}
