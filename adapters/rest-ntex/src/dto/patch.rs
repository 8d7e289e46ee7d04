//! Fields of a PATCH (RFC 7396): absent leaves the value as it is, `null` removes it.

use serde::de::{Deserialize, Deserializer};

/// A field that may be absent, `null`, or have a value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Patch<T> {
    /// Leave it.
    #[default]
    Absent,
    /// Remove it.
    Null,
    /// Change it.
    Value(T),
}

impl<T> Patch<T> {
    /// What is to be stored, if anything is: `empty` in place of `null`.
    pub(crate) fn or_empty(self, empty: T) -> Option<T> {
        match self {
            Self::Absent => None,
            Self::Null => Some(empty),
            Self::Value(value) => Some(value),
        }
    }

    /// The same for a value that may be none.
    pub(crate) fn nullable(self) -> Option<Option<T>> {
        match self {
            Self::Absent => None,
            Self::Null => Some(None),
            Self::Value(value) => Some(Some(value)),
        }
    }
}

/// With `#[serde(default)]`: absent fields never reach this.
impl<'de, T: Deserialize<'de>> Deserialize<'de> for Patch<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Option::deserialize(deserializer)?.map_or(Self::Null, Self::Value))
    }
}

/// Reads a field that may be absent but not `null`.
pub(crate) fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

impl<T> garde::rules::inner::Inner<T> for Patch<T> {
    type Key = garde::error::NoKey;

    fn validate_inner<F: FnMut(&T, &Self::Key)>(&self, mut check: F) {
        if let Self::Value(value) = self {
            check(value, &Self::Key::default());
        }
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Body {
        #[serde(default)]
        notes: Patch<String>,
        #[serde(default, deserialize_with = "present")]
        name: Option<String>,
    }

    fn notes(json: &str) -> Patch<String> {
        serde_json::from_str::<Body>(json).unwrap().notes
    }

    #[test]
    fn absent_null_and_a_value_are_three_things() {
        assert_eq!(notes("{}"), Patch::Absent);
        assert_eq!(notes(r#"{"notes":null}"#), Patch::Null);
        assert_eq!(notes(r#"{"notes":"a"}"#), Patch::Value("a".to_owned()));
        assert_eq!(Patch::Null.or_empty(String::new()), Some(String::new()));
        assert_eq!(Patch::<u8>::Null.nullable(), Some(None));
        assert_eq!(Patch::<u8>::Absent.nullable(), None);
    }

    #[test]
    fn what_cannot_be_removed_cannot_be_null() {
        assert_eq!(serde_json::from_str::<Body>("{}").unwrap().name, None);
        assert!(serde_json::from_str::<Body>(r#"{"name":null}"#).is_err());
    }
}
