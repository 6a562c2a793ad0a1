use std::collections::BTreeSet;

use fairlead_model::peer::options::{Honoured, PEER_OPTIONS, Remark};
use fairlead_model::peer::{Peer, Secret};
use serde_json::json;

use super::*;

/// A peer with everything that can be said.
fn everything() -> SipPeerSpec {
    let properties = sip_peer().spec.versions.remove(0).schema.unwrap().open_api_v3_schema.unwrap();
    let spec = properties.properties.unwrap().remove("spec").unwrap();
    let mut all = serde_json::Map::new();
    for (name, schema) in spec.properties.unwrap() {
        if name == "name" || name == "qualify" {
            continue;
        }
        let value = match name.as_str() {
            "auth" => {
                json!([{ "user": "ann", "realm": "example.com", "secretRef": { "name": "s", "key": "k" } }])
            }
            "setVar" => json!({ "COLOUR": "red", "SIZE": "3" }),
            "header" => json!([{ "name": "X-One", "value": "1" }]),
            "callCompletion" => json!({ "agent_policy": "never" }),
            "host" => json!("2001:db8::1"),
            "outboundProxy" => json!("tcp://proxy.example.com:5070,force"),
            "fromDomain" => json!("example.com:5070"),
            "defaultIp" => json!("192.0.2.1"),
            _ => example(&schema),
        };
        all.insert(name, value);
    }
    serde_json::from_value(all.into()).unwrap()
}

/// A value that the schema allows.
fn example(schema: &JSONSchemaProps) -> serde_json::Value {
    if let Some(words) = &schema.enum_ {
        return words[0].0.clone();
    }
    match schema.type_.as_deref() {
        Some("boolean") => json!(true),
        Some("integer") => json!(schema.minimum.unwrap_or(1.0) as i64),
        Some("array") => match &schema.items {
            Some(JSONSchemaPropsOrArray::Schema(items)) => json!([example(items)]),
            _ => json!([]),
        },
        Some("object") => json!({ "name": "s", "key": "k" }),
        Some("string") if schema.x_kubernetes_validations.is_some() => json!("192.0.2.0"),
        _ => json!("x"),
    }
}

fn secrets() -> Secrets {
    let key = SecretKey { name: "s".to_owned(), key: "k".to_owned() };
    [(key, Secret::new("0123456789abcdef0123456789abcdef"))].into()
}

#[test]
fn every_option_of_a_realtime_peer_can_be_reached() {
    let columns = everything().columns(&secrets());
    let written: BTreeSet<&str> = columns.keys().map(String::as_str).collect();
    // The port of a fixed host goes with the host; chan_sip itself never reads the last two.
    let elsewhere = ["port"];
    for option in PEER_OPTIONS {
        let name = option.name.trim_end_matches('*');
        let is_there = if option.name.ends_with('*') {
            written.iter().any(|column| column.starts_with(name))
        } else {
            written.contains(name)
        };
        let may_be_missing = option.honoured == Honoured::Never || elsewhere.contains(&option.name);
        assert!(is_there || may_be_missing, "{} cannot be given", option.name);
    }
}

#[test]
fn every_column_is_an_option_with_a_value_that_it_takes() {
    let (peer, remarks) = Peer::from_row("ann", &everything().columns(&secrets()), &Peer::default());
    let wrong: Vec<_> = remarks
        .iter()
        .filter(|remark| {
            matches!(remark, Remark::Bad { .. } | Remark::Unknown { .. } | Remark::Misplaced { .. })
        })
        .map(ToString::to_string)
        .collect();
    assert_eq!(wrong, [""; 0]);
    assert_eq!(peer.static_address(), Some("[2001:db8::1]:1".parse().unwrap()));
}

#[test]
fn a_peer_of_which_nothing_is_said_is_a_friend_that_registers() {
    let columns = SipPeerSpec::default().columns(&Secrets::new());
    let expected = [("host", "dynamic"), ("type", "friend")];
    assert_eq!(columns.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect::<Vec<_>>(), expected);
}

#[test]
fn qualify_is_a_switch_and_a_limit() {
    let spec = |text| serde_json::from_value::<SipPeerSpec>(text).unwrap().columns(&Secrets::new());
    assert_eq!(spec(json!({ "qualify": true }))["qualify"], "yes");
    assert_eq!(spec(json!({ "qualifyLimit": 500 }))["qualify"], "500");
    assert_eq!(spec(json!({ "qualify": false }))["qualify"], "no");
    assert!(!spec(json!({})).contains_key("qualify"));
}

#[test]
fn secrets_that_would_break_a_column_are_named() {
    let spec: SipPeerSpec =
        serde_json::from_value(json!({ "secretRef": { "name": "s", "key": "k" } })).unwrap();
    let key = spec.secret_keys()[0].clone();
    let with = |value: &str| spec.unusable_secret(&[(key.clone(), Secret::new(value))].into());
    assert_eq!(with("p;w d"), None);
    assert!(with("pw\n").unwrap().contains("line feed"));
}

#[test]
fn each_text_and_list_is_bounded() {
    // Without bounds the API server cannot tell what a rule costs and refuses the definition.
    fn check(path: &str, schema: &JSONSchemaProps) {
        match schema.type_.as_deref() {
            Some("string") => {
                assert!(schema.max_length.is_some() || schema.enum_.is_some(), "{path} has no maxLength");
            }
            Some("array") => {
                assert!(schema.max_items.is_some(), "{path} has no maxItems");
                if let Some(JSONSchemaPropsOrArray::Schema(items)) = &schema.items {
                    check(&format!("{path}[]"), items);
                }
            }
            Some("object") => {
                for (name, property) in schema.properties.iter().flatten() {
                    check(&format!("{path}.{name}"), property);
                }
            }
            _ => {}
        }
    }
    let schema = sip_peer().spec.versions.remove(0).schema.unwrap().open_api_v3_schema.unwrap();
    check("spec", &schema.properties.unwrap()["spec"]);
}

#[test]
fn the_definition_is_structural_and_kept() {
    let text = print().unwrap();
    assert!(text.contains("helm.sh/resource-policy: keep"), "{text}");
    assert!(!text.contains("nullable") && !text.contains("{{"), "{text}");
    let crd = sip_peer();
    assert_eq!(crd.metadata.name.as_deref(), Some("sippeers.fairlead.dev"));
    let names: Vec<_> = columns().into_iter().map(|column| column.name).collect();
    assert_eq!(names[..9].join(" "), "Name/username Host Dyn Forcerport Comedia ACL Port Status Description");
}

#[test]
fn rules_know_dynamic_in_capitals_and_no_list_that_is_not_honoured() {
    let schema = sip_peer().spec.versions.remove(0).schema.unwrap().open_api_v3_schema.unwrap();
    let rules = schema.properties.unwrap()["spec"].x_kubernetes_validations.clone().unwrap();
    assert!(rules.iter().any(|rule| rule.rule.contains("'dynamic'")));
    for rule in rules {
        assert!(!rule.rule.contains("self.acl"), "acl restricts nothing yet: {}", rule.rule);
        let compared = rule.rule.matches("'dynamic'").count();
        let folded = rule.rule.matches("self.host.lowerAscii()").count();
        assert_eq!(folded, compared, "{}", rule.rule);
    }
}

#[test]
fn who_registers_without_a_password_or_networks_is_open_to_anybody() {
    let is_open = |spec| serde_json::from_value::<SipPeerSpec>(spec).unwrap().is_open();
    for open in [
        json!({}),
        json!({ "host": "Dynamic" }),
        json!({ "acl": ["office"] }),
        json!({ "deny": [] }),
        json!({ "permit": ["192.0.2.0/24"] }),
        json!({ "remoteSecretRef": { "name": "s", "key": "k" } }),
    ] {
        assert!(is_open(open.clone()), "{open}");
    }
    for closed in [
        json!({ "secretRef": { "name": "s", "key": "k" } }),
        json!({ "md5SecretRef": { "name": "s", "key": "k" } }),
        json!({ "deny": ["0.0.0.0/0"] }),
        json!({ "host": "gateway.example.com" }),
    ] {
        assert!(!is_open(closed.clone()), "{closed}");
    }
}
