//! Devices: what publishes telemetry.

use std::fmt;

use crate::{DeviceConnection, DeviceId, DeviceUsername, Invalid, Rejection, TenantId, Timestamp};

/// A device of a tenant. Its token is kept apart and never travels with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Its id, and its user name in MQTT.
    pub id: DeviceId,
    /// The tenant it belongs to.
    pub tenant_id: TenantId,
    /// Its name, unique in the tenant.
    pub name: DeviceName,
    /// What people sort it by.
    pub labels: Labels,
    /// What people wrote down about it.
    pub notes: Notes,
    /// Whether it may connect.
    pub enabled: bool,
    /// The user name of its own log-in, beside its token.
    pub username: Option<DeviceUsername>,
    /// When its present token stops to work by itself.
    pub token_expires_at: Option<Timestamp>,
    /// When it was registered.
    pub created_at: Timestamp,
    /// When a user last changed it.
    pub updated_at: Timestamp,
    /// Whether it has an open connection, through whichever broker process.
    pub online: bool,
    /// The connection that it opened last, which may have ended.
    pub connection: Option<DeviceConnection>,
    /// When it was last seen.
    pub last_seen_at: Option<Timestamp>,
    /// The last message of it that was refused.
    pub last_rejection: Option<Rejection>,
}

impl Device {
    /// A device that is registered at `now`, may connect, and has a name only.
    pub fn new(id: DeviceId, tenant_id: TenantId, name: DeviceName, now: Timestamp) -> Self {
        Self {
            id,
            tenant_id,
            name,
            labels: Labels::default(),
            notes: Notes::default(),
            enabled: true,
            username: None,
            token_expires_at: None,
            created_at: now,
            updated_at: now,
            online: false,
            connection: None,
            last_seen_at: None,
            last_rejection: None,
        }
    }

    /// The device with a person's changes applied at `now`.
    #[must_use]
    pub fn updated(mut self, update: DeviceUpdate, now: Timestamp) -> Self {
        if let Some(name) = update.name {
            self.name = name;
        }
        if let Some(labels) = update.labels {
            self.labels = labels;
        }
        if let Some(notes) = update.notes {
            self.notes = notes;
        }
        if let Some(enabled) = update.enabled {
            self.enabled = enabled;
        }
        if let Some(expires_at) = update.token_expires_at {
            self.token_expires_at = expires_at;
        }
        self.updated_at = now;
        self
    }
}

/// What a person changes about a device; `None` leaves a field as it is.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct DeviceUpdate {
    /// A new name.
    pub name: Option<DeviceName>,
    /// New labels in place of the old.
    pub labels: Option<Labels>,
    /// New notes.
    pub notes: Option<Notes>,
    /// Whether it may connect.
    pub enabled: Option<bool>,
    /// A new expiry of the present token; `Some(None)` removes it.
    pub token_expires_at: Option<Option<Timestamp>>,
}

/// Which devices of a tenant are asked for; all conditions must hold.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct DeviceFilter {
    /// Those with this label.
    pub label: Option<Label>,
    /// Those of this name; `*` in it stands for any text.
    pub name: Option<String>,
    /// Connected or not connected devices.
    pub online: Option<bool>,
}

/// Whether a device may be connected with the token it showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceStanding {
    /// It may, until this moment if there is one.
    Active {
        /// When the token stops.
        until: Option<Timestamp>,
    },
    /// A person disabled it.
    Disabled,
    /// The token's time is over.
    Expired,
}

impl DeviceStanding {
    /// Judges a device by its switch and the expiry of the token it showed.
    pub fn judge(enabled: bool, expires_at: Option<Timestamp>, now: Timestamp) -> Self {
        match expires_at {
            _ if !enabled => Self::Disabled,
            Some(expiry) if expiry <= now => Self::Expired,
            until => Self::Active { until },
        }
    }
}

/// The name of a device: 1 to 128 characters, not only white space, no control characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceName(String);

impl DeviceName {
    /// The most characters.
    pub const MAX_CHARS: usize = 128;

    /// Parses a name.
    ///
    /// # Errors
    /// When it is blank, too long or has a control character.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        if printable(text, Self::MAX_CHARS) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Invalid::new("name", "must be 1 to 128 characters, not blank, without control characters"))
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One label: 1 to 64 characters, not only white space, no control characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label(String);

impl Label {
    /// The most characters.
    pub const MAX_CHARS: usize = 64;

    /// Parses a label.
    ///
    /// # Errors
    /// When it is blank, too long or has a control character.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        if printable(text, Self::MAX_CHARS) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Invalid::new("labels", "each must be 1 to 64 characters, not blank, without control characters"))
        }
    }

    /// The label as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Up to 32 different labels, in the order given.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Labels(Vec<Label>);

impl Labels {
    /// The most labels.
    pub const MAX: usize = 32;

    /// Parses labels; one that repeats an earlier one is left out.
    ///
    /// # Errors
    /// When there are too many or one is wrong.
    pub fn parse<T: AsRef<str>>(texts: &[T]) -> Result<Self, Invalid> {
        if texts.len() > Self::MAX {
            return Err(Invalid::new("labels", format!("must be at most {}", Self::MAX)));
        }
        let mut labels = Vec::with_capacity(texts.len());
        for text in texts {
            let label = Label::parse(text.as_ref())?;
            if !labels.contains(&label) {
                labels.push(label);
            }
        }
        Ok(Self(labels))
    }

    /// The labels in order.
    pub fn iter(&self) -> impl Iterator<Item = &Label> {
        self.0.iter()
    }
}

/// Notes about a device: up to 4,096 characters, empty by default, without U+0000.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Notes(String);

impl Notes {
    /// The most characters.
    pub const MAX_CHARS: usize = 4_096;

    /// Parses notes.
    ///
    /// # Errors
    /// When they are too long or have U+0000, which PostgreSQL cannot keep.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        if text.chars().count() <= Self::MAX_CHARS && !text.contains('\0') {
            Ok(Self(text.to_owned()))
        } else {
            Err(Invalid::new("notes", "must be at most 4096 characters without U+0000"))
        }
    }

    /// The notes as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn printable(text: &str, max_chars: usize) -> bool {
    (1..=max_chars).contains(&text.chars().count()) && !text.chars().any(char::is_control) && !text.trim().is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_labels_and_notes_have_two_bounds() {
        assert!(DeviceName::parse("é").is_ok() && DeviceName::parse(&"é".repeat(128)).is_ok());
        for wrong in ["", "   ", &"a".repeat(129), "a\nb", "a\0"] {
            assert!(DeviceName::parse(wrong).is_err(), "{wrong:?}");
        }
        assert!(Label::parse(&"a".repeat(64)).is_ok() && Label::parse(&"a".repeat(65)).is_err());
        assert!(Notes::parse("").is_ok() && Notes::parse(&"a".repeat(4_096)).is_ok());
        assert!(Notes::parse(&"a".repeat(4_097)).is_err() && Notes::parse("a\0").is_err());
    }

    #[test]
    fn labels_are_few_and_different() {
        let many: Vec<String> = (0..32).map(|n| n.to_string()).collect();
        assert_eq!(Labels::parse(&many).unwrap().iter().count(), 32);
        assert!(Labels::parse(&vec!["a"; 33]).is_err());
        assert_eq!(Labels::parse(&["b", "a", "b"]).unwrap().iter().map(Label::as_str).collect::<Vec<_>>(), ["b", "a"]);
    }

    #[test]
    fn a_disabled_or_expired_device_has_no_standing() {
        let at = |millis| Timestamp::from_millis(millis).unwrap();
        assert_eq!(DeviceStanding::judge(true, None, at(5)), DeviceStanding::Active { until: None });
        assert_eq!(DeviceStanding::judge(true, Some(at(6)), at(5)), DeviceStanding::Active { until: Some(at(6)) });
        assert_eq!(DeviceStanding::judge(true, Some(at(5)), at(5)), DeviceStanding::Expired);
        assert_eq!(DeviceStanding::judge(false, Some(at(5)), at(5)), DeviceStanding::Disabled);
    }
}
