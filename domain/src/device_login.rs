//! User names and passwords that people give to devices, beside their tokens: what flashed firmware already has.

use std::fmt;

use crate::{DeviceToken, Invalid, Password};

/// The user name of a device's own log-in: 1 to 128 bytes without control characters, unique in the tenant.
///
/// It has neither the form of a device id nor that of a device token, so that a log-in with those needs no further look-up.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceUsername(String);

impl DeviceUsername {
    /// The most bytes.
    pub const MAX_BYTES: usize = 128;
    /// Digits of a UUID.
    const ID_DIGITS: usize = 32;

    /// Parses a user name.
    ///
    /// # Errors
    /// When it is empty, too long, has a control character or a blank at an end, or has the form of a device id or of a token.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let wrong = |message: &str| Err(Invalid::new("username", message));
        if text.is_empty() || text.len() > Self::MAX_BYTES || text.chars().any(char::is_control) {
            return wrong("must be 1 to 128 bytes without control characters");
        }
        if text.trim() != text {
            return wrong("must not begin or end with white space");
        }
        if Self::is_an_id(text) {
            return wrong("must not have the form of a device id");
        }
        if DeviceToken::is_written_out(text) {
            return wrong("must not have the form of a device token, xxxx-yyyy-zzzz");
        }
        Ok(Self(text.to_owned()))
    }

    fn is_an_id(text: &str) -> bool {
        let inner = text.trim_start_matches("urn:uuid:").trim_start_matches('{').trim_end_matches('}');
        let mut digits = inner.chars().filter(|c| *c != '-');
        digits.clone().count() == Self::ID_DIGITS && digits.all(|c| c.is_ascii_hexdigit())
    }

    /// The user name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DeviceUsername {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The password of a device's own log-in in clear text, on its way to being hashed: 8 to 256 bytes, never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct DevicePassword(String);

impl DevicePassword {
    /// The fewest bytes of one that is chosen now.
    pub const MIN_BYTES: usize = 8;
    /// The most bytes.
    pub const MAX_BYTES: usize = 256;
    /// Passwords of at least eight characters that everybody tries first, in lower case.
    const COMMON: &'static [&'static str] = &[
        "00000000",
        "11111111",
        "12341234",
        "12345678",
        "123456789",
        "1234567890",
        "1q2w3e4r",
        "1qaz2wsx",
        "87654321",
        "88888888",
        "abc12345",
        "abcd1234",
        "abcdefgh",
        "admin123",
        "admin1234",
        "adminadmin",
        "asdfghjk",
        "changeit",
        "changeme",
        "changeme123",
        "default1",
        "esphome1",
        "guest123",
        "homeassistant",
        "iloveyou",
        "letmein1",
        "mosquitto",
        "mqttmqtt",
        "mqttuser",
        "p@ssw0rd",
        "passw0rd",
        "password",
        "password1",
        "password12",
        "password123",
        "qwerty12",
        "qwerty123",
        "qwertyui",
        "qwertyuiop",
        "raspberry",
        "sunshine",
        "tasmota1",
        "test1234",
        "testtest",
        "welcome1",
        "zigbee2mqtt",
    ];

    /// Parses a password that somebody chose for the device of a user name.
    ///
    /// # Errors
    /// When it is too short or too long, is the user name, is among the commonest, or has the form of a device token. The message
    /// does not repeat it.
    pub fn parse(text: &str, username: &DeviceUsername) -> Result<Self, Invalid> {
        let wrong = |message: &str| Err(Invalid::new("password", message));
        if !(Self::MIN_BYTES..=Self::MAX_BYTES).contains(&text.len()) {
            return wrong("must be 8 to 256 bytes");
        }
        let folded = text.to_lowercase();
        if folded == username.as_str().to_lowercase() {
            return wrong("must not be the user name");
        }
        let mut characters = text.chars();
        let first = characters.next();
        if Self::COMMON.contains(&&*folded) || characters.all(|c| Some(c) == first) {
            return wrong("must not be one of the commonest passwords");
        }
        if DeviceToken::is_written_out(text) {
            return wrong("must not have the form of a device token, xxxx-yyyy-zzzz");
        }
        Ok(Self(text.to_owned()))
    }

    /// A password that a device has from elsewhere, however weak it is.
    ///
    /// # Errors
    /// When it is empty, too long, or has the form of a device token, which is what it would be taken for. The message does not
    /// repeat it.
    pub fn inherited(text: &str) -> Result<Self, Invalid> {
        if text.is_empty() || text.len() > Self::MAX_BYTES {
            return Err(Invalid::new("password", "must be 1 to 256 bytes"));
        }
        if DeviceToken::is_written_out(text.trim()) {
            return Err(Invalid::new("password", "must not have the form of a device token, xxxx-yyyy-zzzz"));
        }
        Ok(Self(text.to_owned()))
    }

    /// Why it would not be allowed if somebody chose it now for the device of a user name.
    pub fn weakness(&self, username: &DeviceUsername) -> Option<Invalid> {
        Self::parse(&self.0, username).err()
    }

    /// The password on its way to the hasher.
    pub fn into_password(self) -> Password {
        Password::of_device(self.0)
    }
}

impl fmt::Debug for DevicePassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DevicePassword(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn username(text: &str) -> DeviceUsername {
        DeviceUsername::parse(text).unwrap()
    }

    #[test]
    fn user_names_have_two_bounds_and_no_form_of_other_credentials() {
        for right in
            ["m", &"a".repeat(128), "tasmota 1", "küche", "AABBCCDDEEFF", "livingroom12", "00158d0001a2b3c4", "a/b"]
        {
            assert!(DeviceUsername::parse(right).is_ok(), "{right}");
        }
        for wrong in [
            "",
            &"a".repeat(129),
            &"é".repeat(65),
            "a\nb",
            "a\0",
            " a",
            "a ",
            "0192f3c8-7b1a-7cc2-9d0e-0a1b2c3d4e5f",
            "0192F3C87B1A7CC29D0E0A1B2C3D4E5F",
            "{0192f3c8-7b1a-7cc2-9d0e-0a1b2c3d4e5f}",
            "7k3m-9q2x-vt4b",
            "7K3M-9Q2X-VT4B",
        ] {
            assert!(DeviceUsername::parse(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn passwords_have_two_bounds_and_are_not_the_first_ones_tried() {
        let tasmota = username("tasmota-1");
        for right in ["s3cr3t-x", &"ab".repeat(128), "1234567x", "boilerroom12"] {
            assert!(DevicePassword::parse(right, &tasmota).is_ok(), "{right}");
        }
        for wrong in
            ["", "1234567", &"ab".repeat(129), "tasmota-1", "TASMOTA-1", "Password1", "zzzzzzzz", "7k3m-9q2x-vt4b"]
        {
            assert!(DevicePassword::parse(wrong, &tasmota).is_err(), "{wrong}");
        }
        for (text, right) in [("a", true), (&"ab".repeat(128), true), ("", false), (&"ab".repeat(129), false)] {
            assert_eq!(DevicePassword::inherited(text).is_ok(), right, "{text}");
        }
        assert!(DevicePassword::inherited("mqtt").unwrap().weakness(&tasmota).is_some());
        assert!(DevicePassword::inherited("s3cr3t-x").unwrap().weakness(&tasmota).is_none());
        assert!(DevicePassword::inherited(" 7k3m-9q2x-vt4b").is_err());
        let mut common = DevicePassword::COMMON.to_vec();
        common.sort_unstable();
        common.dedup();
        assert_eq!(common, DevicePassword::COMMON);
        assert!(!format!("{:?}", DevicePassword::parse("s3cr3t-x", &tasmota)).contains("s3cr3t"));
    }
}
