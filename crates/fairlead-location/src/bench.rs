//! What the tests of this crate start from: one phone, one flow, one moment.

use fairlead_model::ask::{ContactChange, Contacts, RegisterRequest};
use fairlead_model::binding::{Binding, BindingKey, Qualify};
use fairlead_model::flow::{Flow, Transport};
use fairlead_model::id::{PodRef, UnixMillis};
use fairlead_model::peer::{EffectiveNat, Peer};

pub const NOW: UnixMillis = UnixMillis(1_764_000_000_000);

pub fn flow() -> Flow {
    Flow {
        pod: PodRef(1),
        transport: Transport::Udp,
        local: "10.0.0.1:5060".parse().unwrap(),
        remote: "198.51.100.7:40001".parse().unwrap(),
        connection: None,
    }
}

pub fn binding(key: &str) -> Binding {
    Binding {
        key: BindingKey(key.to_owned()),
        uri: "sip:2001@192.0.2.7:5060".to_owned(),
        value: "<sip:2001@192.0.2.7:5060>".to_owned(),
        q: 1000,
        expires_at: NOW.plus_millis(60_000),
        registered_at: NOW,
        path: Vec::new(),
        instance: None,
        reg_id: None,
        call_id: "boot-1".to_owned(),
        cseq: 1,
        user_agent: "phone".to_owned(),
        flow: flow(),
        generation: 0,
        moved_at: UnixMillis::default(),
        by_flow: false,
        nat: EffectiveNat::default(),
        qualify: Qualify::default(),
        unknown: serde_json::Map::new(),
    }
}

pub fn phone() -> Peer {
    Peer { name: "2001".to_owned(), ..Peer::default() }
}

pub fn contact(uri: &str) -> ContactChange {
    ContactChange {
        uri: uri.to_owned(),
        value: format!("<{uri}>"),
        expires: None,
        q: None,
        instance: None,
        reg_id: None,
    }
}

pub fn register(contacts: Vec<ContactChange>) -> RegisterRequest {
    RegisterRequest {
        user: "2001".to_owned(),
        host: "example.com".to_owned(),
        contacts: Contacts::List(contacts),
        expires: Some(600),
        path: Vec::new(),
        call_id: "boot-1".to_owned(),
        cseq: 10,
        user_agent: "phone".to_owned(),
        flow: flow(),
        via_differs: false,
        asked_rport: true,
        supports_path: false,
        credentials: None,
        received_at: NOW,
    }
}
