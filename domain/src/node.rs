//! Broker processes that share a database, by name.

use std::fmt;
use std::str::FromStr;

use crate::Invalid;

/// The name of a broker process: 1 to 64 of `a-z`, `0-9`, `.` and `-`. It stays the same over restarts, and no two
/// processes that run at the same time on one database have the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeName(String);

impl NodeName {
    /// The most characters.
    pub const MAX_CHARS: usize = 64;

    /// Parses a name.
    ///
    /// # Errors
    /// When it is empty, too long or has another character.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let is_allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'.' || byte == b'-';
        if (1..=Self::MAX_CHARS).contains(&text.len()) && text.bytes().all(is_allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Invalid::new("node", "must be 1 to 64 characters of a-z, 0-9, '.' and '-'"))
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for NodeName {
    /// `main`, for a process that is alone on its database.
    fn default() -> Self {
        Self("main".to_owned())
    }
}

impl FromStr for NodeName {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        Self::parse(text)
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_two_bounds_and_few_characters() {
        for right in ["a", "main", "broker-1.example", "7", &"a".repeat(64)] {
            assert_eq!(NodeName::parse(right).unwrap().as_str(), right);
        }
        for wrong in ["", "A", "a_b", "a b", "é", "a\0", &"a".repeat(65)] {
            assert_eq!(NodeName::parse(wrong).unwrap_err().field, "node", "{wrong:?}");
        }
        assert_eq!(NodeName::parse("main"), Ok(NodeName::default()));
    }
}
