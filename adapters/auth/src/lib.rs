//! The secrets of people and devices: argon2id for passwords (and hashes from elsewhere, until their password is shown), HS256 bearer tokens for log-ins, a keyed hash for device
//! tokens, and the operating system's randomness.
//!
//! Invariants: no secret is printed by `Debug`; no password is hashed on the thread that asks for it; how many are hashed
//! at once, and how many wait for it, is bounded.
//!
//! Architecture invariant: nothing here decides who may do what, and nothing is stored.

mod bearer;
mod device_token;
mod entropy;
mod key;
mod password;
mod stored_hash;

pub use bearer::JwtIssuer;
pub use device_token::HmacTokenHasher;
pub use entropy::OsEntropy;
pub use key::KeyTooShort;
pub use password::{Argon2PasswordHasher, HashingLimits};
