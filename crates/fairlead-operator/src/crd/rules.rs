//! What the API server refuses by itself, beyond types and ranges (CEL, `x-kubernetes-validations`).

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{JSONSchemaProps, ValidationRule};

/// Of the whole object: only here is its name at hand.
const OBJECT: &[(&str, &str)] = &[
    (
        "has(self.spec.name) || self.metadata.name.size() <= 80",
        "a SIP name has at most 80 characters: give spec.name",
    ),
    (
        // SIP names are keys of registrations: another name is another peer.
        "(has(self.spec.name) ? self.spec.name : self.metadata.name) == (has(oldSelf.spec.name) ? oldSelf.spec.name : oldSelf.metadata.name)",
        "the SIP name cannot be changed: delete this peer and make another",
    ),
];

/// Of the spec.
const SPEC: &[(&str, &str)] = &[
    (
        // As chan_sip, the edge asks nobody for a password that there is not: a forgotten line would be free calls for all.
        // `acl` does not count as long as it is not honoured; `SipPeerSpec::is_open` says the same.
        "has(self.secretRef) || has(self.md5SecretRef) || (has(self.deny) && size(self.deny) > 0) || (has(self.host) && self.host.lowerAscii() != 'dynamic')",
        "a peer that registers needs secretRef or md5SecretRef, or networks that it may not come from (deny): anybody could register as it",
    ),
    (
        "!has(self.port) || (has(self.host) && self.host.lowerAscii() != 'dynamic')",
        "port goes with a fixed host: a peer that registers brings its port",
    ),
    (
        "!has(self.defaultIp) || !has(self.host) || self.host.lowerAscii() == 'dynamic'",
        "defaultIp is of a peer that registers: give host or defaultIp",
    ),
    (
        "!has(self.maxContacts) || !has(self.host) || self.host.lowerAscii() == 'dynamic'",
        "maxContacts is of a peer that registers, not of one with a fixed host",
    ),
    (
        "!has(self.host) || !self.host.contains(':') || isIP(self.host)",
        "host is a name or an IP address; its port goes into port",
    ),
    (
        "!has(self.qualify) || self.qualify || !has(self.qualifyLimit)",
        "qualifyLimit says how long qualify waits, but qualify is false",
    ),
    (
        "!has(self.secretRef) || !has(self.md5SecretRef)",
        "md5SecretRef stands instead of secretRef: give one of them",
    ),
    (
        "!has(self.nat) || !('force_rport' in self.nat && 'auto_force_rport' in self.nat)",
        "nat: force_rport and auto_force_rport exclude each other",
    ),
    (
        "!has(self.nat) || !('comedia' in self.nat && 'auto_comedia' in self.nat)",
        "nat: comedia and auto_comedia exclude each other",
    ),
    (
        "!has(self.transport) || (self.transport.size() > 0 && self.transport.all(one, self.transport.exists_one(other, other == one)))",
        "transport names at least one transport, each once",
    ),
    (
        "!has(self.authAlgorithms) || (self.authAlgorithms.size() > 0 && self.authAlgorithms.all(one, self.authAlgorithms.exists_one(other, other == one)))",
        "authAlgorithms names at least one algorithm, each once",
    ),
    (
        "!has(self.callerId) || !(has(self.fullName) || has(self.cidNumber))",
        "callerId holds name and number: give it, or fullName and cidNumber",
    ),
    (
        "!has(self.sessionExpires) || !has(self.sessionMinse) || self.sessionMinse <= self.sessionExpires",
        "sessionMinse is at most sessionExpires",
    ),
    ("!has(self.timerT1) || !has(self.timerB) || self.timerB >= self.timerT1", "timerB is at least timerT1"),
    (
        "!has(self.t38ptMaxDatagram) || !has(self.t38ptUdptl) || self.t38ptUdptl != 'disabled'",
        "t38ptMaxDatagram is of T.38, but t38ptUdptl is disabled",
    ),
];

/// Puts them where they belong.
pub fn add(root: &mut JSONSchemaProps) {
    root.x_kubernetes_validations = Some(rules(OBJECT));
    if let Some(spec) = root.properties.as_mut().and_then(|properties| properties.get_mut("spec")) {
        spec.x_kubernetes_validations = Some(rules(SPEC));
    }
}

fn rules(table: &[(&str, &str)]) -> Vec<ValidationRule> {
    let rule = |(rule, message): &(&str, &str)| ValidationRule {
        rule: (*rule).to_owned(),
        message: Some((*message).to_owned()),
        ..ValidationRule::default()
    };
    table.iter().map(rule).collect()
}
