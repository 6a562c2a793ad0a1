//! What a probe is told.

use std::time::Duration;

use crate::credentials::Peer;
use crate::link::Transport;

/// All of it.
#[derive(Clone, Debug)]
pub struct Options {
    /// The edge: a name or an IP address without brackets.
    pub host: String,
    /// Its SIP port.
    pub port: u16,
    /// How SIP goes there.
    pub transport: Transport,
    /// Who calls.
    pub caller: Peer,
    /// Who is called.
    pub callee: Peer,
    /// How long both speak. At most [`Options::LONGEST`].
    pub duration: Duration,
    /// How long both may take to hear the first packet of each other.
    pub media_timeout: Duration,
    /// How long names, pods and peers that are not there yet are waited for, in all.
    pub wait: Duration,
    /// From this share of packets lost in one direction on it fails, thousandths.
    pub loss_limit: u32,
}

impl Options {
    /// The longest call: sequence numbers must not come round.
    pub const LONGEST: Duration = Duration::from_secs(600);

    /// A call of five seconds over UDP, with a minute for what is not there yet and 2 % of loss.
    pub fn new(host: impl Into<String>, port: u16, caller: Peer, callee: Peer) -> Self {
        Options {
            host: host.into(),
            port,
            transport: Transport::Udp,
            caller,
            callee,
            duration: Duration::from_secs(5),
            media_timeout: Duration::from_secs(5),
            wait: Duration::from_secs(60),
            loss_limit: 20,
        }
    }

    /// The host as a URI has it.
    pub(crate) fn domain(&self) -> String {
        if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() }
    }
}
