//! A tenant: the wall between customers. Everything else belongs to exactly one.

use std::fmt;

use crate::{Invalid, PayloadPolicy, Retention, TenantId, Timestamp};

/// A customer, department or site whose devices and people never see those of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenant {
    /// Its id.
    pub id: TenantId,
    /// Its name, unique in the platform.
    pub name: TenantName,
    /// What telemetry payloads it accepts.
    pub payload_policy: PayloadPolicy,
    /// What it keeps of its telemetry.
    pub retention: Retention,
    /// When it was made.
    pub created_at: Timestamp,
}

/// The name of a tenant: 1 to 63 characters of `a-z`, `0-9` and `-`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TenantName(String);

impl TenantName {
    /// The most characters.
    pub const MAX_CHARS: usize = 63;
    /// The tenant that exists from the first start on.
    pub const DEFAULT: &'static str = "default";

    /// Parses a name.
    ///
    /// # Errors
    /// When it is empty, too long or has another character.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if (1..=Self::MAX_CHARS).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Invalid::new("name", "must be 1 to 63 characters of a-z, 0-9 and -"))
        }
    }

    /// The name of the tenant that exists from the first start on.
    pub fn default_tenant() -> Self {
        Self(Self::DEFAULT.to_owned())
    }

    /// Whether this is the tenant that exists from the first start on.
    pub fn is_default(&self) -> bool {
        self.0 == Self::DEFAULT
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TenantName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_two_bounds_and_an_alphabet() {
        assert!(TenantName::parse("a").is_ok());
        assert!(TenantName::parse(&"a".repeat(63)).is_ok());
        for wrong in ["", &"a".repeat(64), "Acme", "a_b", "a b", "ä"] {
            assert!(TenantName::parse(wrong).is_err(), "{wrong}");
        }
        assert!(TenantName::parse(TenantName::DEFAULT).unwrap().is_default());
    }
}
