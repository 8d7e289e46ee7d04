//! A syntax check of JSON that builds nothing, and notices the form `{"ts":…,"values":{…}}` on its way.
//!
//! Stricter than the grammar where readers differ: nesting to [`MAX_JSON_DEPTH`], numbers within the range of a
//! double, no lone surrogates. RFC 8259, chapters 6, 8.2 and 9, leaves these to the implementation.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

/// How deep arrays and objects may nest.
pub(crate) const MAX_DEPTH: usize = 100;

/// What a value is, as far as telemetry cares.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Shape {
    /// An object. `own_time` is its integer `ts` when it also has an object `values`.
    Object {
        own_time: Option<i64>,
    },
    Integer(i64),
    Other,
}

/// Checks one JSON text; its shape, and how many keys its objects have that are not inside arrays.
pub(crate) fn check(text: &str) -> Result<(Shape, usize), serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let keys = Cell::new(0);
    let shape = Value { depth: 0, keys: Some(&keys) }.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok((shape, keys.get()))
}

#[derive(Clone, Copy)]
struct Value<'k> {
    depth: usize,
    /// Counts keys; `None` inside an array.
    keys: Option<&'k Cell<usize>>,
}

impl Value<'_> {
    fn inner<E: serde::de::Error>(self) -> Result<Self, E> {
        if self.depth < MAX_DEPTH {
            Ok(Self { depth: self.depth + 1, ..self })
        } else {
            Err(E::custom(format_args!("nested deeper than {MAX_DEPTH}")))
        }
    }
}

impl<'de> DeserializeSeed<'de> for Value<'_> {
    type Value = Shape;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Shape, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Value<'_> {
    type Value = Shape;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Shape, E> {
        Ok(Shape::Other)
    }

    fn visit_i64<E>(self, number: i64) -> Result<Shape, E> {
        Ok(Shape::Integer(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Shape, E> {
        // An integer beyond i64 is no time, but as an integer it must not pass for "no time given".
        Ok(Shape::Integer(i64::try_from(number).unwrap_or(i64::MAX)))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Shape, E> {
        Ok(Shape::Other)
    }

    fn visit_str<E>(self, _: &str) -> Result<Shape, E> {
        Ok(Shape::Other)
    }

    fn visit_unit<E>(self) -> Result<Shape, E> {
        Ok(Shape::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Shape, A::Error> {
        let inner = Self { keys: None, ..self.inner()? };
        while sequence.next_element_seed(inner)?.is_some() {}
        Ok(Shape::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Shape, A::Error> {
        let inner = self.inner()?;
        let (mut time, mut values) = (None, false);
        while let Some(key) = map.next_key_seed(Key)? {
            if let Some(keys) = self.keys {
                keys.set(keys.get() + 1);
            }
            let shape = map.next_value_seed(inner)?;
            match key {
                KnownKey::Ts => time = if let Shape::Integer(millis) = shape { Some(millis) } else { None },
                KnownKey::Values => values = matches!(shape, Shape::Object { .. }),
                KnownKey::Other => {}
            }
        }
        Ok(Shape::Object { own_time: time.filter(|_| values) })
    }
}

struct Key;

enum KnownKey {
    Ts,
    Values,
    Other,
}

impl<'de> DeserializeSeed<'de> for Key {
    type Value = KnownKey;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<KnownKey, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key {
    type Value = KnownKey;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<KnownKey, E> {
        Ok(match key {
            "ts" => KnownKey::Ts,
            "values" => KnownKey::Values,
            _ => KnownKey::Other,
        })
    }
}
