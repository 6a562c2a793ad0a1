//! What both legs have in common besides their dialog.

use std::net::IpAddr;

use fairlead_model::flow::Transport;
use fairlead_model::id::UnixMillis;
use fairlead_model::peer::EffectiveNat;
use serde::{Deserialize, Serialize};
use sip_wire::{Header, Message};

/// How the messages of a leg leave: what its Contact says and what the relay has to know.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outlet {
    /// Name of the network; empty for the default one.
    pub network: String,
    /// The transport.
    pub transport: Transport,
    /// Our advertised host and port, as a URI writes them.
    pub host_port: String,
    /// The other side's address in signalling.
    pub remote: IpAddr,
    /// Its port.
    pub port: u16,
    /// The NAT settings in effect for it.
    pub nat: EffectiveNat,
}

impl Outlet {
    /// The Contact of messages of this leg; `user` is the leg's tag, by which requests find home.
    pub fn contact(&self, user: &str) -> String {
        match self.transport {
            Transport::Udp => format!("<sip:{user}@{}>", self.host_port),
            other => format!("<sip:{user}@{};transport={}>", self.host_port, other.lower()),
        }
    }

    /// Our host without its port.
    pub fn host(&self) -> &str {
        match self.host_port.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
            _ => &self.host_port,
        }
    }
}

/// What only the operator wants to know of a leg.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// User-Agent or Server of the other side.
    pub user_agent: String,
    /// `Rx: ACK`, `Tx: BYE`.
    pub last_message: String,
    /// Whether we began the leg.
    pub outgoing: bool,
    /// Its phone holds.
    pub hold: bool,
    /// Option tags of the other side.
    pub options: Vec<String>,
    /// When it began.
    pub since: UnixMillis,
}

impl Facts {
    /// Of a leg that begins.
    pub fn new(outgoing: bool, since: UnixMillis) -> Self {
        Facts { outgoing, since, ..Facts::default() }
    }

    /// Notes what a message of the other side says about it.
    pub fn heard(&mut self, message: &Message) {
        let name = message.header(Header::UserAgent).or_else(|| message.header(Header::Server));
        if let Some(name) = name.filter(|name| *name != self.user_agent) {
            self.user_agent = name.chars().take(256).collect();
        }
        if self.options.is_empty() {
            self.options = message.values(Header::Supported).take(16).map(|tag| tag.to_string()).collect();
        }
        // The operator's column counts requests only, as chan_sip does.
        if message.status().is_none() {
            self.last_message = format!("Rx: {}", message.method().label());
        }
    }
}

/// Where the next request of a leg goes. The core decides between them (architecture: a binding names its flow).
#[derive(Clone, Debug, PartialEq)]
pub struct NextHop {
    /// The URI of the first Route or of the remote target; empty before there is a dialog.
    pub uri: String,
    /// Its peer is reached by its flow whatever the URI says (`nat=force_rport`).
    pub by_flow: bool,
    /// The binding whose flow it is, if the leg is one with a registered contact.
    pub binding: Option<(String, fairlead_model::binding::BindingKey)>,
}
