//! What the tests of this crate start from.

use std::sync::Arc;

use fairlead_model::ask::AdmitRequest;
use fairlead_model::binding::{Binding, BindingKey, Qualify};
use fairlead_model::flow::{Flow, Transport};
use fairlead_model::id::{CallRef, PodRef, ShardRef, UnixMillis};
use fairlead_model::peer::{EffectiveNat, Host, Peer, PeerType, Secret};

pub fn arc(peer: Peer) -> Arc<Peer> {
    Arc::new(peer)
}

/// A phone that registers, with a secret.
pub fn phone(name: &str) -> Arc<Peer> {
    arc(Peer { name: name.to_owned(), secret: Some(Secret::new("s")), ..Peer::default() })
}

/// A configured host without a secret.
pub fn trunk(name: &str, host: &str) -> Peer {
    Peer {
        name: name.to_owned(),
        kind: PeerType::Peer,
        host: Host::Static(host.to_owned()),
        ..Peer::default()
    }
}

pub fn flow_from(remote: &str) -> Flow {
    Flow {
        pod: PodRef(1),
        transport: Transport::Udp,
        local: "10.0.0.1:5060".parse().unwrap(),
        remote: remote.parse().unwrap(),
        connection: None,
    }
}

pub fn binding() -> Binding {
    Binding {
        key: BindingKey("a".to_owned()),
        uri: "sip:2001@192.0.2.7:5062".to_owned(),
        value: "<sip:2001@192.0.2.7:5062>".to_owned(),
        q: 1000,
        expires_at: UnixMillis(60_000),
        registered_at: UnixMillis(0),
        path: Vec::new(),
        instance: None,
        reg_id: None,
        call_id: "boot-1".to_owned(),
        cseq: 1,
        user_agent: "phone".to_owned(),
        flow: flow_from("198.51.100.7:40001"),
        generation: 0,
        moved_at: UnixMillis::default(),
        by_flow: false,
        nat: EffectiveNat::default(),
        qualify: Qualify::default(),
        unknown: serde_json::Map::new(),
    }
}

pub fn admit() -> AdmitRequest {
    AdmitRequest {
        method: "INVITE".to_owned(),
        call: CallRef { pod: PodRef(1), shard: ShardRef(0), number: 1 },
        call_id: "c".to_owned(),
        from_tag: "t".to_owned(),
        cseq: 1,
        branch: "z9hG4bK1".to_owned(),
        flow: flow_from("198.51.100.7:40001"),
        via_differs: false,
        from_user: "2001".to_owned(),
        from_host: "example.com".to_owned(),
        from_display: String::new(),
        target_user: "2002".to_owned(),
        target_host: "example.com".to_owned(),
        credentials: None,
    }
}
