//! Values that travel as text, parsed by the type of the domain that they become.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use pocket_domain::{Invalid, Timestamp};
use serde::de::{Deserialize, Deserializer, Error, Unexpected, Visitor};
use serde::ser::{Serialize, Serializer};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, OneOfBuilder, Schema, SchemaFormat, Type};
use utoipa::{PartialSchema, ToSchema};

/// A text that a type of the domain accepted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parsed<T>(pub(crate) T);

impl<'de, T: FromStr<Err = Invalid>> Deserialize<'de> for Parsed<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(TextVisitor("a string", T::from_str, PhantomData)).map(Self)
    }
}

/// A whole number in a query parameter.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Whole(pub(crate) u64);

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let parse = |text: &str| text.parse().map_err(|_| Invalid::new("", "must be a whole number"));
        deserializer.deserialize_str(TextVisitor("a whole number", parse, PhantomData)).map(Self)
    }
}

/// A yes or no in a query parameter.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Switch(pub(crate) bool);

impl<'de> Deserialize<'de> for Switch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let parse = |text: &str| text.parse().map_err(|_| Invalid::new("", "must be true or false"));
        deserializer.deserialize_str(TextVisitor("true or false", parse, PhantomData)).map(Self)
    }
}

/// A point in time: RFC 3339 out; RFC 3339 or integer milliseconds in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment(pub(crate) Timestamp);

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = "an RFC 3339 time or integer milliseconds";
        deserializer.deserialize_any(TextVisitor(expected, Timestamp::from_str, PhantomData)).map(Self)
    }
}

/// A moment as requests have it, for the document.
pub(crate) struct TimeText;

impl PartialSchema for TimeText {
    fn schema() -> RefOr<Schema> {
        let format = |format| Some(SchemaFormat::KnownFormat(format));
        let text = ObjectBuilder::new().schema_type(Type::String).format(format(KnownFormat::DateTime));
        let millis = ObjectBuilder::new()
            .schema_type(Type::Integer)
            .format(format(KnownFormat::Int64))
            .minimum(Some(Timestamp::MIN.as_millis()))
            .maximum(Some(Timestamp::MAX.as_millis()));
        let description = "RFC 3339 with any offset, or milliseconds since 1970.";
        OneOfBuilder::new().item(text).item(millis).description(Some(description)).into()
    }
}

impl ToSchema for TimeText {
    fn name() -> Cow<'static, str> {
        "Time".into()
    }
}

impl From<Timestamp> for Moment {
    fn from(time: Timestamp) -> Self {
        Self(time)
    }
}

/// Up to here every whole number is a double.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// What is expected, how it is parsed, and what comes of it.
struct TextVisitor<F, T>(&'static str, F, PhantomData<T>);

impl<F: Fn(&str) -> Result<T, Invalid>, T> Visitor<'_> for TextVisitor<F, T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        (self.1)(text).map_err(|invalid| E::custom(invalid.message))
    }

    // Only a moment is asked for by a number; everything else comes by `deserialize_str`.
    fn visit_i64<E: Error>(self, number: i64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<T, E> {
        match i64::try_from(number) {
            Ok(number) => self.visit_i64(number),
            Err(_) => Err(E::invalid_value(Unexpected::Unsigned(number), &self)),
        }
    }

    // In JSON 5, 5.0 and 5e0 are the same integer (JSON Schema, 6.3).
    fn visit_f64<E: Error>(self, number: f64) -> Result<T, E> {
        if number.fract() == 0.0 && number.abs() < EXACT {
            self.visit_i64(number as i64)
        } else {
            Err(E::invalid_value(Unexpected::Float(number), &self))
        }
    }
}

#[cfg(test)]
mod tests {
    use pocket_domain::TenantId;

    use super::*;

    #[test]
    fn a_moment_is_read_from_text_and_from_milliseconds() {
        for json in ["\"2026-11-23T12:14:00.250+01:00\"", "1795432440250", "\"1795432440250\"", "1.79543244025e12"] {
            let moment: Moment = serde_json::from_str(json).unwrap();
            assert_eq!(serde_json::to_string(&moment).unwrap(), "\"2026-11-23T11:14:00.250Z\"", "{json}");
        }
        for wrong in ["-1", "1.5", "true", "null", "\"soon\"", "18446744073709551615", "253402300800000", "1e300"] {
            assert!(serde_json::from_str::<Moment>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn other_values_are_text_only() {
        assert!(serde_json::from_str::<Parsed<TenantId>>("\"0192f3c8-7b1a-7cc2-9d0e-0a1b2c3d4e5f\"").is_ok());
        assert!(serde_json::from_str::<Parsed<TenantId>>("5").is_err());
        assert!(serde_json::from_str::<Whole>("\"5\"").is_ok() && serde_json::from_str::<Whole>("\"-5\"").is_err());
        assert!(serde_json::from_str::<Switch>("\"true\"").is_ok() && serde_json::from_str::<Switch>("\"1\"").is_err());
    }
}
