//! What a `SipPeer` asks for: the options of a peer (`fairlead_model::peer::options`) in Kubernetes' spelling, each with
//! the column it becomes. Secrets are named, never written here.

use std::collections::BTreeMap;

use fairlead_model::operator::NatView;
use fairlead_model::peer::{NatSetting, Secret};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::status::SipPeerStatus;
use super::value::{
    Address, Algorithm, Ama, CallCompletion, Codec, Column, Digest, DirectMediaWord, DtlsRole, Dtmf, Entry,
    Fax, Headers, InsecureWord, Int, Kind, List, ListOrNo, NatWord, Network, OverlapWord, Presentation,
    Progress, Refresher, Rpid, Source, T38Word, TagBits, Text, Timers, TransportWord, TrustId, Variables,
    Video,
};

/// A key of a Secret in the namespace of the peer.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub struct SecretKey {
    /// Name of the Secret, in the namespace of the peer.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub name: String,
    /// Key in it.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    pub key: String,
}

/// Credentials for one realm that challenges us (`auth`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RealmCredentials {
    /// User name in that realm.
    #[schemars(length(min = 1, max = 128), regex(pattern = r"^[^\x00-\x20\x7f:#;]+$"))]
    pub user: String,
    /// The realm.
    #[schemars(length(min = 1, max = 128), regex(pattern = r"^[^\x00-\x1f\x7f@;]+$"))]
    pub realm: String,
    /// The password, or with `digest` the hexadecimal MD5 of USER:REALM:PASSWORD.
    pub secret_ref: SecretKey,
    /// The Secret holds an MD5 digest instead of the password.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub digest: bool,
}

macro_rules! options {
    ($($(#[$meta:meta])* $field:ident: $type:ty = $column:literal,)+) => {
        /// What the peer is to be. Whatever is not given is as in `[general]` of sip.conf.
        #[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[kube(
            group = "fairlead.dev",
            version = "v1alpha1",
            kind = "SipPeer",
            plural = "sippeers",
            singular = "sippeer",
            shortname = "sp",
            category = "fairlead",
            namespaced,
            status = "SipPeerStatus",
            doc = "A device that registers or is reached at a fixed address: a phone, a gateway or a trunk. It becomes a realtime peer of the edge.",
            derive = "PartialEq"
        )]
        #[serde(rename_all = "camelCase")]
        pub struct SipPeerSpec {
            /// Its SIP name; the name of the object when absent. It cannot be changed later.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            #[schemars(length(min = 1, max = 80), regex(pattern = "^[A-Za-z0-9_.!~*'()&=+$,;?/-]+$"))]
            pub name: Option<String>,
            /// Its password (`secret`).
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub secret_ref: Option<SecretKey>,
            /// The hexadecimal MD5 of NAME:REALM:PASSWORD instead of the password (`md5secret`).
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub md5_secret_ref: Option<SecretKey>,
            /// The password for challenges that it sends to us (`remotesecret`); its own when absent.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub remote_secret_ref: Option<SecretKey>,
            /// Credentials for realms that challenge us (`auth`).
            #[serde(default, skip_serializing_if = "Vec::is_empty")]
            #[schemars(schema_with = "credentials")]
            pub auth: Vec<RealmCredentials>,
            /// Where a peer is that does not register (`host`): a name or an IP address, or `dynamic` for one that
            /// registers, which is what it is when absent.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            #[schemars(length(min = 1, max = 253), regex(pattern = "^([A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?[.]?|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*)$"))]
            pub host: Option<String>,
            /// Port of a peer that does not register; 5060 when absent.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub port: Option<Int<1, 65_535>>,
            /// Whether it is asked by OPTIONS whether it is there.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub qualify: Option<bool>,
            /// Milliseconds within which it has to answer to be OK; 2000 when absent. Switches `qualify` on.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub qualify_limit: Option<Int<1, 60_000>>,
            /// Largest datagram of T.38, octets (`t38pt_udptl`).
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub t38pt_max_datagram: Option<Int<1, 65_535>>,
            /// Options of call completion by their names without `cc_`: `agent_policy`, `monitor_policy` …. Not yet honoured.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub call_completion: Option<CallCompletion>,
            $(
                $(#[$meta])*
                #[serde(default, skip_serializing_if = "Option::is_none")]
                pub $field: Option<$type>,
            )+
        }

        impl SipPeerSpec {
            /// Options that have a column of their own.
            fn single_columns(&self) -> impl Iterator<Item = (&'static str, String)> {
                [$((($column), self.$field.as_ref().and_then(Column::text))),+]
                    .into_iter()
                    .filter_map(|(column, text)| Some((column, text?)))
            }
        }
    };
}

options! {
    // Who it is.
    /// `friend` calls and is called, `peer` is matched by its address and called, `user` only calls. Friend when absent.
    #[serde(rename = "type")]
    kind: Kind = "type",
    /// A line about it, shown in lists.
    description: Text<80> = "description",
    /// Digest algorithms that it is challenged with (RFC 8760); as in `[general]` when absent.
    auth_algorithms: List<Algorithm, 3> = "auth_algorithms",
    /// What is not asked of requests from its address: the source `port`, credentials for an `invite`. Empty: nothing.
    insecure: ListOrNo<InsecureWord, 2> = "insecure",
    /// Networks that it may not come from; `permit` outweighs.
    deny: List<Network> = "deny",
    /// Networks that it may come from.
    permit: List<Network> = "permit",
    /// Names of lists of networks that are kept elsewhere. Not yet honoured.
    acl: List<Entry> = "acl",
    /// Networks that a contact it registers may not be in.
    contact_deny: List<Network> = "contactdeny",
    /// Networks that a contact it registers may be in.
    contact_permit: List<Network> = "contactpermit",
    /// Names of lists of networks for contacts. Not yet honoured.
    contact_acl: List<Entry> = "contactacl",
    /// Networks that media may not go to directly. Not yet honoured.
    direct_media_deny: List<Network> = "directmediadeny",
    /// Networks that media may go to directly. Not yet honoured.
    direct_media_permit: List<Network> = "directmediapermit",
    /// Names of lists of networks for direct media. Not yet honoured.
    direct_media_acl: List<Entry> = "directmediaacl",
    // Where it is.
    /// Where a peer is until it registers.
    default_ip: Address = "defaultip",
    /// User part of the URI at which it is called until it registers.
    default_user: Text = "defaultuser",
    /// Transports that it may use; the first is used towards a fixed host. All that listen when absent.
    transport: List<TransportWord, 5> = "transport",
    /// Proxy for what is sent to it: [TRANSPORT://]HOST[:PORT][,force].
    outbound_proxy: Text = "outboundproxy",
    /// How it is treated behind NAT. Empty: as if there were none.
    nat: ListOrNo<NatWord, 4> = "nat",
    /// Seconds between questions of `qualify` while it is there.
    qualify_freq: Int<1, 86_400> = "qualifyfreq",
    /// Seconds between empty packets that keep its way open; 0: none. Not yet honoured.
    keepalive: Int<0, 31_536_000> = "keepalive",
    /// Milliseconds of timer T1 (RFC 3261 §17.1.1.1).
    timer_t1: Int<200, 60_000> = "timert1",
    /// Milliseconds of timer B. Not yet honoured.
    timer_b: Int<200, 600_000> = "timerb",
    /// Max-Forwards of requests to it. Not yet honoured.
    max_forwards: Int<1, 255> = "maxforwards",
    /// Path (RFC 3327) is honoured.
    support_path: bool = "supportpath",
    /// Methods that are not sent to it. Not yet honoured.
    disallowed_methods: List<Entry> = "disallowed_methods",
    // Its registrations.
    /// How many contacts it may have; the oldest gives way to a new one.
    max_contacts: Int<1, 100> = "max_contacts",
    /// Extensions that exist while it is registered. Not yet honoured.
    reg_exten: Text = "regexten",
    /// We register with it, and this is the user part of our contact. Not yet honoured.
    callback_extension: Text = "callbackextension",
    // Its calls.
    /// Shown in lists, and no more. A call goes to the peer whose name is dialled.
    context: Text<80> = "context",
    /// Where its subscriptions are looked up. Not yet honoured.
    subscribe_context: Text<80> = "subscribecontext",
    /// Most calls at a time; 0: no limit.
    call_limit: Int<0, 1_000_000> = "call-limit",
    /// Its calls are counted without being limited.
    call_counter: bool = "callcounter",
    /// Calls from which on it counts as busy; 0: none. Not yet honoured.
    busy_level: Int<0, 1_000_000> = "busylevel",
    /// Seconds after which a call is ended; 0: never.
    max_call_duration: Int<0, 31_536_000> = "max_call_duration",
    /// Seconds that one contact rings before the next one is tried.
    ring_time: Int<1, 600> = "ring_time",
    /// Its caller identity: "Name" <number>.
    caller_id: Text = "callerid",
    /// Name of the caller identity.
    full_name: Text = "fullname",
    /// Number of the caller identity.
    cid_number: Text = "cid_number",
    /// Names a trunk, whose caller identity has no name of its own.
    trunk_name: Text = "trunkname",
    /// A tag on its caller identity. Not yet honoured.
    cid_tag: Text = "cid_tag",
    /// How its number may be shown. Not yet honoured.
    calling_pres: Presentation = "callingpres",
    /// User part of From towards it.
    from_user: Text = "fromuser",
    /// Host of From towards it, with a port if wanted.
    from_domain: Text = "fromdomain",
    /// Its Remote-Party-ID or P-Asserted-Identity is believed. Not yet honoured.
    trust_rpid: bool = "trustrpid",
    /// How identities are sent to it. `disabled` and `enabled` here and below are chan_sip's no and yes. Not yet honoured.
    send_rpid: Rpid = "sendrpid",
    /// A changed identity is sent during a call. Not yet honoured.
    rpid_update: bool = "rpid_update",
    /// A changed identity is sent at once. Not yet honoured.
    rpid_immediate: bool = "rpid_immediate",
    /// What becomes of an identity that may not be shown. Not yet honoured.
    trust_id_outbound: TrustId = "trust_id_outbound",
    /// `user=phone` is added to numbers. Not yet honoured.
    user_eq_phone: bool = "usereqphone",
    /// It may transfer calls. Not yet honoured.
    allow_transfer: bool = "allowtransfer",
    /// Digits after the INVITE. Not yet honoured.
    allow_overlap: OverlapWord = "allowoverlap",
    /// It may subscribe. Not yet honoured.
    allow_subscribe: bool = "allowsubscribe",
    /// It may redirect to another host. Not yet honoured.
    promisc_redir: bool = "promiscredir",
    /// A client code in INFO becomes the account code. Not yet honoured.
    use_client_code: bool = "useclientcode",
    /// Feature that `Record: on` starts. Not yet honoured.
    record_on_feature: Text = "recordonfeature",
    /// Feature that `Record: off` starts. Not yet honoured.
    record_off_feature: Text = "recordofffeature",
    /// Groups that it is called in. Not yet honoured.
    call_group: List<Int<0, 63>, 64> = "callgroup",
    /// Groups whose calls it may pick up. Not yet honoured.
    pickup_group: List<Int<0, 63>, 64> = "pickupgroup",
    /// Named groups that it is called in. Not yet honoured.
    named_call_group: List<Entry, 64> = "namedcallgroup",
    /// Named groups whose calls it may pick up. Not yet honoured.
    named_pickup_group: List<Entry, 64> = "namedpickupgroup",
    /// Variables of its calls. Not yet honoured.
    set_var: Variables = "setvar",
    /// Header fields of requests to it. Not yet honoured.
    header: Headers = "header",
    /// For billing. Not yet honoured.
    account_code: Text<80> = "accountcode",
    /// For billing. Not yet honoured.
    ama_flags: Ama = "amaflags",
    /// Session timers (RFC 4028). Not yet honoured.
    session_timers: Timers = "session-timers",
    /// Seconds of a session between refreshes. Not yet honoured.
    session_expires: Int<90, 86_400> = "session-expires",
    /// Least seconds of a session between refreshes. Not yet honoured.
    session_minse: Int<90, 86_400> = "session-minse",
    /// Who refreshes when it does not care. Not yet honoured.
    session_refresher: Refresher = "session-refresher",
    /// Reason (RFC 6432) carries a Q.850 cause. Not yet honoured.
    use_q850_reason: bool = "use_q850_reason",
    /// Advice of charge for snom phones. Not yet honoured.
    snom_aoc_enabled: bool = "snom_aoc_enabled",
    /// Seconds for which a call back on busy is offered. Not yet honoured.
    ccbs_available_timer: Int<0, 86_400> = "ccbs_available_timer",
    /// Seconds for which a call back on no reply is offered. Not yet honoured.
    ccnr_available_timer: Int<0, 86_400> = "ccnr_available_timer",
    /// Language of announcements. Not yet honoured.
    language: Text<20> = "language",
    /// Zone of tones. Not yet honoured.
    tone_zone: Text<20> = "tonezone",
    /// Where it parks calls. Not yet honoured.
    parking_lot: Text<80> = "parkinglot",
    /// Music that it hears on hold. Not yet honoured.
    moh_interpret: Text<80> = "mohinterpret",
    /// Music that it asks for. Not yet honoured.
    moh_suggest: Text<80> = "mohsuggest",
    // Its media.
    /// Codecs taken out, before `allow`; `all` for every one. Not yet honoured.
    disallow: List<Codec> = "disallow",
    /// Codecs in order of preference: alaw, or alaw:20 with its packet length. Not yet honoured.
    allow: List<Codec> = "allow",
    /// Where its RTP may come from before it is locked; `any` lets whoever guesses the port first be heard.
    rtp_source: Source = "rtpsource",
    /// Seconds without RTP after which a call is ended; 0: never.
    rtp_timeout: Int<0, 31_536_000> = "rtptimeout",
    /// Seconds without RTP on hold after which a call is ended; 0: never.
    rtp_hold_timeout: Int<0, 31_536_000> = "rtpholdtimeout",
    /// Seconds between RTP packets that keep the way open; 0: none. Not yet honoured.
    rtp_keepalive: Int<0, 31_536_000> = "rtpkeepalive",
    /// Whether media may go around the relay. Empty: never. Not yet honoured.
    direct_media: ListOrNo<DirectMediaWord, 4> = "directmedia",
    /// How keys are told. Not yet honoured.
    dtmf_mode: Dtmf = "dtmfmode",
    /// RTP events of old devices are mended. Not yet honoured.
    rfc2833_compensate: bool = "rfc2833compensate",
    /// Answers name one codec. Not yet honoured.
    preferred_codec_only: bool = "preferred_codec_only",
    /// The order of codecs in offers is not looked at. Not yet honoured.
    ignore_requested_pref: bool = "ignore_requested_pref",
    /// Packet lengths of offers are followed. Not yet honoured.
    auto_framing: bool = "autoframing",
    /// G.726 in the packing that some devices use. Not yet honoured.
    g726_nonstandard: bool = "g726nonstandard",
    /// Video. Not yet honoured.
    video_support: Video = "videosupport",
    /// Text (T.140). Not yet honoured.
    text_support: bool = "textsupport",
    /// Kilobits a second of video. Not yet honoured.
    max_call_bitrate: Int<0, 1_000_000> = "maxcallbitrate",
    /// Whether ringing is heard in band. Not yet honoured.
    progress_inband: Progress = "progressinband",
    /// Changed descriptions with the same version are read. Not yet honoured.
    ignore_sdp_version: bool = "ignoresdpversion",
    /// T.38, and how it corrects errors. Not yet honoured.
    t38pt_udptl: T38Word = "t38pt_udptl",
    /// T.38 goes to where RTP came from. Not yet honoured.
    t38pt_use_rtp_source: bool = "t38pt_usertpsource",
    /// How faxes are noticed. Not yet honoured.
    fax_detect: Fax = "faxdetect",
    /// Hold and retrieval are not passed on. Not yet honoured.
    discard_remote_hold_retrieval: bool = "discard_remote_hold_retrieval",
    /// Which engine carries RTP. Not yet honoured.
    rtp_engine: Text<20> = "rtp_engine",
    /// SRTP by SDES. Not yet honoured.
    encryption: bool = "encryption",
    /// Bits of the tag of SRTP. Not yet honoured.
    encryption_taglen: TagBits = "encryption_taglen",
    /// RTP/AVPF is used. Not yet honoured.
    avpf: bool = "avpf",
    /// RTP/AVP is written even with DTLS. Not yet honoured.
    force_avp: bool = "force_avp",
    /// RTCP on the port of RTP (RFC 5761). Not yet honoured.
    rtcp_mux: bool = "rtcp_mux",
    /// ICE (RFC 8445). Not yet honoured.
    ice_support: bool = "icesupport",
    /// SRTP by DTLS. Not yet honoured.
    dtls_enable: bool = "dtlsenable",
    /// Who connects. Not yet honoured.
    dtls_setup: DtlsRole = "dtlssetup",
    /// The digest of fingerprints. Not yet honoured.
    dtls_fingerprint: Digest = "dtlsfingerprint",
    /// What of its certificate is checked. Not yet honoured.
    dtls_verify: Text = "dtlsverify",
    /// Seconds between new keys. Not yet honoured.
    dtls_rekey: Int<0, 31_536_000> = "dtlsrekey",
    /// File of our certificate. Not yet honoured.
    dtls_cert_file: Text = "dtlscertfile",
    /// A certificate is made. Not yet honoured.
    dtls_auto_generate_cert: bool = "dtlsautogeneratecert",
    /// File of our key. Not yet honoured.
    dtls_private_key: Text = "dtlsprivatekey",
    /// Ciphers. Not yet honoured.
    dtls_cipher: Text = "dtlscipher",
    /// File of authorities. Not yet honoured.
    dtls_ca_file: Text = "dtlscafile",
    /// Folder of authorities. Not yet honoured.
    dtls_ca_path: Text = "dtlscapath",
    // Its mailboxes.
    /// Its mailboxes. Not yet honoured.
    mailbox: List<Entry> = "mailbox",
    /// It has a mailbox. Not yet honoured.
    has_voicemail: bool = "hasvoicemail",
    /// Messages are told to subscribers only. Not yet honoured.
    subscribe_mwi: bool = "subscribemwi",
    /// Extension of its mailbox. Not yet honoured.
    vm_exten: Text<80> = "vmexten",
    /// Mailbox that its own NOTIFY is about. Not yet honoured.
    unsolicited_mailbox: Text = "unsolicited_mailbox",
    /// User part of From of its messages waiting. Not yet honoured.
    mwi_from: Text = "mwi_from",
    /// Its messages waiting are written as old phones read them. Not yet honoured.
    buggy_mwi: bool = "buggymwi",
}

/// Credentials are merged by user and realm.
fn credentials(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
    let items = RealmCredentials::json_schema(generator);
    schemars::json_schema!({
        "type": "array",
        "items": items,
        "maxItems": 16,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["user", "realm"],
    })
}

/// The values of the Secrets that a peer names, by reference.
pub type Secrets = BTreeMap<SecretKey, Secret>;

impl SipPeer {
    /// Its SIP name.
    pub fn sip_name(&self) -> &str {
        self.spec.name.as_deref().or(self.metadata.name.as_deref()).unwrap_or_default()
    }
}

impl SipPeerSpec {
    /// It registers.
    pub fn is_dynamic(&self) -> bool {
        self.host.as_deref().is_none_or(|host| host.eq_ignore_ascii_case("dynamic"))
    }

    /// Anybody could register as it: it has neither a password nor networks that it may not come from. `acl` restricts
    /// nothing as long as it is not honoured, and `permit` alone nothing at all.
    pub fn is_open(&self) -> bool {
        let has_password = self.secret_ref.is_some() || self.md5_secret_ref.is_some();
        let is_denied = self.deny.as_ref().is_some_and(|networks| !networks.0.is_empty());
        self.is_dynamic() && !has_password && !is_denied
    }

    /// It has rules about where it may come from.
    pub fn has_acl(&self) -> bool {
        [&self.deny, &self.permit].into_iter().flatten().any(|list| !list.0.is_empty())
    }

    /// What `sip show peers` says of `nat` before it has registered: force_rport and comedia.
    pub fn nat_views(&self) -> Option<(NatView, NatView)> {
        let nat = NatSetting::parse(&self.nat.as_ref()?.text()?).ok()?;
        let view = |auto, on| match (auto, on) {
            (true, _) => NatView::AutoNo,
            (false, true) => NatView::Yes,
            (false, false) => NatView::No,
        };
        Some((view(nat.auto_force_rport, nat.force_rport), view(nat.auto_comedia, nat.comedia)))
    }

    /// The keys of Secrets that it names, each once.
    pub fn secret_keys(&self) -> Vec<&SecretKey> {
        let one = [&self.secret_ref, &self.md5_secret_ref, &self.remote_secret_ref];
        let mut keys: Vec<_> = one.into_iter().flatten().collect();
        keys.extend(self.auth.iter().map(|entry| &entry.secret_ref));
        keys.sort();
        keys.dedup();
        keys
    }

    /// The columns of the realtime peer. `secrets` holds every key of [`SipPeerSpec::secret_keys`]; one that is
    /// missing is left out, so whoever calls this looks first.
    pub fn columns(&self, secrets: &Secrets) -> BTreeMap<String, String> {
        let mut columns: BTreeMap<String, String> =
            self.single_columns().map(|(column, text)| (column.to_owned(), text)).collect();
        let mut put = |column: &str, text: Option<String>| {
            if let Some(text) = text {
                columns.insert(column.to_owned(), text);
            }
        };
        let value = |key: &Option<SecretKey>| {
            Some(secrets.get(key.as_ref()?)?.expose().to_owned()).filter(|v| !v.is_empty())
        };
        // Without `type` and `host` chan_sip would make a peer of no kind.
        put("type", Some(self.kind.as_ref().and_then(Column::text).unwrap_or_else(|| "friend".to_owned())));
        put("host", Some(self.host_column()));
        put("secret", value(&self.secret_ref));
        put("md5secret", value(&self.md5_secret_ref));
        put("remotesecret", value(&self.remote_secret_ref));
        put("auth", self.auth_column(secrets));
        put("qualify", self.qualify_column());
        if let Some(octets) = self.t38pt_max_datagram {
            let kind = self.t38pt_udptl.as_ref().and_then(Column::text).unwrap_or_else(|| "yes".to_owned());
            put("t38pt_udptl", Some(format!("{kind},maxdatagram={}", octets.0)));
        }
        for (name, value) in self.call_completion.iter().flat_map(|options| &options.0) {
            put(&format!("cc_{name}"), Some(value.clone()).filter(|value| !value.trim().is_empty()));
        }
        columns
    }

    /// `port` is a column that SIP writes, so the port of a fixed host goes with the host.
    fn host_column(&self) -> String {
        if self.is_dynamic() {
            return "dynamic".to_owned();
        }
        let host = self.host.as_deref().unwrap_or_default();
        match self.port {
            Some(port) if host.contains(':') => format!("[{host}]:{}", port.0),
            Some(port) => format!("{host}:{}", port.0),
            None => host.to_owned(),
        }
    }

    fn qualify_column(&self) -> Option<String> {
        match (self.qualify, self.qualify_limit) {
            (Some(false), _) => Some("no".to_owned()),
            (_, Some(limit)) => Some(limit.0.to_string()),
            (Some(true), None) => Some("yes".to_owned()),
            (None, None) => None,
        }
    }

    fn auth_column(&self, secrets: &Secrets) -> Option<String> {
        let entry = |entry: &RealmCredentials| {
            let mark = if entry.digest { '#' } else { ':' };
            Some(format!("{}{mark}{}@{}", entry.user, secrets.get(&entry.secret_ref)?.expose(), entry.realm))
        };
        let entries: Vec<String> = self.auth.iter().filter_map(entry).collect();
        (!entries.is_empty()).then(|| entries.join(";"))
    }

    /// What of the values of its Secrets cannot be written into a column.
    pub fn unusable_secret(&self, secrets: &Secrets) -> Option<String> {
        let is_bad = |value: &str| value.trim() != value || value.chars().any(char::is_control);
        for key in self.secret_keys() {
            if secrets.get(key).is_some_and(|value| is_bad(value.expose())) {
                return Some(format!(
                    "key {} of Secret {} holds control characters, or begins or ends with space (a line feed at its end?)",
                    key.key, key.name
                ));
            }
        }
        let in_auth = self
            .auth
            .iter()
            .find(|entry| secrets.get(&entry.secret_ref).is_some_and(|value| value.expose().contains(';')));
        in_auth.map(|entry| {
            format!(
                "key {} of Secret {} is used in auth and holds a semicolon",
                entry.secret_ref.key, entry.secret_ref.name
            )
        })
    }
}
