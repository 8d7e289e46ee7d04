//! People: names, roles and passwords.

use std::fmt;
use std::str::FromStr;

use crate::{Invalid, TenantId, Timestamp, UserId};

/// A person who may log in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Their id.
    pub id: UserId,
    /// The tenant they belong to.
    pub tenant_id: TenantId,
    /// Their name, unique in the tenant.
    pub username: Username,
    /// What they may do.
    pub role: Role,
    /// Counts the changes of their password. A bearer token carries the value it was issued under and ends with it.
    pub credential_version: u32,
    /// When they were added.
    pub created_at: Timestamp,
}

/// What a person may do. Each role includes those below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Reads devices and telemetry of the own tenant.
    Viewer,
    /// Also changes devices and writes telemetry.
    Operator,
    /// Also manages the people of the own tenant.
    Admin,
    /// Manages tenants and acts in any of them.
    PlatformAdmin,
}

impl Role {
    /// Every role, the least first.
    pub const ALL: [Self; 4] = [Self::Viewer, Self::Operator, Self::Admin, Self::PlatformAdmin];

    /// The role as it is written in requests, answers and databases.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
            Self::PlatformAdmin => "platform_admin",
        }
    }

    /// Whether this role can manage the people of a tenant, so that a tenant must keep one who has it.
    pub fn administers(self) -> bool {
        self >= Self::Admin
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        Self::ALL
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or_else(|| Invalid::new("role", "must be platform_admin, admin, operator or viewer"))
    }
}

/// The name a person logs in with: 3 to 64 characters of `a-z`, `0-9`, `.`, `_` and `-`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Username(String);

impl Username {
    /// The fewest characters.
    pub const MIN_CHARS: usize = 3;
    /// The most characters.
    pub const MAX_CHARS: usize = 64;

    /// Parses a name.
    ///
    /// # Errors
    /// When it is too short, too long or has another character.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-');
        if (Self::MIN_CHARS..=Self::MAX_CHARS).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Invalid::new("username", "must be 3 to 64 characters of a-z, 0-9, '.', '_' and '-'"))
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Username {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A password in clear text, on its way to being hashed: 12 to 256 characters, never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    /// The fewest characters.
    pub const MIN_CHARS: usize = 12;
    /// The most characters.
    pub const MAX_CHARS: usize = 256;
    /// Look-alikes are left out, because a generated password is read from a screen.
    const ALPHABET: &'static [u8; 32] = b"abcdefghjkmnpqrstuvwxyz023456789";

    /// Parses a password that somebody chose.
    ///
    /// # Errors
    /// When it is too short or too long.
    pub fn parse(text: impl Into<String>) -> Result<Self, Invalid> {
        let text = text.into();
        if (Self::MIN_CHARS..=Self::MAX_CHARS).contains(&text.chars().count()) {
            Ok(Self(text))
        } else {
            Err(Invalid::new("password", "must be 12 to 256 characters"))
        }
    }

    /// The password of a device's log-in, which has bounds of its own.
    pub(crate) fn of_device(text: String) -> Self {
        Self(text)
    }

    /// A password of 20 characters that carries 100 of the bits given.
    pub fn generate(random: [u8; 20]) -> Self {
        Self(random.iter().map(|byte| char::from(Self::ALPHABET[usize::from(byte & 31)])).collect())
    }

    /// The clear text, for hashing and for showing a generated password once.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(redacted)")
    }
}

/// A password's hash as the hasher wrote it (PHC string format).
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(String);

impl PasswordHash {
    /// Takes what a hasher or a database gave.
    pub fn from_phc(text: String) -> Self {
        Self(text)
    }

    /// The PHC string.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usernames_have_two_bounds_and_an_alphabet() {
        for right in ["abc", &"a".repeat(64), "a.b_c-9"] {
            assert!(Username::parse(right).is_ok(), "{right}");
        }
        for wrong in ["ab", &"a".repeat(65), "Abc", "a b c", "ab@c"] {
            assert!(Username::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn password_bounds_count_characters() {
        assert!(Password::parse("é".repeat(12)).is_ok());
        assert!(Password::parse("a".repeat(256)).is_ok());
        assert!(Password::parse("a".repeat(11)).is_err());
        assert!(Password::parse("a".repeat(257)).is_err());
    }

    #[test]
    fn secrets_are_not_printed() {
        let password = Password::generate([1; 20]);
        assert!(Password::parse(password.expose()).is_ok());
        assert!(!format!("{password:?}").contains(password.expose()));
        assert!(!format!("{:?}", PasswordHash::from_phc("$argon2id$x".into())).contains("argon2"));
    }

    #[test]
    fn roles_are_ordered_and_read_back() {
        assert!(Role::PlatformAdmin > Role::Admin && Role::Admin > Role::Operator && Role::Operator > Role::Viewer);
        for role in Role::ALL {
            assert_eq!(role.as_str().parse(), Ok(role));
        }
        assert!("root".parse::<Role>().is_err());
    }
}
