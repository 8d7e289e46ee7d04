//! The hash under which a device token is stored.
//!
//! Ten thousand devices connect at once after a power cut, so the hash is cheap. A token has only 60 random bits, so the hash is
//! keyed: who has the database alone cannot try tokens against it.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use pocket_domain::{DeviceToken, TokenHash, TokenKeyFingerprint};
use pocket_ports::DeviceTokenHasher;
use sha2::Sha256;

use crate::KeyTooShort;

/// What is hashed for the fingerprint of a key. No token has this form.
const FINGERPRINT: &str = "fingerprint of the token key";

/// HMAC-SHA-256 (RFC 2104) of the token's text.
#[derive(Clone)]
pub struct HmacTokenHasher(Hmac<Sha256>);

impl HmacTokenHasher {
    /// A hasher with a key, which must be the same for all processes on one database.
    ///
    /// # Errors
    /// When the key is shorter than 32 bytes.
    pub fn new(key: &[u8]) -> Result<Self, KeyTooShort> {
        KeyTooShort::check(key)?;
        let keyed = Hmac::new_from_slice(key).expect("HMAC takes a key of any length");
        Ok(Self(keyed))
    }
}

impl DeviceTokenHasher for HmacTokenHasher {
    fn hash(&self, token: &DeviceToken) -> TokenHash {
        let keyed = self.0.clone().chain_update(token.expose());
        TokenHash::from_bytes(keyed.finalize().into_bytes().into())
    }

    fn fingerprint(&self) -> TokenKeyFingerprint {
        let hash = self.0.clone().chain_update(FINGERPRINT).finalize().into_bytes();
        let mut bytes = [0; TokenKeyFingerprint::BYTES];
        bytes.copy_from_slice(&hash[..TokenKeyFingerprint::BYTES]);
        TokenKeyFingerprint::from_bytes(bytes)
    }
}

impl fmt::Debug for HmacTokenHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HmacTokenHasher(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(key: &[u8], random: u8) -> TokenHash {
        HmacTokenHasher::new(key).unwrap().hash(&DeviceToken::generate([random; 8]))
    }

    #[test]
    fn the_hash_depends_on_token_and_key_alone() {
        assert_eq!(hash(&[1; 32], 5), hash(&[1; 32], 5));
        assert_ne!(hash(&[1; 32], 5), hash(&[1; 32], 6));
        assert_ne!(hash(&[1; 32], 5), hash(&[2; 32], 5));
    }

    #[test]
    fn the_hash_is_hmac_sha_256() {
        // printf 0000-0000-0000 | openssl dgst -sha256 -mac HMAC -macopt hexkey:$(printf '01%.0s' $(seq 32))
        let expected = "5b503a6c04c27e267723f1b2473874a21815aa25d526180b344c6f0c9503edd4";
        let hex: String = hash(&[1; 32], 0).as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, expected);
    }

    #[test]
    fn the_fingerprint_depends_on_the_key_alone() {
        let of = |key: &[u8]| HmacTokenHasher::new(key).unwrap().fingerprint();
        assert_eq!(of(&[1; 32]), of(&[1; 32]));
        assert_ne!(of(&[1; 32]), of(&[2; 32]));
        assert_eq!(of(&[1; 32]).to_string().len(), 32);
        assert!(DeviceToken::parse(FINGERPRINT).is_err());
    }

    #[test]
    fn a_key_of_32_bytes_is_the_shortest() {
        assert!(HmacTokenHasher::new(&[1; 32]).is_ok());
        assert_eq!(HmacTokenHasher::new(&[1; 31]).unwrap_err(), KeyTooShort { bytes: 31 });
    }

    #[test]
    fn the_key_is_not_printed() {
        let hasher = HmacTokenHasher::new(b"kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk").unwrap();
        assert_eq!(format!("{hasher:?}"), "HmacTokenHasher(redacted)");
    }
}
