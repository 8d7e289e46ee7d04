//! Device tokens: what a device shows instead of a password, and the keyed hash that is stored of it.

use std::fmt;

use subtle::ConstantTimeEq;

use crate::Invalid;

/// A device's secret: `xxxx-yyyy-zzzz`, twelve characters of Crockford's base 32 in lower case, 60 random bits.
///
/// Never printed by `Debug`; shown once to whoever registers the device.
#[derive(Clone)]
pub struct DeviceToken(String);

impl DeviceToken {
    /// Digits and lower-case letters without i, l, o and u (<https://www.crockford.com/base32.html>).
    const ALPHABET: &'static [u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    const GROUPS: usize = 3;
    const GROUP_CHARS: usize = 4;
    /// The most bytes that are looked at.
    const MAX_SENT: usize = 64;

    /// A token that carries the low 60 bits of `random`.
    pub fn generate(random: [u8; 8]) -> Self {
        let mut bits = u64::from_le_bytes(random);
        let mut text = String::with_capacity(Self::GROUPS * (Self::GROUP_CHARS + 1));
        for place in 0..Self::GROUPS * Self::GROUP_CHARS {
            if place > 0 && place % Self::GROUP_CHARS == 0 {
                text.push('-');
            }
            text.push(char::from(Self::ALPHABET[(bits & 31) as usize]));
            bits >>= 5;
        }
        Self(text)
    }

    /// Parses a token that somebody sent. What copying, forms and configuration files put around its twelve characters does not
    /// matter: blanks and line breaks, marks that nobody sees, quotation marks, upper case, other dashes or none.
    ///
    /// # Errors
    /// When it does not have the form `xxxx-yyyy-zzzz`. The message does not repeat the text.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let wrong = || Invalid::new("token", "must have the form xxxx-yyyy-zzzz");
        if text.len() > Self::MAX_SENT {
            return Err(wrong());
        }
        let is_wrapping = |c: char| {
            let is_unseen = matches!(c, '\0' | '\u{200b}'..='\u{200d}' | '\u{2060}' | '\u{feff}');
            c.is_whitespace() || is_unseen || matches!(c, '"' | '\'' | '-' | '\u{2010}'..='\u{2015}' | '_')
        };
        let mut token = String::with_capacity(Self::GROUPS * (Self::GROUP_CHARS + 1));
        let mut places = 0;
        for character in text.chars().filter(|c| !is_wrapping(*c)) {
            let character = character.to_ascii_lowercase();
            if places == Self::GROUPS * Self::GROUP_CHARS
                || !u8::try_from(character).is_ok_and(|byte| Self::ALPHABET.contains(&byte))
            {
                return Err(wrong());
            }
            if places > 0 && places % Self::GROUP_CHARS == 0 {
                token.push('-');
            }
            token.push(character);
            places += 1;
        }
        if places == Self::GROUPS * Self::GROUP_CHARS { Ok(Self(token)) } else { Err(wrong()) }
    }

    /// Whether a text is a token as it is shown, with its dashes; upper case does not matter. Twelve characters without dashes may
    /// be anything, such as the address of a network card.
    pub fn is_written_out(text: &str) -> bool {
        Self::parse(text).is_ok_and(|token| token.0.eq_ignore_ascii_case(text))
    }

    /// The clear text, for hashing and for showing a new token once.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for DeviceToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DeviceToken(redacted)")
    }
}

/// A keyed hash of a device token, 32 bytes. Equality takes the same time wherever two hashes differ.
#[derive(Clone, Copy)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    /// Takes what a hasher or a database gave.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes that adapters store.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl PartialEq for TokenHash {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for TokenHash {}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(redacted)")
    }
}

/// Tells one key of token hashes from another, and nothing else of it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TokenKeyFingerprint([u8; Self::BYTES]);

impl TokenKeyFingerprint {
    /// Its length.
    pub const BYTES: usize = 16;

    /// Takes what a hasher or a database gave.
    pub fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        Self(bytes)
    }

    /// The bytes that adapters store.
    pub fn as_bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }
}

impl fmt::Display for TokenKeyFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for TokenKeyFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenKeyFingerprint({self})")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_token_has_three_groups_of_four() {
        let token = DeviceToken::generate([0; 8]);
        assert_eq!(token.expose(), "0000-0000-0000");
        assert_eq!(format!("{token:?}"), "DeviceToken(redacted)");
    }

    #[test]
    fn other_forms_are_refused() {
        for wrong in [
            "",
            "0000-0000",
            "0000-0000-000",
            "0000-0000-0000-0000",
            "000i-0000-0000",
            "0000-0000-000é",
            "0000-0000-0000:",
            &" ".repeat(100),
        ] {
            assert!(DeviceToken::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_around_a_token_does_not_matter() {
        for wrapped in [
            "ab01-cd23-ef45\n",
            " ab01-cd23-ef45",
            "AB01-CD23-EF45",
            "ab01cd23ef45",
            "ab01 cd23 ef45",
            "\"ab01-cd23-ef45\"",
            "ab01\u{2013}cd23\u{2013}ef45\r\n",
            "ab01-cd23-ef45\0",
        ] {
            assert_eq!(DeviceToken::parse(wrapped).unwrap().expose(), "ab01-cd23-ef45", "{wrapped:?}");
        }
    }

    proptest! {
        #[test]
        fn every_generated_token_is_read_back(random: [u8; 8]) {
            let token = DeviceToken::generate(random);
            let read = DeviceToken::parse(token.expose()).unwrap();
            prop_assert_eq!(read.expose(), token.expose());
        }

        #[test]
        fn sixty_bits_reach_the_token(a in 0u64..1 << 60, b in 0u64..1 << 60) {
            let (x, y) = (DeviceToken::generate(a.to_le_bytes()), DeviceToken::generate(b.to_le_bytes()));
            prop_assert_eq!(a == b, x.expose() == y.expose());
        }

        #[test]
        fn parsing_never_panics(text: String) {
            let _ = DeviceToken::parse(&text);
        }
    }
}
