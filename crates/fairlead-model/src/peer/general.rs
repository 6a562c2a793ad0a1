//! `[general]` without secrets: what reaches signaling.

use serde::{Deserialize, Serialize};

use super::NatSetting;

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
    /// `nat`: for requests of which nobody knows yet whose they are.
    #[serde(default)]
    pub nat: NatSetting,
    /// `maxforwards` of requests that we begin, 1 to 255.
    #[serde(default = "default_max_forwards")]
    pub max_forwards: u8,
    /// `auth_options_requests`: OPTIONS out of a dialog need credentials.
    #[serde(default)]
    pub auth_options: bool,
    /// `tcpauthtimeout`: seconds a connection may stay without having authenticated.
    #[serde(default = "default_tcp_auth_timeout")]
    pub tcp_auth_timeout: u32,
    /// `tcpauthlimit`: how many such connections there may be at once.
    #[serde(default = "default_tcp_auth_limit")]
    pub tcp_auth_limit: u32,
    /// `sdpsession`: the s= line of descriptions that we make.
    #[serde(default = "default_sdp_session")]
    pub sdp_session: String,
    /// `sdpowner`: the user name in their o= line.
    #[serde(default = "default_sdp_owner")]
    pub sdp_owner: String,
}

fn default_max_forwards() -> u8 {
    70
}

fn default_tcp_auth_timeout() -> u32 {
    30
}

fn default_tcp_auth_limit() -> u32 {
    100
}

fn default_sdp_session() -> String {
    "Fairlead".to_owned()
}

fn default_sdp_owner() -> String {
    "-".to_owned()
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
            nat: NatSetting::default(),
            max_forwards: default_max_forwards(),
            auth_options: false,
            tcp_auth_timeout: default_tcp_auth_timeout(),
            tcp_auth_limit: default_tcp_auth_limit(),
            sdp_session: default_sdp_session(),
            sdp_owner: default_sdp_owner(),
        }
    }
}
