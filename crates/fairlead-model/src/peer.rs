//! The peer object with every option of chan_sip, `[general]` whole and without secrets, and one table of
//! options ([`options`]) that reads both sip.conf and the rows of realtime peers ([`row`]).

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

pub mod acl;
pub mod codecs;
mod general;
pub mod kinds;
mod media;
mod nat;
pub mod options;
mod policy;
pub mod row;
mod secret;
mod settings;
pub mod value;

pub use acl::Acl;
pub use general::General;
pub use kinds::{Host, Insecure, PeerType};
pub use media::{MailOptions, MediaOptions};
pub use nat::NatSetting;
pub use policy::host_and_port;
pub use row::RuntimeColumns;
pub use secret::Secret;
pub use settings::{GeneralFull, Listener};

use crate::flow::Transport;
use kinds::{AmaFlags, CallingPres, Overlap, SendRpid, SessionRefresher, SessionTimers, TrustIdOutbound};

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

/// Where a peer's definition lives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum PeerSource {
    /// In sip.conf.
    #[default]
    Static,
    /// In the store, as a row of `sippeers` columns (`Cached RT` once a registrar holds it).
    Realtime,
}

/// One `auth=` entry: credentials for one realm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthEntry {
    /// User name.
    pub user: String,
    /// Password, or a digest of it.
    pub secret: Secret,
    /// Whether `secret` is the hexadecimal MD5 of `user:realm:password`.
    pub is_digest: bool,
    /// The realm.
    pub realm: String,
}

/// One configured device, with every option. Fields are named after the options where those names say enough;
/// what the options in `[general]` say is in it already.
///
/// It holds secrets, so it lives in the registrar only and cannot be serialized.
#[derive(Clone, Debug, PartialEq)]
pub struct Peer {
    /// Section name, or the name of the row.
    pub name: String,
    /// Where it is defined.
    pub source: PeerSource,
    /// `type`
    pub kind: PeerType,
    /// `description`
    pub description: String,

    // Who it is.
    /// `secret`
    pub secret: Option<Secret>,
    /// `md5secret`: hexadecimal MD5 of `name:realm:password`; outweighs `secret`.
    pub md5_secret: Option<Secret>,
    /// `remotesecret`: for challenges that are sent to us; outweighs `secret` there.
    pub remote_secret: Option<Secret>,
    /// `auth` lines.
    pub auth: Vec<AuthEntry>,
    /// `auth_algorithms` (ours): digest algorithms to challenge it with; empty as in `[general]`.
    pub auth_algorithms: Vec<String>,
    /// `insecure`
    pub insecure: Insecure,
    /// `permit`, `deny`: from where it may come.
    pub acl: Acl,
    /// `acl`: names of lists kept elsewhere.
    pub acl_names: Vec<String>,
    /// `contactpermit`, `contactdeny`: what address it may register.
    pub contact_acl: Acl,
    /// `contactacl`
    pub contact_acl_names: Vec<String>,
    /// `directmediapermit`, `directmediadeny`
    pub direct_media_acl: Acl,
    /// `directmediaacl`
    pub direct_media_acl_names: Vec<String>,

    // Where it is.
    /// `host`
    pub host: Host,
    /// `port`: of a static host, or where a dynamic peer is until it registers.
    pub port: Option<u16>,
    /// `defaultip`: where a dynamic peer is until it registers.
    pub default_ip: Option<IpAddr>,
    /// `defaultuser` (once `username`)
    pub default_user: Option<String>,
    /// `transport`: allowed ones (all, when nothing is written: what listens may be used); the first is used for
    /// what we send to a static host. Never empty.
    pub transports: Vec<Transport>,
    /// `outboundproxy`
    pub outbound_proxy: Option<OutboundProxy>,
    /// `nat`
    pub nat: NatSetting,
    /// `qualify`: milliseconds within which an answer is `OK`; `None` off.
    pub qualify_ms: Option<u32>,
    /// `qualifyfreq`: seconds between questions while it is reachable.
    pub qualify_freq: u32,
    /// `keepalive`: seconds between CRLFs; 0 off.
    pub keepalive: u32,
    /// `timert1`, milliseconds.
    pub t1_ms: u32,
    /// `timerb`, milliseconds; `None` 64 times T1.
    pub timer_b_ms: Option<u32>,
    /// `maxforwards`
    pub max_forwards: u8,
    /// `supportpath`: whether Path (RFC 3327) is used.
    pub support_path: bool,
    /// `disallowed_methods`
    pub disallowed_methods: Vec<String>,

    // Its registrations.
    /// `max_contacts` (ours): how many contacts it may have; the oldest gives way to a new one.
    pub max_contacts: u16,
    /// `regexten`
    pub regexten: Option<String>,
    /// `callbackextension`: it registers with us by us registering there; also matched as the user dialled.
    pub callback_extension: Option<String>,

    // Its calls.
    /// `context`
    pub context: String,
    /// `subscribecontext`
    pub subscribe_context: Option<String>,
    /// `call-limit`; 0 none.
    pub call_limit: u32,
    /// `callcounter`: count its calls without limiting them.
    pub call_counter: bool,
    /// `busylevel`; 0 none.
    pub busy_level: u32,
    /// `max_call_duration` (ours), seconds; 0 none.
    pub max_call_duration: u32,
    /// `ring_time` (ours): how long one contact rings before the next is tried, seconds.
    pub ring_time: u32,
    /// Name of `callerid` (or `fullname`).
    pub caller_name: String,
    /// Number of `callerid` (or `cid_number`).
    pub caller_number: String,
    /// `cid_tag`
    pub cid_tag: Option<String>,
    /// `callingpres`
    pub calling_pres: CallingPres,
    /// `fromuser`
    pub from_user: Option<String>,
    /// `fromdomain`, with its port.
    pub from_domain: Option<(String, Option<u16>)>,
    /// `trustrpid`
    pub trust_rpid: bool,
    /// `sendrpid`
    pub send_rpid: SendRpid,
    /// `rpid_update`
    pub rpid_update: bool,
    /// `rpid_immediate`
    pub rpid_immediate: bool,
    /// `trust_id_outbound`
    pub trust_id_outbound: TrustIdOutbound,
    /// `usereqphone`
    pub user_eq_phone: bool,
    /// `allowtransfer`
    pub allow_transfer: bool,
    /// `allowoverlap`
    pub allow_overlap: Overlap,
    /// `allowsubscribe`
    pub allow_subscribe: bool,
    /// `promiscredir`
    pub promisc_redir: bool,
    /// `useclientcode`
    pub use_client_code: bool,
    /// `recordonfeature`, `recordofffeature`
    pub record_features: (String, String),
    /// `callgroup`, one bit a group.
    pub call_group: u64,
    /// `pickupgroup`, one bit a group.
    pub pickup_group: u64,
    /// `namedcallgroup`
    pub named_call_group: Vec<String>,
    /// `namedpickupgroup`
    pub named_pickup_group: Vec<String>,
    /// `setvar` lines.
    pub variables: Vec<(String, String)>,
    /// `header` lines.
    pub headers: Vec<(String, String)>,
    /// `accountcode`
    pub account_code: String,
    /// `amaflags`
    pub ama_flags: AmaFlags,
    /// `session-timers`
    pub session_timers: SessionTimers,
    /// `session-expires`, seconds.
    pub session_expires: u32,
    /// `session-minse`, seconds.
    pub session_min_se: u32,
    /// `session-refresher`
    pub session_refresher: SessionRefresher,
    /// `use_q850_reason`
    pub use_q850_reason: bool,
    /// `snom_aoc_enabled`
    pub snom_aoc: bool,
    /// `cc_…` options as written.
    pub call_completion: Vec<(String, String)>,
    /// `language`
    pub language: String,
    /// `tonezone`
    pub tone_zone: String,
    /// `parkinglot`
    pub parking_lot: String,
    /// `mohinterpret`
    pub moh_interpret: String,
    /// `mohsuggest`
    pub moh_suggest: String,

    /// What it does with media.
    pub media: MediaOptions,
    /// Its mailboxes.
    pub mail: MailOptions,
}

/// `outboundproxy`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboundProxy {
    /// Transport, if written.
    pub transport: Option<Transport>,
    /// Name or address.
    pub host: String,
    /// Port, if written.
    pub port: Option<u16>,
    /// For every request, whatever its Route says.
    pub force: bool,
}

impl Default for Peer {
    fn default() -> Self {
        Peer {
            name: String::new(),
            source: PeerSource::default(),
            kind: PeerType::default(),
            description: String::new(),
            secret: None,
            md5_secret: None,
            remote_secret: None,
            auth: Vec::new(),
            auth_algorithms: Vec::new(),
            insecure: Insecure::default(),
            acl: Acl::default(),
            acl_names: Vec::new(),
            contact_acl: Acl::default(),
            contact_acl_names: Vec::new(),
            direct_media_acl: Acl::default(),
            direct_media_acl_names: Vec::new(),
            host: Host::Dynamic,
            port: None,
            default_ip: None,
            default_user: None,
            transports: vec![Transport::Udp, Transport::Tcp, Transport::Tls, Transport::Ws, Transport::Wss],
            outbound_proxy: None,
            nat: NatSetting::default(),
            qualify_ms: None,
            qualify_freq: 60,
            keepalive: 0,
            t1_ms: 500,
            timer_b_ms: None,
            max_forwards: 70,
            support_path: true,
            disallowed_methods: Vec::new(),
            max_contacts: 1,
            regexten: None,
            callback_extension: None,
            context: "default".to_owned(),
            subscribe_context: None,
            call_limit: 0,
            call_counter: false,
            busy_level: 0,
            max_call_duration: 0,
            ring_time: 20,
            caller_name: String::new(),
            caller_number: String::new(),
            cid_tag: None,
            calling_pres: CallingPres::default(),
            from_user: None,
            from_domain: None,
            trust_rpid: false,
            send_rpid: SendRpid::default(),
            rpid_update: false,
            rpid_immediate: false,
            trust_id_outbound: TrustIdOutbound::default(),
            user_eq_phone: false,
            allow_transfer: true,
            allow_overlap: Overlap::default(),
            allow_subscribe: true,
            promisc_redir: false,
            use_client_code: false,
            record_features: ("automon".to_owned(), "automon".to_owned()),
            call_group: 0,
            pickup_group: 0,
            named_call_group: Vec::new(),
            named_pickup_group: Vec::new(),
            variables: Vec::new(),
            headers: Vec::new(),
            account_code: String::new(),
            ama_flags: AmaFlags::default(),
            session_timers: SessionTimers::default(),
            session_expires: 1800,
            session_min_se: 90,
            session_refresher: SessionRefresher::default(),
            use_q850_reason: false,
            snom_aoc: false,
            call_completion: Vec::new(),
            language: String::new(),
            tone_zone: String::new(),
            parking_lot: String::new(),
            moh_interpret: "default".to_owned(),
            moh_suggest: String::new(),
            media: MediaOptions::default(),
            mail: MailOptions::default(),
        }
    }
}
