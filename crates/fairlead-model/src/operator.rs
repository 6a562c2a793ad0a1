//! What the operator sees of peers: the rows of `sip show peers`, `sip show users` and `sip show inuse`, the
//! facts of `sip show peer`, and what prune, unregister and qualify report.
//!
//! Facts, not text: the tables are laid out by the admin role. No secret is in here, only whether there is one.

use serde::{Deserialize, Serialize};

use crate::binding::Qualify;
use crate::id::{PodRef, UnixMillis};

/// Which peers an operation is about. Names are compared bytewise, lists come sorted by name, bytewise.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerPage {
    /// Only names that this regular expression matches somewhere (chan_sip's `like`; case-sensitive); all when absent.
    pub like: Option<String>,
    /// Only names after this one: where the page before ended.
    pub after: Option<String>,
    /// At most this many; 0 for as many as there are.
    pub limit: u32,
}

/// One peer, as `sip show peers` lists it: the facts of the contact that would be called first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PeerView {
    /// Its name.
    pub name: String,
    /// User name shown after the slash (`defaultuser`, or what the last registration set it to); may be empty.
    pub username: String,
    /// Where it is reached: of the first contact's flow, or configured. `None` is shown as `(Unspecified)`.
    pub address: Option<PeerAddress>,
    /// `host=dynamic`: it registers.
    pub dynamic: bool,
    /// `nat=force_rport`.
    pub force_rport: NatView,
    /// `nat=comedia`.
    pub comedia: NatView,
    /// It has `permit` or `deny` rules.
    pub acl: bool,
    /// `qualify` is on.
    pub monitored: bool,
    /// What qualify found; of no meaning unless monitored.
    pub qualify: Qualify,
    /// `description`.
    pub description: String,
    /// Where its configuration lives.
    pub source: PeerSource,
    /// The pod that holds the first contact's flow.
    pub pod: Option<PodRef>,
    /// All its contacts, in the order in which they would be called.
    pub contacts: Vec<ContactView>,
}

/// An address for the eye.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerAddress {
    /// An IP address without brackets, or a host name that has not been resolved.
    pub host: String,
    /// The port; 0 when it is not known.
    pub port: u16,
}

/// A NAT setting and what it came to, in chan_sip's words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NatView {
    /// `No`
    #[default]
    No,
    /// `Yes`
    Yes,
    /// `Auto (No)`: decided by the last registration or call.
    AutoNo,
    /// `Auto (Yes)`
    AutoYes,
}

impl NatView {
    /// The word of the tables.
    pub const fn word(self) -> &'static str {
        match self {
            NatView::No => "No",
            NatView::Yes => "Yes",
            NatView::AutoNo => "Auto (No)",
            NatView::AutoYes => "Auto (Yes)",
        }
    }
}

/// Where a peer's configuration lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PeerSource {
    /// sip.conf.
    #[default]
    Static,
    /// The store, and a registrar holds a copy (`Cached RT`).
    Cached,
    /// The store; nobody holds a copy now.
    Stored,
}

/// One registered contact.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ContactView {
    /// The Contact URI.
    pub uri: String,
    /// Where its packets come from.
    pub address: PeerAddress,
    /// `UDP`, `TCP`, …
    pub transport: String,
    /// Preference in thousandths.
    pub q: u16,
    /// When it ends.
    pub expires_at: UnixMillis,
    /// User-Agent of its REGISTER.
    pub user_agent: String,
    /// What qualify found.
    pub qualify: Qualify,
    /// The pod that holds its flow.
    pub pod: Option<PodRef>,
    /// The Path vector, topmost first.
    pub path: Vec<String>,
    /// `+sip.instance`.
    pub instance: Option<String>,
}

/// Every fact of `sip show peer` and `sip show user`, in their order. `Default` is what chan_sip shows for a peer
/// of whom nothing is configured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PeerDetail {
    /// What the list shows of it.
    pub view: PeerView,
    /// It may be called (`type=peer` or `friend`): `sip show peer` finds it.
    pub is_peer: bool,
    /// It may call (`type=user` or `friend`): `sip show user` finds it.
    pub is_user: bool,
    /// `secret` is set.
    pub secret_set: bool,
    /// `md5secret` is set.
    pub md5secret_set: bool,
    /// `remotesecret` is set.
    pub remote_secret_set: bool,
    /// `context`
    pub context: String,
    /// Feature of `Record: on`.
    pub record_on_feature: String,
    /// Feature of `Record: off`.
    pub record_off_feature: String,
    /// `subscribecontext`
    pub subscribe_context: String,
    /// `language`
    pub language: String,
    /// `tonezone`; `None` is `<Not set>`.
    pub tonezone: Option<String>,
    /// `accountcode`; its line is left out when empty.
    pub accountcode: String,
    /// `amaflags`
    pub ama_flags: String,
    /// `allowtransfer`: `open`, else `closed`.
    pub transfer_open: bool,
    /// `callingpres`, in words.
    pub calling_pres: String,
    /// `fromuser`; its line is left out when empty.
    pub from_user: String,
    /// `fromdomain`; its line is left out when empty.
    pub from_domain: String,
    /// Port of `fromdomain`.
    pub from_domain_port: u16,
    /// `callgroup`
    pub callgroup: String,
    /// `pickupgroup`
    pub pickupgroup: String,
    /// `namedcallgroup`
    pub named_callgroup: String,
    /// `namedpickupgroup`
    pub named_pickupgroup: String,
    /// `mohsuggest`
    pub moh_suggest: String,
    /// `mailbox`
    pub mailbox: String,
    /// `vmexten`
    pub vm_exten: String,
    /// New messages of the last MWI sent.
    pub messages_new: u32,
    /// Old messages of the last MWI sent.
    pub messages_old: u32,
    /// `call-limit`; 2147483647 with `callcounter` alone, 0 without either.
    pub call_limit: u32,
    /// `maxforwards`; 0 is the default of `[general]`.
    pub max_forwards: u32,
    /// `busylevel`; its line is left out when 0.
    pub busy_level: u32,
    /// Name of `callerid`.
    pub caller_name: String,
    /// Number of `callerid`.
    pub caller_number: String,
    /// `maxcallbitrate`, kbps.
    pub max_call_bitrate: u32,
    /// When the registration ends; `None` is shown as -1.
    pub expires_at: Option<UnixMillis>,
    /// `insecure=port`
    pub insecure_port: bool,
    /// `insecure=invite`
    pub insecure_invite: bool,
    /// `contactacl` is set.
    pub contact_acl: bool,
    /// `directmediaacl` is set.
    pub direct_media_acl: bool,
    /// `t38pt_udptl`
    pub t38: bool,
    /// Error correction of T.38: None, FEC, Redundancy, Unknown.
    pub t38_ec_mode: String,
    /// `t38_maxdatagram`, bytes.
    pub t38_max_datagram: u32,
    /// `directmedia`
    pub direct_media: bool,
    /// `promiscredir`
    pub promisc_redir: bool,
    /// `usereqphone`
    pub user_phone: bool,
    /// `videosupport`
    pub video: bool,
    /// `textsupport`
    pub text: bool,
    /// `ignoresdpversion`
    pub ignore_sdp_version: bool,
    /// `trustrpid`
    pub trust_rpid: bool,
    /// `sendrpid`
    pub send_rpid: bool,
    /// `supportpath`
    pub path_support: bool,
    /// The Path of its registration, topmost first; empty is `N/A`.
    pub path: Vec<String>,
    /// `trust_id_outbound`: Legacy, No, Yes.
    pub trust_id_outbound: String,
    /// `allowsubscribe`
    pub allow_subscribe: bool,
    /// `allowoverlap`: Yes, No, DTMF.
    pub overlap_dial: String,
    /// `outboundproxy`; its line is left out when empty.
    pub outbound_proxy: String,
    /// The outbound proxy is used for everything.
    pub outbound_proxy_forced: bool,
    /// `dtmfmode`
    pub dtmf_mode: String,
    /// `timert1`, milliseconds.
    pub timer_t1: u32,
    /// `timerb`, milliseconds.
    pub timer_b: u32,
    /// Configured host, as it goes into To; empty for dynamic peers.
    pub to_host: String,
    /// `defaultip`
    pub default_address: Option<PeerAddress>,
    /// Transport of the registration, or the first of those allowed.
    pub primary_transport: String,
    /// `transport`
    pub allowed_transports: Vec<String>,
    /// `defaultuser`, or what the last registration set it to.
    pub default_username: String,
    /// Option tags that it is known to understand; empty is `(none)`.
    pub sip_options: Vec<String>,
    /// `allow`, codec names in order; empty is `(nothing)`.
    pub codecs: Vec<String>,
    /// `autoframing`
    pub auto_framing: bool,
    /// User-Agent of its last REGISTER.
    pub user_agent: String,
    /// The Contact URI that would be called first.
    pub contact: String,
    /// `qualifyfreq`, milliseconds.
    pub qualify_freq: u32,
    /// `keepalive`, milliseconds.
    pub keepalive: u32,
    /// `setvar`, `NAME=VALUE` each; the lines are left out when empty.
    pub variables: Vec<(String, String)>,
    /// `session-timers`: Accept, Originate, Refuse.
    pub session_timers: String,
    /// `session-refresher`: uac, uas.
    pub session_refresher: String,
    /// `session-expires`, seconds.
    pub session_expires: u32,
    /// `session-minse`, seconds.
    pub session_min_se: u32,
    /// `rtp_engine`
    pub rtp_engine: String,
    /// `parkinglot`
    pub parkinglot: String,
    /// `use_q850_reason`
    pub use_reason: bool,
    /// `encryption`
    pub encryption: bool,
    /// `rtcp_mux`
    pub rtcp_mux: bool,
}

impl Default for PeerDetail {
    fn default() -> Self {
        PeerDetail {
            view: PeerView::default(),
            is_peer: true,
            is_user: true,
            secret_set: false,
            md5secret_set: false,
            remote_secret_set: false,
            context: "default".to_owned(),
            record_on_feature: "automon".to_owned(),
            record_off_feature: "automon".to_owned(),
            subscribe_context: String::new(),
            language: String::new(),
            tonezone: None,
            accountcode: String::new(),
            ama_flags: "Unknown".to_owned(),
            transfer_open: true,
            calling_pres: "Presentation Allowed, Not Screened".to_owned(),
            from_user: String::new(),
            from_domain: String::new(),
            from_domain_port: 5060,
            callgroup: String::new(),
            pickupgroup: String::new(),
            named_callgroup: String::new(),
            named_pickupgroup: String::new(),
            moh_suggest: String::new(),
            mailbox: String::new(),
            vm_exten: "asterisk".to_owned(),
            messages_new: 0,
            messages_old: 0,
            call_limit: 0,
            max_forwards: 0,
            busy_level: 0,
            caller_name: String::new(),
            caller_number: String::new(),
            max_call_bitrate: 384,
            expires_at: None,
            insecure_port: false,
            insecure_invite: false,
            contact_acl: false,
            direct_media_acl: false,
            t38: false,
            t38_ec_mode: "Unknown".to_owned(),
            t38_max_datagram: u32::MAX,
            direct_media: false,
            promisc_redir: false,
            user_phone: false,
            video: false,
            text: false,
            ignore_sdp_version: false,
            trust_rpid: false,
            send_rpid: false,
            path_support: false,
            path: Vec::new(),
            trust_id_outbound: "Legacy".to_owned(),
            allow_subscribe: true,
            overlap_dial: "Yes".to_owned(),
            outbound_proxy: String::new(),
            outbound_proxy_forced: false,
            dtmf_mode: "rfc2833".to_owned(),
            timer_t1: 500,
            timer_b: 32_000,
            to_host: String::new(),
            default_address: None,
            primary_transport: "UDP".to_owned(),
            allowed_transports: vec!["UDP".to_owned()],
            default_username: String::new(),
            sip_options: Vec::new(),
            codecs: vec!["ulaw".to_owned(), "alaw".to_owned()],
            auto_framing: false,
            user_agent: String::new(),
            contact: String::new(),
            qualify_freq: 60_000,
            keepalive: 0,
            variables: Vec::new(),
            session_timers: "Accept".to_owned(),
            session_refresher: "uas".to_owned(),
            session_expires: 1800,
            session_min_se: 90,
            rtp_engine: "asterisk".to_owned(),
            parkinglot: String::new(),
            use_reason: false,
            encryption: false,
            rtcp_mux: false,
        }
    }
}

/// One object with the user bit, as `sip show users` lists it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserView {
    /// Its name.
    pub name: String,
    /// `secret` or `md5secret` is set.
    pub secret_set: bool,
    /// `accountcode`
    pub accountcode: String,
    /// `context`
    pub context: String,
    /// It has `permit` or `deny` rules.
    pub acl: bool,
    /// `nat=force_rport`.
    pub force_rport: NatView,
}

/// One line of `sip show inuse`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InUseView {
    /// The peer.
    pub name: String,
    /// Calls it is in.
    pub in_use: u32,
    /// Calls that ring at it.
    pub ringing: u32,
    /// Calls on hold.
    pub on_hold: u32,
    /// Its call limit; `None` is `N/A`.
    pub limit: Option<u32>,
}

/// Which realtime peers to forget (`sip prune realtime`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PruneSelector {
    /// All of them.
    All,
    /// This one.
    Name(String),
    /// Those whose names match.
    Like(String),
}

/// What one registrar pruned.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PruneReceipt {
    /// How many peers it held and holds no more.
    pub pruned: u32,
    /// The name that was asked for is a static peer's: it cannot be pruned.
    pub is_static: bool,
    /// Names it forgot, the first thousand.
    pub names: Vec<String>,
}

/// What came of `sip unregister`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnregisterOutcome {
    /// Its contacts are gone.
    Unregistered,
    /// It is known but had no contact.
    NotRegistered,
    /// Nobody has that name.
    UnknownPeer,
}
