//! The OpenAPI document that is checked in is the one that is served.

use fairlead_admin::openapi;
use serde_json::Value;

#[test]
fn the_checked_in_document_is_current() {
    let checked_in = include_str!("../openapi.json");
    assert!(
        openapi::text() == checked_in,
        "print it anew: fairlead print openapi > crates/fairlead-admin/openapi.json"
    );
}

#[test]
fn it_is_openapi_3_1_and_every_reference_leads_somewhere() {
    let document: Value = serde_json::from_str(&openapi::text()).unwrap();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    let mut references = Vec::new();
    collect(&document, &mut references);
    assert!(references.len() > 20);
    for reference in references {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
    }
}

#[test]
fn a_peer_in_it_has_no_secret() {
    let document: Value = serde_json::from_str(&openapi::text()).unwrap();
    let fields = document["components"]["schemas"]["PeerDetail"]["properties"].as_object().unwrap();
    let secrets: Vec<_> = fields.iter().filter(|(name, _)| name.contains("secret")).collect();
    assert_eq!(secrets.len(), 3);
    assert!(secrets.iter().all(|(name, schema)| name.ends_with("_set") && schema["type"] == "boolean"));
}

fn collect(value: &Value, into: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            into.extend(fields.get("$ref").and_then(Value::as_str).map(str::to_owned));
            fields.values().for_each(|value| collect(value, into));
        }
        Value::Array(values) => values.iter().for_each(|value| collect(value, into)),
        _ => {}
    }
}
