//! Hashes of passwords as they are stored: our own, and those that devices bring from Mosquitto.
//!
//! - `$argon2id$v=19$m=…,t=…,p=…$salt$hash`: ours, and those of Mosquitto 2.1;
//! - `$7$iterations$salt$hash`: PBKDF2 with HMAC-SHA-512, of Mosquitto 2.0;
//! - `$6$salt$hash`: SHA-512 of the password and the salt, of Mosquitto 1.
//!
//! What comparing with one costs has a bound, whoever made it.

use std::fmt;

use argon2::Params;
use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use pbkdf2::pbkdf2_hmac;
use pocket_ports::AuthError;
use sha2::{Digest, Sha512};

use crate::password::{argon2id, current_params};

/// The reference implementation of Argon2 writes no padding, Mosquitto's other hashes have it.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
/// Bytes of SHA-512.
const SHA512_BYTES: usize = 64;
/// Iterations of PBKDF2: what the OWASP Password Storage Cheat Sheet recommends, some tenths of a second. Mosquitto has 101 or 1,000.
const MAX_ITERATIONS: u32 = 210_000;
/// Memory of Argon2 in KiB, and memory times passes. Mosquitto 2.1 has 47,104 and one pass.
const MAX_MEMORY_KIB: u32 = 64 * 1_024;
const MAX_MEMORY_PASSES: u32 = 4 * MAX_MEMORY_KIB;
const MAX_LANES: u32 = 4;
/// Bytes of salts, and of hashes of Argon2.
const SALT_BYTES: std::ops::RangeInclusive<usize> = 1..=64;
const ARGON2_BYTES: std::ops::RangeInclusive<usize> = 16..=64;

/// A hash that was read.
pub(crate) struct StoredHash {
    method: Method,
    salt: Vec<u8>,
    hash: Vec<u8>,
}

enum Method {
    Argon2id(Params),
    Pbkdf2(u32),
    Sha512,
}

impl StoredHash {
    /// Reads a hash. What is wrong with one is said without repeating it.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        let fields: Vec<&str> = text.split('$').collect();
        match fields[..] {
            ["", "argon2id", version, params, salt, hash] => {
                if version != "v=19" {
                    return Err("must be version 19 of argon2id");
                }
                let hash = decoded(hash, &ARGON2_BYTES)?;
                let method = Method::Argon2id(argon2_params(params, hash.len())?);
                Ok(Self { method, salt: decoded(salt, &SALT_BYTES)?, hash })
            }
            ["", "7", iterations, salt, hash] => {
                let iterations = number(iterations).filter(|n| (1..=MAX_ITERATIONS).contains(n));
                let method = Method::Pbkdf2(iterations.ok_or("must have 1 to 210000 iterations of PBKDF2")?);
                Ok(Self { method, salt: decoded(salt, &SALT_BYTES)?, hash: sha512(hash)? })
            }
            ["", "6", salt, hash] => {
                Ok(Self { method: Method::Sha512, salt: decoded(salt, &SALT_BYTES)?, hash: sha512(hash)? })
            }
            ["", "6", ..] => Err("must be $6$SALT$HASH"),
            ["", "7", ..] => Err("must be $7$ITERATIONS$SALT$HASH"),
            ["", "argon2id", ..] => Err("must be $argon2id$v=19$m=…,t=…,p=…$SALT$HASH"),
            _ => Err("must begin with $7$, $6$ or $argon2id$"),
        }
    }

    /// Whether it is as strong as those that are made here.
    pub(crate) fn is_current(&self) -> bool {
        let (Method::Argon2id(params), Ok(current)) = (&self.method, current_params()) else { return false };
        let work = |params: &Params| params.m_cost() * params.t_cost();
        params.m_cost() >= current.m_cost() && work(params) >= work(&current)
    }

    /// Whether it is one that takes as long to compare with as those that are made here.
    pub(crate) fn is_slow(&self) -> bool {
        matches!(self.method, Method::Argon2id(_))
    }

    /// Whether it is the hash of a password.
    pub(crate) fn is_of(&self, password: &[u8]) -> Result<bool, AuthError> {
        let computed = match &self.method {
            Method::Argon2id(params) => argon2id(params, password, &self.salt, self.hash.len())?,
            Method::Pbkdf2(iterations) => {
                let mut output = vec![0; SHA512_BYTES];
                pbkdf2_hmac::<Sha512>(password, &self.salt, *iterations, &mut output);
                output
            }
            Method::Sha512 => Sha512::new().chain_update(password).chain_update(&self.salt).finalize().to_vec(),
        };
        Ok(is_same(&computed, &self.hash))
    }
}

impl fmt::Debug for StoredHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoredHash(redacted)")
    }
}

/// In a time that does not depend on where they differ.
fn is_same(one: &[u8], other: &[u8]) -> bool {
    let differing = one.iter().zip(other).fold(0, |differing, (a, b)| differing | (a ^ b));
    one.len() == other.len() && std::hint::black_box(differing) == 0
}

fn number(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

fn decoded(text: &str, bytes: &std::ops::RangeInclusive<usize>) -> Result<Vec<u8>, &'static str> {
    let decoded = BASE64.decode(text).map_err(|_| "must have salt and hash in base64")?;
    if bytes.contains(&decoded.len()) { Ok(decoded) } else { Err("must have a salt and a hash of at most 64 bytes") }
}

fn sha512(text: &str) -> Result<Vec<u8>, &'static str> {
    let hash = decoded(text, &(0..=SHA512_BYTES))?;
    if hash.len() == SHA512_BYTES { Ok(hash) } else { Err("must have a hash of 64 bytes in base64") }
}

fn argon2_params(text: &str, hash_bytes: usize) -> Result<Params, &'static str> {
    const FORM: &str = "must have the parameters m=…,t=…,p=… of argon2id";
    const BOUND: &str = "must have parameters of argon2id of at most m=65536, m times t=262144 and p=4";
    let mut fields = text.split(',');
    let mut next = |name: &str| fields.next()?.strip_prefix(name)?.strip_prefix('=').and_then(number);
    let (Some(memory), Some(passes), Some(lanes)) = (next("m"), next("t"), next("p")) else { return Err(FORM) };
    if fields.next().is_some() {
        return Err(FORM);
    }
    if memory > MAX_MEMORY_KIB || memory.saturating_mul(passes) > MAX_MEMORY_PASSES || lanes > MAX_LANES {
        return Err(BOUND);
    }
    Params::new(memory, passes, lanes, Some(hash_bytes)).map_err(|_| FORM)
}

#[cfg(test)]
mod tests {
    use super::*;

    // By `mosquitto_passwd` 2.0 of the password "secret".
    const PBKDF2: &str = "$7$101$Yop2/0ntkelNu8S5$T7NbX67m53Cu7d24f+hmwqlqJ6KxWQyNVmy2plzeu5ZNbgpDpiF4d1q3+09KdiqaY8ZMRLjZxG5smDysKKQbpQ==";
    const SHA512: &str =
        "$6$ZClonuUYDBsAl8F8$+Y2pwSPTTdfHMgweTfq7iv7HPNU3mfBsx5E/b6IdPgT2wNwsw2UHsCMETChh1YHGfI9XQW1sEkrwxbX5VTo1zw==";
    // By the reference implementation of Argon2, with the parameters and the lengths of Mosquitto 2.1, of the password "secret".
    const ARGON2ID: &str = "$argon2id$v=19$m=47104,t=1,p=1$AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+Pw$jN8KVtBuy9rOg+xx4HEO7K//Ei2hf4aegEDgCD4okj4rugUys2dVUsAyHcBFDFrGlWl198NIEs4dtHiTXPgqvA";

    fn is(text: &str, password: &str) -> bool {
        StoredHash::parse(text).unwrap().is_of(password.as_bytes()).unwrap()
    }

    #[test]
    fn hashes_of_each_kind_are_compared_with() {
        for hash in [PBKDF2, SHA512, ARGON2ID] {
            assert!(is(hash, "secret") && !is(hash, "Secret") && !is(hash, ""), "{hash}");
            assert!(is(hash.trim_end_matches('='), "secret"), "without padding: {hash}");
        }
        assert!(!StoredHash::parse(PBKDF2).unwrap().is_current() && !StoredHash::parse(SHA512).unwrap().is_current());
        assert!(StoredHash::parse(ARGON2ID).unwrap().is_current());
        let weak = ARGON2ID.replace("m=47104", "m=1024");
        assert!(!StoredHash::parse(&weak).unwrap().is_current());
    }

    #[test]
    fn what_costs_too_much_or_has_no_known_form_is_refused() {
        let salt_and_hash = &PBKDF2["$7$101$".len()..];
        let argon2 = |params: &str| ARGON2ID.replace("m=47104,t=1,p=1", params);
        for (wrong, words) in [
            (format!("$7$210001${salt_and_hash}"), "iterations"),
            (format!("$7$4294967296${salt_and_hash}"), "iterations"),
            (format!("$7$0${salt_and_hash}"), "iterations"),
            (format!("$7$+9${salt_and_hash}"), "iterations"),
            (format!("$7$-1${salt_and_hash}"), "iterations"),
            (format!("$7${salt_and_hash}"), "$7$ITERATIONS$SALT$HASH"),
            (format!("$6$rounds=5000${salt_and_hash}"), "$6$SALT$HASH"),
            (argon2("m=65537,t=1,p=1"), "at most"),
            (argon2("m=65536,t=5,p=1"), "at most"),
            (argon2("m=4294967295,t=4294967295,p=1"), "at most"),
            (argon2("m=47104,t=1,p=5"), "at most"),
            (argon2("m=1,t=1,p=1"), "parameters"),
            (argon2("t=1,m=47104,p=1"), "parameters"),
            (argon2("m=47104,t=1"), "parameters"),
            (ARGON2ID.replace("v=19", "v=16"), "version 19"),
            (PBKDF2[..PBKDF2.len() - 8].to_owned(), "64 bytes"),
            (PBKDF2.replace("T7Nb", "T7N!"), "base64"),
            (format!("$7$101$${}", &PBKDF2[25..]), "64 bytes"),
            (format!("$6${}$AAAA", "A".repeat(88)), "64 bytes"),
            ("$2b$12$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW".into(), "$7$, $6$ or $argon2id$"),
            ("$5$salt$hash".into(), "$7$, $6$ or $argon2id$"),
            (String::new(), "$7$, $6$ or $argon2id$"),
        ] {
            let refused = StoredHash::parse(&wrong).unwrap_err();
            assert!(refused.contains(words), "{wrong}: {refused}");
        }
    }
}
