//! Bearer tokens: JSON Web Tokens (RFC 7519) signed with HS256, and with nothing else.
//!
//! The algorithm is fixed here and never taken from the token, so neither `none` nor another algorithm gets in. Expiry is
//! judged against the time that the caller names, to the second and without leeway: the same process issues and checks.

use std::fmt;
use std::time::Duration;

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use pocket_domain::Timestamp;
use pocket_ports::{AuthError, Claims, TokenIssuer, ValidToken};
use serde::{Deserialize, Serialize};

use crate::KeyTooShort;

/// Who makes the tokens, and whom they are for (RFC 7519, sections 4.1.1 and 4.1.3): one program is both.
const PARTY: &str = "pocket-iot";

/// Signs and checks bearer tokens with one key.
pub struct JwtIssuer {
    signing: EncodingKey,
    checking: DecodingKey,
    validation: Validation,
    ttl_seconds: u64,
}

/// The claims as they stand in the token. Times are seconds since 1970 (`NumericDate`).
#[derive(Serialize, Deserialize)]
struct WireClaims {
    sub: String,
    tenant: String,
    /// The owner's `credential_version`.
    version: u32,
    /// The log-in that the token came from.
    sid: String,
    /// When that log-in was (OpenID Connect Core 1.0, section 2).
    auth_time: i64,
    iss: String,
    aud: String,
    iat: i64,
    exp: i64,
}

impl JwtIssuer {
    /// An issuer of tokens that are valid for `ttl`, in whole seconds.
    ///
    /// # Errors
    /// When the key is shorter than 32 bytes.
    pub fn new(key: &[u8], ttl: Duration) -> Result<Self, KeyTooShort> {
        KeyTooShort::check(key)?;
        let mut validation = Validation::new(Algorithm::HS256);
        // The library would ask the system clock; `verify` compares with the time it is given.
        validation.validate_exp = false;
        validation.set_issuer(&[PARTY]);
        validation.set_audience(&[PARTY]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        Ok(Self {
            signing: EncodingKey::from_secret(key),
            checking: DecodingKey::from_secret(key),
            validation,
            ttl_seconds: ttl.as_secs(),
        })
    }
}

impl TokenIssuer for JwtIssuer {
    fn issue(&self, claims: &Claims, now: Timestamp, until: Timestamp) -> Result<String, AuthError> {
        let claims = WireClaims {
            sub: claims.user_id.to_string(),
            tenant: claims.tenant_id.to_string(),
            version: claims.credential_version,
            sid: claims.login.to_string(),
            auth_time: seconds(claims.logged_in_at),
            iss: PARTY.to_owned(),
            aud: PARTY.to_owned(),
            iat: seconds(now),
            exp: seconds(until),
        };
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.signing)
            .map_err(|error| AuthError::Backend(error.to_string()))
    }

    fn verify(&self, token: &str, now: Timestamp) -> Result<ValidToken, AuthError> {
        let claims = jsonwebtoken::decode::<WireClaims>(token, &self.checking, &self.validation)
            .map_err(|_| AuthError::InvalidToken)?
            .claims;
        // RFC 7519, section 4.1.4: not accepted on or after the expiration time
        if seconds(now) >= claims.exp {
            return Err(AuthError::InvalidToken);
        }
        // One that stops later than time can be written does not stop while it matters.
        let until = Timestamp::from_millis(claims.exp.saturating_mul(1_000)).unwrap_or(Timestamp::MAX);
        let claims = Claims {
            user_id: claims.sub.parse().map_err(|_| AuthError::InvalidToken)?,
            tenant_id: claims.tenant.parse().map_err(|_| AuthError::InvalidToken)?,
            credential_version: claims.version,
            login: claims.sid.parse().map_err(|_| AuthError::InvalidToken)?,
            logged_in_at: claims
                .auth_time
                .checked_mul(1_000)
                .and_then(|millis| Timestamp::from_millis(millis).ok())
                .ok_or(AuthError::InvalidToken)?,
        };
        Ok(ValidToken { claims, until })
    }

    fn ttl_seconds(&self) -> u64 {
        self.ttl_seconds
    }
}

fn seconds(time: Timestamp) -> i64 {
    time.as_millis().div_euclid(1_000)
}

impl fmt::Debug for JwtIssuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwtIssuer").field("ttl_seconds", &self.ttl_seconds).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use pocket_domain::{LoginId, TenantId, UserId};

    use super::*;

    const KEY: &[u8] = b"0123456789abcdef0123456789abcdef";
    const TTL: u64 = 3_600;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000 + millis).unwrap()
    }

    fn issuer() -> JwtIssuer {
        JwtIssuer::new(KEY, Duration::from_secs(TTL)).unwrap()
    }

    fn claims() -> Claims {
        Claims {
            user_id: UserId::new(at(0), [1; 10]),
            tenant_id: TenantId::new(at(0), [2; 10]),
            credential_version: 7,
            login: LoginId::new(at(0), [3; 10]),
            logged_in_at: at(-5_000),
        }
    }

    fn end() -> Timestamp {
        at(0).plus(Duration::from_secs(TTL))
    }

    fn wire(exp: i64) -> WireClaims {
        let claims = claims();
        WireClaims {
            sub: claims.user_id.to_string(),
            tenant: claims.tenant_id.to_string(),
            version: 7,
            sid: claims.login.to_string(),
            auth_time: 0,
            iss: PARTY.into(),
            aud: PARTY.into(),
            iat: 0,
            exp,
        }
    }

    fn refused(token: &str) -> bool {
        issuer().verify(token, at(0)) == Err(AuthError::InvalidToken)
    }

    #[test]
    fn a_token_gives_back_its_claims() {
        let token = issuer().issue(&claims(), at(0), end()).unwrap();
        assert_eq!(issuer().verify(&token, at(0)), Ok(ValidToken { claims: claims(), until: end() }));
    }

    #[test]
    fn a_token_ends_with_its_last_second() {
        let token = issuer().issue(&claims(), at(0), end()).unwrap();
        assert!(issuer().verify(&token, end().minus(Duration::from_millis(1))).is_ok());
        assert_eq!(issuer().verify(&token, end()), Err(AuthError::InvalidToken));
    }

    #[test]
    fn a_token_of_or_for_another_program_is_refused() {
        let sign = |claims: &WireClaims| {
            jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &EncodingKey::from_secret(KEY)).unwrap()
        };
        assert!(!refused(&sign(&wire(i64::MAX))));
        assert!(refused(&sign(&WireClaims { iss: "another".into(), ..wire(i64::MAX) })));
        assert!(refused(&sign(&WireClaims { aud: "another".into(), ..wire(i64::MAX) })));
        assert!(refused(&sign(&WireClaims { sid: "none".into(), ..wire(i64::MAX) })));
        assert!(refused(&sign(&WireClaims { auth_time: i64::MAX, ..wire(i64::MAX) })));
    }

    #[test]
    fn another_key_is_refused() {
        let other = JwtIssuer::new(&[7; 32], Duration::from_secs(TTL)).unwrap();
        assert!(refused(&other.issue(&claims(), at(0), end()).unwrap()));
    }

    #[test]
    fn another_algorithm_with_the_same_key_is_refused() {
        for algorithm in [Algorithm::HS384, Algorithm::HS512] {
            let token =
                jsonwebtoken::encode(&Header::new(algorithm), &wire(i64::MAX), &EncodingKey::from_secret(KEY)).unwrap();
            assert!(refused(&token), "{algorithm:?}");
        }
    }

    #[test]
    fn an_unsigned_token_is_refused() {
        let token = issuer().issue(&claims(), at(0), end()).unwrap();
        let claims = token.split('.').nth(1).unwrap();
        // {"alg":"none","typ":"JWT"} and {"alg":"none"}
        for header in ["eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0", "eyJhbGciOiJub25lIn0"] {
            assert!(refused(&format!("{header}.{claims}.")));
            assert!(refused(&format!("{header}.{claims}")));
        }
    }

    #[test]
    fn a_changed_token_is_refused() {
        let token = issuer().issue(&claims(), at(0), end()).unwrap();
        let other = issuer().issue(&claims(), at(0), end().plus(Duration::from_secs(1))).unwrap();
        let [header, _, signature] = token.split('.').collect::<Vec<_>>()[..] else { panic!("three parts") };
        let foreign = other.split('.').nth(1).unwrap();
        assert!(refused(&format!("{header}.{foreign}.{signature}")));
        for cut in 0..token.len() {
            assert!(refused(&token[..cut]), "{cut}");
        }
        for wrong in ["", ".", "..", "...", "a.b.c", "\u{e9}.\u{e9}.\u{e9}"] {
            assert!(refused(wrong), "{wrong}");
        }
    }

    #[test]
    fn a_token_without_a_claim_is_refused() {
        #[derive(Serialize)]
        struct Other {
            sub: &'static str,
            exp: i64,
        }
        let other = Other { sub: "admin", exp: i64::MAX };
        let token =
            jsonwebtoken::encode(&Header::new(Algorithm::HS256), &other, &EncodingKey::from_secret(KEY)).unwrap();
        assert!(refused(&token));
    }

    #[test]
    fn a_key_of_32_bytes_is_the_shortest() {
        assert!(JwtIssuer::new(&[1; 32], Duration::ZERO).is_ok());
        assert_eq!(JwtIssuer::new(&[1; 31], Duration::ZERO).unwrap_err(), KeyTooShort { bytes: 31 });
    }

    #[test]
    fn the_key_is_not_printed() {
        assert_eq!(format!("{:?}", issuer()), "JwtIssuer { ttl_seconds: 3600, .. }");
    }
}
