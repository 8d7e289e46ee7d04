//! From errors of serde and garde to the fields of a problem.

use serde::de::Error;
use serde_path_to_error::{Path, Segment};

use crate::code::Code;
use crate::problem::{FieldError, Problem};

/// The problem of a value that serde refused. `whole` is how the value is called when no field of it is to blame.
pub(crate) fn wrong<E: Error>(whole: &str, path: &Path, error: &E) -> Problem {
    let message = error.to_string();
    let message = message.split(" at line ").next().unwrap_or_default().to_owned();
    // The message of a missing, unknown or repeated field names it; the path may end above it.
    let named = ["missing field `", "unknown field `", "duplicate field `"]
        .iter()
        .find_map(|start| message.strip_prefix(start)?.split('`').next());
    let mut field = path_text(path, named);
    if field.is_empty() {
        whole.clone_into(&mut field);
    }
    Problem::field(Code::Invalid, field, message)
}

fn path_text(path: &Path, named: Option<&str>) -> String {
    let mut text = String::new();
    let mut last = None;
    for segment in path {
        match segment {
            Segment::Seq { index } => text.push_str(&format!("[{index}]")),
            Segment::Map { key } | Segment::Enum { variant: key } => push_key(&mut text, key),
            Segment::Unknown => {}
        }
        last = Some(segment);
    }
    let complete = matches!((last, named), (Some(Segment::Map { key }), Some(named)) if key == named);
    if let Some(named) = named.filter(|_| !complete) {
        push_key(&mut text, named);
    }
    text
}

fn push_key(text: &mut String, key: &str) {
    if !text.is_empty() {
        text.push('.');
    }
    text.push_str(key);
}

/// The problem of a value whose fields garde refused; all of them are named.
pub(crate) fn refused(report: &garde::Report) -> Problem {
    let error = |(path, error): &(garde::Path, garde::Error)| FieldError {
        field: camel_case(&path.to_string()),
        message: error.message().to_owned(),
    };
    let mut errors: Vec<FieldError> = report.iter().map(error).collect();
    errors.sort_by(|a, b| a.field.cmp(&b.field));
    Problem::fields(Code::Invalid, errors)
}

/// garde names fields as the code does, users as JSON does.
fn camel_case(path: &str) -> String {
    let mut text = String::with_capacity(path.len());
    let mut upper = false;
    for c in path.chars() {
        match c {
            '_' => upper = true,
            _ if upper => {
                text.extend(c.to_uppercase());
                upper = false;
            }
            _ => text.push(c),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_named_as_in_json() {
        assert_eq!(camel_case("labels[2]"), "labels[2]");
        assert_eq!(camel_case("[3].device_id"), "[3].deviceId");
    }
}
