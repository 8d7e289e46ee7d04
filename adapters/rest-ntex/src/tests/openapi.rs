use std::collections::BTreeSet;

use serde_json::Value;

use crate::code::Code;
use crate::openapi::build;
use crate::routes::{API, BESIDE, PREFIXES};

fn document() -> Value {
    serde_json::to_value(build()).unwrap()
}

fn operations(document: &Value) -> Vec<(String, String, Value)> {
    let paths = document["paths"].as_object().unwrap();
    let of_path = |(path, item): (&String, &Value)| {
        let item = item.as_object().unwrap().clone();
        let path = path.clone();
        item.into_iter().map(move |(method, operation)| (method.to_uppercase(), path.clone(), operation))
    };
    paths.iter().flat_map(of_path).collect()
}

#[test]
fn every_route_is_in_the_document_and_the_other_way_round() {
    let api = API.iter().map(|call| (call.method.to_string(), format!("{}{}", PREFIXES[0], call.path)));
    let beside = BESIDE.iter().map(|call| (call.method.to_string(), call.path.to_owned()));
    let routes: BTreeSet<_> = api.chain(beside).collect();
    let documented: BTreeSet<_> = operations(&document()).into_iter().map(|(method, path, _)| (method, path)).collect();
    assert_eq!(routes, documented);
}

#[test]
fn every_call_is_described_in_full() {
    let mut ids = BTreeSet::new();
    for (method, path, operation) in operations(&document()) {
        let call = format!("{method} {path}");
        assert!(operation["summary"].as_str().is_some_and(|summary| !summary.is_empty()), "{call}");
        assert!(ids.insert(operation["operationId"].as_str().unwrap().to_owned()), "{call}");
        let responses = operation["responses"].as_object().unwrap();
        assert!(responses.contains_key("500") && responses.keys().any(|status| status.starts_with('2')), "{call}");
        let public = matches!(path.as_str(), "/health" | "/ready" | "/metrics" | "/api/v1/auth/login");
        assert_eq!(operation["security"].is_null(), public, "{call}");
        for (status, response) in responses {
            if status.starts_with(['4', '5']) {
                let schema = &response["content"]["application/problem+json"]["schema"]["$ref"];
                assert_eq!(schema, "#/components/schemas/Problem", "{call} {status}");
            } else if status != "204" {
                assert!(response["content"].as_object().is_some_and(|content| !content.is_empty()), "{call} {status}");
            }
        }
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            assert!(parameter["description"].as_str().is_some_and(|text| !text.is_empty()), "{call} {parameter}");
        }
    }
}

#[test]
fn no_reference_leads_nowhere() {
    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(object) => {
                found.extend(object.get("$ref").and_then(|reference| Some(reference.as_str()?.to_owned())));
                object.values().for_each(|value| references(value, found));
            }
            Value::Array(array) => array.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }
    let document = document();
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(found.len() > 50);
    for reference in found {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
}

#[test]
fn the_document_has_a_version_a_scheme_and_every_code() {
    let document = document();
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(document["components"]["securitySchemes"]["bearer"]["scheme"], "bearer");
    let codes = &document["components"]["schemas"]["Problem"]["properties"]["code"]["enum"];
    assert_eq!(codes, &serde_json::json!(Code::ALL.map(Code::as_str)));
}
