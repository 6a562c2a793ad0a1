//! What a `SipPeer` is, as the operator writes it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the peer is now. How long a registration lasts is not in here: it would be written at each REGISTER.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SipPeerStatus {
    /// The generation of the object that the conditions are about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// When it was seen to be so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_at: Option<Time>,
    /// What qualify found: OK, LAGGED, UNREACHABLE, UNKNOWN, or Unmonitored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Since when it is registered and reached, or not, as it is now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
    /// Round trip of the last answer to qualify, milliseconds. Written when it halves or doubles, or with another change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_ms: Option<i64>,
    /// Its contacts, in the order in which they would be called.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub contacts: Vec<ContactStatus>,
    /// Its line of `sip show peers`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub row: Option<Row>,
    /// `Ready`: every registrar serves the peer as it is asked for. `Registered`: it has a contact.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// One contact.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ContactStatus {
    /// The Contact URI.
    pub uri: String,
    /// Where its packets come from, IP:PORT.
    pub address: String,
    /// UDP, TCP …
    pub transport: String,
    /// What the phone calls itself.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub user_agent: String,
    /// What qualify found: OK, LAGGED, UNREACHABLE or UNKNOWN.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub state: String,
    /// Round trip of the last answer to qualify, milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_ms: Option<i64>,
    /// The proxies that it is reached through, topmost first (RFC 3327).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub path: Vec<String>,
}

/// The columns of `sip show peers`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// Name/username
    pub name_username: String,
    /// Host
    pub host: String,
    /// Dyn
    #[serde(rename = "dyn")]
    pub dynamic: String,
    /// Forcerport
    pub forcerport: String,
    /// Comedia
    pub comedia: String,
    /// ACL
    pub acl: String,
    /// Port
    pub port: i32,
    /// Status
    pub status: String,
    /// Description
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
}
