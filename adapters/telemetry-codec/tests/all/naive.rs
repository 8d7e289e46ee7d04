//! The leaves of a payload, the slow and obvious way: through a JSON library, object by object.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The numbers of a payload by their paths.
pub(crate) fn leaves(payload: &str) -> BTreeMap<String, f64> {
    let mut values = BTreeMap::new();
    walk(payload.trim(), None, &mut values);
    values.into_iter().filter_map(|(path, value)| Some((path, value?))).collect()
}

/// Notes what is at each path: a number, or something else that is no object.
fn walk(text: &str, path: Option<&str>, values: &mut BTreeMap<String, Option<f64>>) {
    if !text.starts_with('{') {
        let number = text.starts_with(|first: char| first == '-' || first.is_ascii_digit());
        values.insert(path.unwrap_or("$").to_owned(), number.then(|| text.parse().expect("a number")));
        return;
    }
    let members: Members = serde_json::from_str(text).expect("an object");
    for (at, (key, value)) in members.0.iter().enumerate() {
        let last = members.0.iter().skip(at + 1).all(|(other, _)| other != key);
        if last {
            let path = path.map_or_else(|| key.clone(), |path| format!("{path}.{key}"));
            walk(value.get(), Some(&path), values);
        }
    }
}

/// The members of an object in their order, with those whose keys stand twice.
struct Members(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Object)
    }
}
