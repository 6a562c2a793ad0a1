//! The kind `SipPeer`: its types, and its definition as `fairlead print crds` prints it.
//!
//! `crd/spec.rs` what is asked for · `crd/value.rs` kinds of values · `crd/status.rs` what is written back ·
//! `crd/rules.rs` what the API server refuses by itself.

mod rules;
mod spec;
mod status;
mod value;

pub use spec::{RealmCredentials, SecretKey, Secrets, SipPeer, SipPeerSpec};
pub use status::{ContactStatus, Row, SipPeerStatus};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceColumnDefinition, CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray,
    JSONSchemaPropsOrBool,
};
use kube::CustomResourceExt;

/// The definition of `SipPeer`.
pub fn sip_peer() -> CustomResourceDefinition {
    let mut crd = SipPeer::crd();
    // Peers of phones outlive a release that is uninstalled by mistake.
    crd.metadata
        .annotations
        .get_or_insert_default()
        .insert("helm.sh/resource-policy".to_owned(), "keep".to_owned());
    let labels = crd.metadata.labels.get_or_insert_default();
    for (label, value) in [("name", "fairlead"), ("component", "operator"), ("part-of", "fairlead")] {
        labels.insert(format!("app.kubernetes.io/{label}"), value.to_owned());
    }
    for version in &mut crd.spec.versions {
        version.additional_printer_columns = Some(columns());
        if let Some(schema) = version.schema.as_mut().and_then(|schema| schema.open_api_v3_schema.as_mut()) {
            without_null(schema);
            rules::add(schema);
        }
    }
    crd
}

/// The definitions as a YAML stream, as they go into the chart.
pub fn print() -> Result<String, serde_json::Error> {
    let value = serde_json::to_value(sip_peer())?;
    serde_saphyr::to_string(&value).map_err(serde::ser::Error::custom)
}

/// The columns of `sip show peers`, whether it is served, and how old it is.
fn columns() -> Vec<CustomResourceColumnDefinition> {
    let column = |name: &str, path: &str, kind: &str, wide: bool| CustomResourceColumnDefinition {
        name: name.to_owned(),
        json_path: path.to_owned(),
        type_: kind.to_owned(),
        priority: wide.then_some(1),
        ..CustomResourceColumnDefinition::default()
    };
    vec![
        column("Name/username", ".status.row.nameUsername", "string", false),
        column("Host", ".status.row.host", "string", false),
        column("Dyn", ".status.row.dyn", "string", false),
        column("Forcerport", ".status.row.forcerport", "string", false),
        column("Comedia", ".status.row.comedia", "string", false),
        column("ACL", ".status.row.acl", "string", false),
        column("Port", ".status.row.port", "integer", false),
        column("Status", ".status.row.status", "string", false),
        column("Description", ".status.row.description", "string", false),
        column("Ready", ".status.conditions[?(@.type==\"Ready\")].status", "string", false),
        column("Reason", ".status.conditions[?(@.type==\"Ready\")].reason", "string", true),
        column("Age", ".metadata.creationTimestamp", "date", true),
    ]
}

/// Nothing can be null: a null is dropped by the API server, so that rules need not think of it.
fn without_null(schema: &mut JSONSchemaProps) {
    schema.nullable = None;
    for property in schema.properties.iter_mut().flat_map(|properties| properties.values_mut()) {
        without_null(property);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &mut schema.items {
        without_null(items);
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &mut schema.additional_properties {
        without_null(values);
    }
}

#[cfg(test)]
mod tests;
