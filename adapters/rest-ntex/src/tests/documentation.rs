//! docs/HTTP-API.md says what the code does.

use crate::code::Code;
use crate::routes::{API, BESIDE};

const DOCUMENT: &str = include_str!("../../../../docs/HTTP-API.md");

#[test]
fn every_call_has_its_place() {
    for call in API {
        let heading = format!("### `{} {}`\n", call.method, call.path);
        assert!(DOCUMENT.contains(&heading), "{heading}");
    }
    for call in BESIDE {
        let row = format!("| `{} {}` |", call.method, call.path);
        assert!(DOCUMENT.contains(&row), "{row}");
    }
}

#[test]
fn every_code_has_its_row() {
    for code in Code::ALL {
        let row = format!("| {} | `{}` |", code.status().as_u16(), code.as_str());
        assert!(DOCUMENT.contains(&row), "{row}");
    }
    let rows = DOCUMENT.lines().filter(|line| line.starts_with("| 4") || line.starts_with("| 5")).count();
    assert_eq!(rows, Code::ALL.len());
}
