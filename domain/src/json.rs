//! A syntax check of JSON that builds nothing, and notices the form `{"ts":…,"values":{…}}` on its way.
//!
//! Stricter than the grammar where readers differ: nesting to [`MAX_JSON_DEPTH`], numbers within the range of a
//! double, no lone surrogates. RFC 8259, chapters 6, 8.2 and 9, leaves these to the implementation.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::{Timestamp, own_time};

/// How deep arrays and objects may nest.
pub(crate) const MAX_DEPTH: usize = 100;

/// What a value is, as far as telemetry cares.
#[derive(Clone, PartialEq)]
pub(crate) enum Shape {
    /// An object. `own_time` is what its `ts` is, when it also has an object `values`: a time, or what it is instead.
    Object { own_time: Option<Result<Timestamp, String>> },
    /// An array; whether it has elements and all of them are objects.
    Array { of_objects: bool },
    /// Anything else; the time that it is, or what it is instead, if it was asked for.
    Other(Option<Result<Timestamp, String>>),
}

/// Checks one JSON text; its shape, and how many keys its objects have that are not inside arrays.
pub(crate) fn check(text: &str) -> Result<(Shape, usize), serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let keys = Cell::new(0);
    let shape = Value { depth: 0, keys: Some(&keys), is_time: false }.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok((shape, keys.get()))
}

#[derive(Clone, Copy)]
struct Value<'k> {
    depth: usize,
    /// Counts keys; `None` inside an array.
    keys: Option<&'k Cell<usize>>,
    /// Whether it is asked which time it is.
    is_time: bool,
}

impl Value<'_> {
    fn inner<E: serde::de::Error>(self) -> Result<Self, E> {
        if self.depth < MAX_DEPTH {
            Ok(Self { depth: self.depth + 1, is_time: false, ..self })
        } else {
            Err(E::custom(format_args!("nested deeper than {MAX_DEPTH}")))
        }
    }

    fn other<E>(self, time: impl FnOnce() -> Option<Timestamp>, text: impl fmt::Display) -> Result<Shape, E> {
        Ok(Shape::Other(self.is_time.then(|| time().ok_or_else(|| text.to_string()))))
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

    fn visit_bool<E>(self, value: bool) -> Result<Shape, E> {
        self.other(|| None, value)
    }

    fn visit_i64<E>(self, number: i64) -> Result<Shape, E> {
        self.other(|| own_time::of_integer(number.into()), number)
    }

    fn visit_u64<E>(self, number: u64) -> Result<Shape, E> {
        self.other(|| own_time::of_integer(number.into()), number)
    }

    fn visit_f64<E>(self, number: f64) -> Result<Shape, E> {
        self.other(|| own_time::of_float(number), number)
    }

    fn visit_str<E>(self, text: &str) -> Result<Shape, E> {
        self.other(|| own_time::of_text(text), format_args!("{text:.40?}"))
    }

    fn visit_unit<E>(self) -> Result<Shape, E> {
        self.other(|| None, "null")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Shape, A::Error> {
        let inner = Self { keys: None, ..self.inner()? };
        let (mut elements, mut objects) = (0_usize, 0_usize);
        while let Some(shape) = sequence.next_element_seed(inner)? {
            elements += 1;
            objects += usize::from(matches!(shape, Shape::Object { .. }));
        }
        Ok(Shape::Array { of_objects: elements > 0 && elements == objects })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Shape, A::Error> {
        let inner = self.inner()?;
        let (mut time, mut values) = (None, false);
        while let Some(key) = map.next_key_seed(Key)? {
            if let Some(keys) = self.keys {
                keys.set(keys.get() + 1);
            }
            match key {
                KnownKey::Ts if self.depth == 0 => {
                    let shape = map.next_value_seed(Self { is_time: true, ..inner })?;
                    time = Some(match shape {
                        Shape::Other(Some(time)) => time,
                        Shape::Array { .. } => Err("an array".to_owned()),
                        _ => Err("an object".to_owned()),
                    });
                }
                KnownKey::Values => values = matches!(map.next_value_seed(inner)?, Shape::Object { .. }),
                KnownKey::Ts | KnownKey::Other => drop(map.next_value_seed(inner)?),
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
