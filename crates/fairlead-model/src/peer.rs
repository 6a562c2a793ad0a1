//! The peer object with every option of chan_sip, `[general]` whole and without secrets, and one table of
//! options ([`options`]) that reads both sip.conf and the rows of realtime peers ([`row`]).

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

pub mod acl;
pub mod kinds;
mod nat;
pub mod options;
mod policy;
pub mod row;
mod secret;
mod settings;
pub mod value;

pub use acl::Acl;
pub use kinds::{Host, Insecure, PeerType};
pub use nat::NatSetting;
pub use policy::host_and_port;
pub use row::RuntimeColumns;
pub use secret::Secret;
pub use settings::{GeneralFull, Listener};

use crate::flow::Transport;
use kinds::{
    AmaFlags, CallingPres, Codecs, DirectMedia, DtlsSetup, DtmfMode, FaxDetect, Fingerprint, Overlap,
    ProgressInband, SendRpid, SessionRefresher, SessionTimers, T38, TagLength, TrustIdOutbound, VideoSupport,
};

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

/// The media options of a peer.
#[derive(Clone, Debug, PartialEq)]
pub struct MediaOptions {
    /// `allow`, `disallow`
    pub codecs: Codecs,
    /// `rtpsource` (ours): where RTP of a peer with comedia may come from.
    pub rtp_source: RtpSource,
    /// `rtptimeout`, seconds; 0 never.
    pub rtp_timeout: u32,
    /// `rtpholdtimeout`, seconds; 0 never.
    pub rtp_hold_timeout: u32,
    /// `rtpkeepalive`, seconds; 0 never.
    pub rtp_keepalive: u32,
    /// `directmedia`
    pub direct_media: DirectMedia,
    /// `dtmfmode`
    pub dtmf_mode: DtmfMode,
    /// `rfc2833compensate`
    pub rfc2833_compensate: bool,
    /// `preferred_codec_only`
    pub preferred_codec_only: bool,
    /// `ignore_requested_pref`
    pub ignore_requested_pref: bool,
    /// `autoframing`
    pub auto_framing: bool,
    /// `g726nonstandard`
    pub g726_nonstandard: bool,
    /// `videosupport`
    pub video: VideoSupport,
    /// `textsupport`
    pub text: bool,
    /// `maxcallbitrate`, kbit/s.
    pub max_call_bitrate: u32,
    /// `progressinband`
    pub progress_inband: ProgressInband,
    /// `ignoresdpversion`
    pub ignore_sdp_version: bool,
    /// `t38pt_udptl`
    pub t38: T38,
    /// `t38pt_usertpsource`
    pub t38_use_rtp_source: bool,
    /// `faxdetect`
    pub fax_detect: FaxDetect,
    /// `discard_remote_hold_retrieval`
    pub discard_hold: bool,
    /// `rtp_engine`
    pub rtp_engine: String,
    /// `encryption`
    pub encryption: bool,
    /// `encryption_taglen`
    pub encryption_tag: TagLength,
    /// `avpf`
    pub avpf: bool,
    /// `force_avp`
    pub force_avp: bool,
    /// `rtcp_mux`
    pub rtcp_mux: bool,
    /// `icesupport`
    pub ice: bool,
    /// `dtlsenable`
    pub dtls: bool,
    /// `dtlssetup`
    pub dtls_setup: DtlsSetup,
    /// `dtlsfingerprint`
    pub dtls_fingerprint: Fingerprint,
    /// `dtlsverify`, `dtlsrekey`, `dtlscertfile` and the other `dtls…` options as written.
    pub dtls_options: Vec<(String, String)>,
}

impl Default for MediaOptions {
    fn default() -> Self {
        MediaOptions {
            codecs: Codecs::default(),
            rtp_source: RtpSource::default(),
            rtp_timeout: 0,
            rtp_hold_timeout: 0,
            rtp_keepalive: 0,
            direct_media: DirectMedia::default(),
            dtmf_mode: DtmfMode::default(),
            rfc2833_compensate: false,
            preferred_codec_only: false,
            ignore_requested_pref: false,
            auto_framing: false,
            g726_nonstandard: false,
            video: VideoSupport::default(),
            text: false,
            max_call_bitrate: 384,
            progress_inband: ProgressInband::default(),
            ignore_sdp_version: false,
            t38: T38::default(),
            t38_use_rtp_source: false,
            fax_detect: FaxDetect::default(),
            discard_hold: false,
            rtp_engine: "asterisk".to_owned(),
            encryption: false,
            encryption_tag: TagLength::default(),
            avpf: false,
            force_avp: false,
            rtcp_mux: false,
            ice: false,
            dtls: false,
            dtls_setup: DtlsSetup::default(),
            dtls_fingerprint: Fingerprint::default(),
            dtls_options: Vec::new(),
        }
    }
}

/// The mailbox options of a peer.
#[derive(Clone, Debug, PartialEq)]
pub struct MailOptions {
    /// `mailbox`
    pub mailboxes: Vec<String>,
    /// `hasvoicemail`
    pub has_voicemail: bool,
    /// `subscribemwi`
    pub subscribe_mwi: bool,
    /// `vmexten`
    pub vm_exten: String,
    /// `unsolicited_mailbox`
    pub unsolicited_mailbox: Option<String>,
    /// `mwi_from`
    pub mwi_from: Option<String>,
    /// `buggymwi`
    pub buggy_mwi: bool,
}

impl Default for MailOptions {
    fn default() -> Self {
        MailOptions {
            mailboxes: Vec::new(),
            has_voicemail: false,
            subscribe_mwi: false,
            vm_exten: "asterisk".to_owned(),
            unsolicited_mailbox: None,
            mwi_from: None,
            buggy_mwi: false,
        }
    }
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
