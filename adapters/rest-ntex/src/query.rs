//! Query parameters: each known, given once unless it is a list, and parsed by the type that it becomes.

use std::borrow::Cow;
use std::ops::Deref;

use ntex::http::Payload;
use ntex::web::{DefaultError, FromRequest, HttpRequest};
use serde::de::value::{Error, MapDeserializer, SeqDeserializer};
use serde::de::{DeserializeOwned, Deserializer, Error as _, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;

use crate::code::Code;
use crate::fields;
use crate::problem::Problem;

/// The longest query, and the most parameters in it; a list may also be given in one, with commas.
const MOST_BYTES: usize = 8_192;
const MOST_PAIRS: usize = 256;

/// The query parameters of a call.
pub(crate) struct Query<T>(T);

impl<T> Deref for Query<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: DeserializeOwned> FromRequest<DefaultError> for Query<T> {
    type Error = Problem;

    async fn from_request(request: &HttpRequest, _: &mut Payload) -> Result<Self, Problem> {
        let query = request.query_string();
        if query.len() > MOST_BYTES {
            let detail = format!("the query must be at most {MOST_BYTES} bytes");
            return Err(Problem::new(Code::Invalid, detail));
        }
        parse(query).map(Self)
    }
}

fn parse<T: DeserializeOwned>(query: &str) -> Result<T, Problem> {
    let mut parameters: Vec<(Cow<'_, str>, Given<'_>)> = Vec::new();
    for (number, pair) in query.split('&').filter(|pair| !pair.is_empty()).enumerate() {
        if number >= MOST_PAIRS {
            return Err(Problem::new(Code::Invalid, format!("the query must have at most {MOST_PAIRS} parameters")));
        }
        let (name, value) = decode_pair(pair)?;
        // There are few enough to look through them.
        match parameters.iter_mut().find(|(other, _)| *other == name) {
            Some((_, given)) => given.values.push(value),
            None => parameters.push((name.clone(), Given { name, values: vec![value] })),
        }
    }
    let deserializer = MapDeserializer::<_, Error>::new(parameters.into_iter());
    serde_path_to_error::deserialize(deserializer).map_err(|error| fields::wrong("query", error.path(), error.inner()))
}

fn decode_pair(pair: &str) -> Result<(Cow<'_, str>, Cow<'_, str>), Problem> {
    let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
    let wrong = |Undecodable| Problem::field(Code::Invalid, key, "must be percent-encoded UTF-8");
    let name = decode(key).map_err(wrong)?;
    if name == TOPIC {
        if value.is_empty() {
            let message = "must not be empty; in an address # is written as %23, and + as %2B";
            return Err(Problem::field(Code::Invalid, key, message));
        }
        return Ok((name, decode(&with_wildcards(value)).map_err(wrong)?.into_owned().into()));
    }
    Ok((name, with_plus(decode(value).map_err(wrong)?)))
}

/// The name of parameters that are topics or topic filters.
const TOPIC: &str = "topic";

/// A `+` that stands alone between two `/` is the wildcard of a topic filter, though it was not written as `%2B`. A level that is one
/// blank can be asked for with `%20`.
fn with_wildcards(value: &str) -> Cow<'_, str> {
    if !value.contains('+') {
        return Cow::Borrowed(value);
    }
    let with_slashes = value.replace("%2F", "/").replace("%2f", "/");
    let levels = with_slashes.split('/').map(|level| if level == "+" { "%2B" } else { level });
    levels.collect::<Vec<_>>().join("/").into()
}

/// A `+` that was not written as `%2B` has become a blank. In a time, as in `2026-11-23T00:00:00 01:00`, it can be nothing else.
fn with_plus(value: Cow<'_, str>) -> Cow<'_, str> {
    let bytes = value.as_bytes();
    let Some(at) = bytes.len().checked_sub(6).filter(|at| *at >= 19 && bytes[*at] == b' ') else { return value };
    let has = |range: std::ops::Range<usize>, shape: &[u8]| {
        let mut pairs = bytes[range].iter().zip(shape);
        pairs.all(|(byte, wanted)| if *wanted == b'0' { byte.is_ascii_digit() } else { byte == wanted })
    };
    if !has(0..10, b"0000-00-00") || !has(11..19, b"00:00:00") || !has(at + 1..bytes.len(), b"00:00") {
        return value;
    }
    let mut text = value.into_owned();
    text.replace_range(at..=at, "+");
    text.into()
}

/// The values of a parameter that is there, at least one; serde's own deserializer of texts knows no optional ones.
struct Given<'a> {
    name: Cow<'a, str>,
    values: Vec<Cow<'a, str>>,
}

impl<'de> IntoDeserializer<'de> for Given<'_> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for Given<'_> {
    type Error = Error;

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_seq(SeqDeserializer::new(self.values.into_iter()))
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.values.as_slice() {
            [value] => visitor.visit_str(value),
            _ => Err(Error::custom(format_args!("duplicate field `{}`", self.name))),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct
        newtype_struct tuple tuple_struct map struct enum identifier ignored_any
    }
}

#[derive(Debug)]
struct Undecodable;

/// Decodes `application/x-www-form-urlencoded` text. A `%` that two hexadecimal digits do not follow stands for itself
/// (WHATWG URL Standard, "percent-decode").
fn decode(text: &str) -> Result<Cow<'_, str>, Undecodable> {
    if !text.contains(['%', '+']) {
        return Ok(Cow::Borrowed(text));
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let digits = tail.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let byte = digits.filter(|_| *first == b'%').and_then(hexadecimal);
        rest = if byte.is_some() { &tail[2..] } else { tail };
        decoded.push(byte.unwrap_or(if *first == b'+' { b' ' } else { *first }));
    }
    String::from_utf8(decoded).map(Cow::Owned).map_err(|_| Undecodable)
}

/// `u8::from_str_radix` alone would also take `+f`.
fn hexadecimal(digits: &str) -> Option<u8> {
    if digits.bytes().all(|digit| digit.is_ascii_hexdigit()) { u8::from_str_radix(digits, 16).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::dto::list::List;
    use crate::dto::text::Whole;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Parameters {
        name: Option<String>,
        limit: Option<Whole>,
        keys: Option<List>,
    }

    fn message(query: &str) -> String {
        parse::<Parameters>(query).unwrap_err().to_string()
    }

    #[test]
    fn text_is_decoded() {
        for (query, name) in [
            ("name=a%20b+c", "a b c"),
            ("name=%C3%A9", "é"),
            ("name=100%", "100%"),
            ("name=%+f", "% f"),
            ("name=%zz%2", "%zz%2"),
            ("&name=a=b&", "a=b"),
            ("name", ""),
        ] {
            assert_eq!(parse::<Parameters>(query).unwrap().name.as_deref(), Some(name), "{query}");
        }
        let none = parse::<Parameters>("").unwrap();
        assert!(none.name.is_none() && none.limit.is_none() && none.keys.is_none());
    }

    #[test]
    fn a_list_may_be_repeated_and_have_commas() {
        for (query, keys) in [
            ("keys=a", &["a"][..]),
            ("keys=a,b%2Cc&limit=1&keys=d", &["a", "b", "c", "d"]),
            ("keys=a%5C,b&k%65ys=%C3%A9", &["a,b", "é"]),
        ] {
            assert_eq!(parse::<Parameters>(query).unwrap().keys.unwrap().0, keys, "{query}");
        }
        for query in ["keys=", "keys", "keys=a,", "keys=a&keys=,b"] {
            assert_eq!(message(query), "INVALID: keys: must not have an empty entry", "{query}");
        }
    }

    #[test]
    fn a_plus_of_a_time_may_come_as_it_is() {
        for (given, read) in [
            ("2026-11-23T00:00:00+01:00", "2026-11-23T00:00:00+01:00"),
            ("2026-11-23T00:00:00.250+05:30", "2026-11-23T00:00:00.250+05:30"),
            ("2026-11-23T00:00:00%2B01:00", "2026-11-23T00:00:00+01:00"),
            ("2026-11-23T00:00:00%2001:00", "2026-11-23T00:00:00+01:00"),
            ("2026-11-23+00:00:00+01:00", "2026-11-23 00:00:00+01:00"),
            ("2026-11-23T00:00:00-01:00", "2026-11-23T00:00:00-01:00"),
            ("2026-11-23T00:00:00Z", "2026-11-23T00:00:00Z"),
            ("from+2026-11-23+01:00", "from 2026-11-23 01:00"),
            ("a+01:00", "a 01:00"),
        ] {
            assert_eq!(parse::<Parameters>(&format!("name={given}")).unwrap().name.as_deref(), Some(read), "{given}");
        }
    }

    #[test]
    fn a_plus_that_is_a_level_of_a_topic_is_a_wildcard() {
        #[derive(Debug, Deserialize)]
        struct OfTopic {
            topic: String,
        }
        for (given, read) in [
            ("+", "+"),
            ("home/+", "home/+"),
            ("+/+/temp", "+/+/temp"),
            ("home%2F+%2ftemp", "home/+/temp"),
            ("home/%2B", "home/+"),
            ("home/%20", "home/ "),
            ("living+room/+/a+b", "living room/+/a b"),
            ("home/++", "home/  "),
            ("+/%23", "+/#"),
            ("home/", "home/"),
        ] {
            assert_eq!(parse::<OfTopic>(&format!("topic={given}")).unwrap().topic, read, "{given}");
        }
        let empty = parse::<OfTopic>("topic=").unwrap_err().to_string();
        assert!(empty.contains("topic: must not be empty") && empty.contains("%23"), "{empty}");
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert_eq!(message("nam=a"), "INVALID: nam: unknown field `nam`, expected one of `name`, `limit`, `keys`");
        assert_eq!(message("limit=many"), "INVALID: limit: must be a whole number");
        assert_eq!(message("name=%ff"), "INVALID: name: must be percent-encoded UTF-8");
        assert_eq!(message("limit=1&limit=2"), "INVALID: limit: duplicate field `limit`");
        assert_eq!(message("a=1&a=2"), "INVALID: a: unknown field `a`, expected one of `name`, `limit`, `keys`");
    }
}
