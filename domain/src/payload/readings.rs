//! Messages that carry several readings: arrays of objects, as the SDKs of ThingsBoard send them, and SenML (RFC 8428).

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{OwnTime, Payload, PayloadError, ReadPayload, Readings};
use crate::Timestamp;
use crate::json::{self, Shape};

/// The most readings of one message.
pub(super) const MAX_READINGS: usize = 1_000;
/// RFC 8428, section 4.5.3: smaller times are relative to the arrival.
const FIRST_ABSOLUTE: f64 = 268_435_456.0;

/// The readings of a payload that was checked; `None` when it is no array of objects.
pub(super) fn take_apart(text: &str) -> Result<Option<Readings>, PayloadError> {
    if !text.trim_start().starts_with('[') || !matches!(json::check(text), Ok((Shape::Array { of_objects: true }, _))) {
        return Ok(None);
    }
    let Ok(elements) = serde_json::from_str::<Vec<&RawValue>>(text) else { return Ok(None) };
    if elements.len() > MAX_READINGS {
        return Err(PayloadError::TooManyReadings { readings: elements.len(), allowed: MAX_READINGS });
    }
    let readings = match senml(&elements) {
        Some(readings) => readings?,
        None => elements.iter().enumerate().map(|(place, element)| plain(place, element)).collect::<Result<_, _>>()?,
    };
    let mut readings = readings.into_iter();
    Ok(readings.next().map(|first| Readings { first, more: readings.collect() }))
}

fn plain(place: usize, element: &RawValue) -> Result<ReadPayload, PayloadError> {
    Payload::read_json(element.get().as_bytes()).map_err(|error| match error {
        PayloadError::NoTime(got) => PayloadError::NoTime(format!("{got} in reading {}", place + 1)),
        error => error,
    })
}

/// A record of SenML. A label that is not listed makes an array something else.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Record<'a> {
    bn: Option<String>,
    bt: Option<f64>,
    #[serde(rename = "bu")]
    _base_unit: Option<String>,
    bv: Option<f64>,
    #[serde(rename = "bs")]
    _base_sum: Option<f64>,
    #[serde(rename = "bver")]
    _version: Option<f64>,
    n: Option<String>,
    #[serde(rename = "u")]
    _unit: Option<String>,
    #[serde(borrow)]
    v: Option<&'a RawValue>,
    vs: Option<String>,
    vb: Option<bool>,
    vd: Option<String>,
    s: Option<f64>,
    t: Option<f64>,
    #[serde(rename = "ut")]
    _update_time: Option<f64>,
}

impl Record<'_> {
    /// The value as JSON text; `None` for a record without one.
    fn value(&self, base: f64) -> Option<String> {
        if let Some(raw) = self.v {
            let number: f64 = raw.get().parse().ok()?;
            return Some(if base == 0.0 {
                raw.get().to_owned()
            } else {
                serde_json::Value::from(base + number).to_string()
            });
        }
        let text = self.vs.as_deref().or(self.vd.as_deref()).map(|text| serde_json::Value::from(text).to_string());
        text.or_else(|| self.vb.map(|value| value.to_string()))
            .or_else(|| self.s.map(|sum| serde_json::Value::from(sum).to_string()))
    }
}

/// The records by their times, in the order of the times; records of one time are one reading of several keys. `None` when it
/// is not SenML.
fn senml(elements: &[&RawValue]) -> Option<Result<Vec<ReadPayload>, PayloadError>> {
    let records: Vec<Record<'_>> =
        elements.iter().map(|element| serde_json::from_str(element.get())).collect::<Result<_, _>>().ok()?;
    let (mut name, mut time, mut value) = (String::new(), 0.0, 0.0);
    let mut readings = BTreeMap::<i64, (Option<OwnTime>, Vec<(String, String)>)>::new();
    for (place, record) in records.iter().enumerate() {
        if let Some(base) = &record.bn {
            name.clone_from(base);
        }
        (time, value) = (record.bt.unwrap_or(time), record.bv.unwrap_or(value));
        let full = format!("{name}{}", record.n.as_deref().unwrap_or_default());
        let Some(text) = record.value(value) else {
            // A record of base fields alone sets them for those that follow.
            if record.bn.is_some() || record.bt.is_some() || record.bv.is_some() {
                continue;
            } else {
                return None;
            };
        };
        if full.is_empty() {
            return None;
        }
        let (key, own_time) = match moment(time + record.t.unwrap_or(0.0)) {
            Ok(found) => found,
            Err(got) => return Some(Err(PayloadError::NoTime(format!("{got} in reading {}", place + 1)))),
        };
        readings.entry(key).or_insert((own_time, Vec::new())).1.push((full, text));
    }
    if readings.is_empty() {
        return None;
    }
    let reading = |(own_time, values): (Option<OwnTime>, Vec<(String, String)>)| {
        let members: Vec<String> =
            values.iter().map(|(name, text)| format!("{}:{text}", serde_json::Value::from(name.as_str()))).collect();
        ReadPayload { payload: Payload(format!("{{{}}}", members.join(",")).into()), own_time, keys: members.len() }
    };
    Some(Ok(readings.into_values().map(reading).collect()))
}

/// A time of SenML in seconds, with its place in the order; an error when it is none.
fn moment(seconds: f64) -> Result<(i64, Option<OwnTime>), String> {
    let millis = (seconds * 1_000.0 + 0.001).floor();
    if seconds == 0.0 {
        return Ok((0, None));
    }
    if seconds.abs() < FIRST_ABSOLUTE {
        return Ok((millis as i64, Some(OwnTime::SinceArrival(millis as i64))));
    }
    let time = Timestamp::from_millis(millis as i64).map_err(|_| seconds.to_string())?;
    Ok((time.as_millis(), Some(OwnTime::At(time))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn readings(text: &str) -> Vec<(String, Option<OwnTime>)> {
        let read = Payload::read_all(text.as_bytes(), crate::PayloadPolicy::Auto, 65_536).unwrap();
        read.into_iter().map(|read| (read.payload.as_str().to_owned(), read.own_time)).collect()
    }

    fn at(millis: i64) -> Option<OwnTime> {
        Some(OwnTime::At(Timestamp::from_millis(millis).unwrap()))
    }

    #[test]
    fn an_array_of_objects_is_taken_apart() {
        let text = r#" [{"ts":1559673838361,"values":{"temp":1}}, {"ts":1559673902,"values":{"temp":2}},{"temp": 3}] "#;
        assert_eq!(
            readings(text),
            [
                (r#"{"ts":1559673838361,"values":{"temp":1}}"#.to_owned(), at(1_559_673_838_361)),
                (r#"{"ts":1559673902,"values":{"temp":2}}"#.to_owned(), at(1_559_673_902_000)),
                (r#"{"temp": 3}"#.to_owned(), None),
            ]
        );
    }

    #[test]
    fn other_arrays_stay_whole() {
        for text in ["[]", "[1,2]", "[{\"a\":1},2]", "[[{\"a\":1}]]", "{\"a\":[{\"b\":1}]}", "\"[{}]\""] {
            assert_eq!(readings(text), [(text.to_owned(), None)]);
        }
    }

    #[test]
    fn a_reading_with_a_wrong_time_is_named() {
        let text = r#"[{"temp":1},{"ts":"soon","values":{"temp":1}}]"#;
        let error = Payload::read_all(text.as_bytes(), crate::PayloadPolicy::Auto, 65_536).unwrap_err().to_string();
        assert!(error.contains(r#"got "soon" in reading 2"#), "{error}");
    }

    #[test]
    fn a_message_has_a_most_of_readings() {
        let many = |count: usize| format!("[{}]", vec!["{\"a\":1}"; count].join(","));
        assert_eq!(readings(&many(MAX_READINGS)).len(), MAX_READINGS);
        let error = Payload::read_all(many(MAX_READINGS + 1).as_bytes(), crate::PayloadPolicy::Json, 65_536);
        assert_eq!(error, Err(PayloadError::TooManyReadings { readings: 1_001, allowed: 1_000 }));
    }

    #[test]
    fn records_of_senml_are_resolved() {
        let text = r#"[{"bn":"urn:dev:ow:10e2073a01080063:","n":"voltage","u":"V","v":120.10},{"n":"current","u":"A","v":1.2}]"#;
        let whole = r#"{"urn:dev:ow:10e2073a01080063:voltage":120.10,"urn:dev:ow:10e2073a01080063:current":1.2}"#;
        assert_eq!(readings(text), [(whole.to_owned(), None)]);
        let text = r#"[{"bn":"d:","bt":1.276020076001e+09,"bu":"A","bver":5,"n":"voltage","u":"V","v":120.1},
            {"n":"current","t":-5,"v":1.2},{"n":"current","t":-4,"v":1.3}]"#;
        assert_eq!(
            readings(text),
            [
                (r#"{"d:current":1.2}"#.to_owned(), at(1_276_020_071_001)),
                (r#"{"d:current":1.3}"#.to_owned(), at(1_276_020_072_001)),
                (r#"{"d:voltage":120.1}"#.to_owned(), at(1_276_020_076_001)),
            ]
        );
        let text = r#"[{"bn":"x","bv":20,"v":1.5},{"n":"/on","vb":true,"t":-2},{"n":"/is","vs":"a\"b"}]"#;
        assert_eq!(
            readings(text),
            [
                (r#"{"x/on":true}"#.to_owned(), Some(OwnTime::SinceArrival(-2_000))),
                (r#"{"x":21.5,"x/is":"a\"b"}"#.to_owned(), None),
            ]
        );
    }

    #[test]
    fn what_has_other_labels_is_no_senml() {
        for text in [r#"{"t":21.5}"#, r#"{"v":1}"#, r#"{"n":"a","v":1,"x":2}"#, r#"{"n":"a"}"#, r#"{"v":"1","n":"a"}"#]
        {
            assert_eq!(readings(&format!("[{text}]")), [(text.to_owned(), None)]);
        }
    }
}
