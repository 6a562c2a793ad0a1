//! The peer object, and the part of `[general]` that signaling needs.

use serde::{Deserialize, Serialize};

/// The NAT settings in effect for one leg or binding, after the auto values were decided (`nat=` of chan_sip).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct EffectiveNat {
    /// Answers and in-dialog requests go to where the packet came from (RFC 3581 without being asked).
    pub force_rport: bool,
    /// RTP goes to where RTP comes from.
    pub comedia: bool,
}

/// Where the RTP of a peer with comedia may come from before it is locked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RtpSource {
    /// Only the address in its SDP.
    Signalled,
    /// Any port of the IP address that its SIP comes from, or the address in its SDP.
    #[default]
    Signalling,
    /// Anywhere. Whoever guesses the port first is heard.
    Any,
}

/// `[general]` of sip.conf without secrets, as signaling needs it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct General {
    /// `realm`: of every challenge.
    pub realm: String,
    /// `useragent`: of User-Agent and Server.
    pub user_agent: String,
    /// `auth_algorithms`: digest algorithms to challenge with, strongest first.
    pub auth_algorithms: Vec<String>,
    /// `t1min`: least round trip assumed, milliseconds.
    pub t1_min_ms: u32,
    /// `timert1`: T1 where a peer has none of its own, milliseconds.
    pub t1_ms: u32,
    /// `timerb`: how long a request waits for a final answer, milliseconds.
    pub timer_b_ms: u32,
}

impl Default for General {
    fn default() -> Self {
        General {
            realm: "asterisk".to_owned(),
            user_agent: concat!("Fairlead/", env!("CARGO_PKG_VERSION")).to_owned(),
            auth_algorithms: vec!["MD5".to_owned()],
            t1_min_ms: 100,
            t1_ms: 500,
            timer_b_ms: 32_000,
        }
    }
}
