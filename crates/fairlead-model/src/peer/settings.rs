//! `[general]` of sip.conf as the registrar holds it.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use super::kinds::{AutoCreate, JitterBuffer, NotifyCid, NotifyRinging, RegisterClamp};
use super::{AuthEntry, General, Peer};
use crate::ask::LegPolicy;
use crate::flow::Transport;

/// All of `[general]`. What a peer takes from it where it says nothing itself stands in `defaults`.
#[derive(Clone, Debug, PartialEq)]
pub struct GeneralFull {
    /// What every peer starts from: the options that stand both in `[general]` and in peers.
    pub defaults: Peer,
    /// `udpbindaddr` (or `bindaddr`).
    pub udp_bind: Option<(IpAddr, Option<u16>)>,
    /// `bindport`: where `udpbindaddr` has no port.
    pub bind_port: Option<u16>,
    /// `tcpenable`
    pub tcp_enable: bool,
    /// `tcpbindaddr`
    pub tcp_bind: Option<(IpAddr, Option<u16>)>,
    /// `tlsenable`
    pub tls_enable: bool,
    /// `tlsbindaddr`
    pub tls_bind: Option<(IpAddr, Option<u16>)>,
    /// `rtpbindaddr`
    pub rtp_bind: Option<IpAddr>,
    /// `tcpauthtimeout`: seconds an unauthenticated connection may stay.
    pub tcp_auth_timeout: u32,
    /// `tcpauthlimit`: unauthenticated connections at once.
    pub tcp_auth_limit: u32,
    /// `realm`
    pub realm: String,
    /// `useragent`
    pub user_agent: String,
    /// `sdpsession`
    pub sdp_session: String,
    /// `sdpowner`
    pub sdp_owner: String,
    /// `maxexpiry`, seconds.
    pub max_expiry: u32,
    /// `minexpiry`, seconds.
    pub min_expiry: u32,
    /// `defaultexpiry`, seconds.
    pub default_expiry: u32,
    /// `submaxexpiry`, seconds; as `maxexpiry` when absent.
    pub sub_max_expiry: Option<u32>,
    /// `subminexpiry`, seconds; as `minexpiry` when absent.
    pub sub_min_expiry: Option<u32>,
    /// `mwiexpiry`, seconds.
    pub mwi_expiry: u32,
    /// `register_clamp` (ours).
    pub register_clamp: RegisterClamp,
    /// `auth_algorithms` (ours): strongest first, in RFC 8760's spelling.
    pub auth_algorithms: Vec<String>,
    /// `allowguest`
    pub allow_guest: bool,
    /// `alwaysauthreject`
    pub always_auth_reject: bool,
    /// `match_auth_username`
    pub match_auth_username: bool,
    /// `auth_options_requests`
    pub auth_options: bool,
    /// `auth_message_requests`
    pub auth_messages: bool,
    /// `accept_outofcall_message`
    pub accept_messages: bool,
    /// `autocreatepeer`
    pub auto_create: AutoCreate,
    /// `domain` lines: name and context.
    pub domains: Vec<(String, Option<String>)>,
    /// `autodomain`
    pub auto_domain: bool,
    /// `allowexternaldomains`
    pub allow_external_domains: bool,
    /// `domainsasrealm`
    pub domains_as_realm: bool,
    /// Entries of `[authentication]`.
    pub auth: Vec<AuthEntry>,
    /// `register =>` lines as written; they hold secrets.
    pub registrations: Vec<super::Secret>,
    /// `mwi =>` lines as written; they hold secrets.
    pub mwi: Vec<super::Secret>,
    /// `registertimeout`, seconds.
    pub register_timeout: u32,
    /// `registerattempts`; 0 for ever.
    pub register_attempts: u32,
    /// `register_retry_403`
    pub register_retry_403: bool,
    /// `qualifygap`, milliseconds.
    pub qualify_gap_ms: u32,
    /// `qualifypeers`
    pub qualify_peers: u32,
    /// `t1min`, milliseconds.
    pub t1_min_ms: u32,
    /// `rtcachefriends`: realtime peers stay in the registrars' memory until pruned.
    pub rt_cache_friends: bool,
    /// `rtupdate`
    pub rt_update: bool,
    /// `rtsavesysname`
    pub rt_save_sysname: bool,
    /// `rtsavepath`
    pub rt_save_path: bool,
    /// `rtautoclear`, seconds; 0 off.
    pub rt_auto_clear: u32,
    /// `ignoreregexpire`
    pub ignore_reg_expire: bool,
    /// `localnet`
    pub local_nets: Vec<IpNet>,
    /// `externaddr`
    pub extern_addr: Option<(String, Option<u16>)>,
    /// `externhost`
    pub extern_host: Option<(String, Option<u16>)>,
    /// `externrefresh`, seconds.
    pub extern_refresh: u32,
    /// `externtcpport`
    pub extern_tcp_port: Option<u16>,
    /// `externtlsport`
    pub extern_tls_port: Option<u16>,
    /// `matchexternaddrlocally`
    pub match_extern_locally: bool,
    /// `media_address`
    pub media_address: Option<IpAddr>,
    /// `srvlookup`
    pub srv_lookup: bool,
    /// `pedantic`
    pub pedantic: bool,
    /// `compactheaders`
    pub compact_headers: bool,
    /// `shrinkcallerid`
    pub shrink_caller_id: bool,
    /// `legacy_useroption_parsing`
    pub legacy_user_options: bool,
    /// `dynamic_exclude_static`
    pub dynamic_exclude_static: bool,
    /// `websocket_enabled`
    pub websocket: bool,
    /// `websocket_write_timeout`, milliseconds.
    pub websocket_write_timeout_ms: u32,
    /// `callerid`: From user where nobody has one.
    pub caller_id: String,
    /// `outofcall_message_context`
    pub message_context: Option<String>,
    /// `regcontext`
    pub reg_context: Option<String>,
    /// `regextenonqualify`
    pub regexten_on_qualify: bool,
    /// `notifyringing`
    pub notify_ringing: NotifyRinging,
    /// `notifyhold`
    pub notify_hold: bool,
    /// `notifycid`
    pub notify_cid: NotifyCid,
    /// `notifymimetype`
    pub notify_mime_type: String,
    /// `directrtpsetup`
    pub direct_rtp_setup: bool,
    /// `prematuremedia`
    pub premature_media: bool,
    /// `relaxdtmf`
    pub relax_dtmf: bool,
    /// `send_diversion`
    pub send_diversion: bool,
    /// `authfailureevents`
    pub auth_failure_events: bool,
    /// `storesipcause`
    pub store_sip_cause: bool,
    /// `refer_addheaders`
    pub refer_add_headers: bool,
    /// `sipdebug`
    pub sip_debug: bool,
    /// `recordhistory`
    pub record_history: bool,
    /// `dumphistory`
    pub dump_history: bool,
    /// `tos_sip`, `tos_audio`, `tos_video`, `tos_text`: DSCP in the upper six bits.
    pub tos: [u8; 4],
    /// `cos_sip`, `cos_audio`, `cos_video`, `cos_text`
    pub cos: [u8; 4],
    /// `jbenable`, `jbforce`
    pub jitter_buffer: (bool, bool),
    /// `jbmaxsize`, `jbresyncthreshold`, `jbtargetextra`, milliseconds.
    pub jitter_sizes_ms: (u32, u32, u32),
    /// `jbimpl`
    pub jitter_kind: JitterBuffer,
    /// `jblog`
    pub jitter_log: bool,
    /// `tls…` options as written, by name without `tls`.
    pub tls: Vec<(String, String)>,
}

impl Default for GeneralFull {
    fn default() -> Self {
        GeneralFull {
            defaults: Peer::default(),
            udp_bind: None,
            bind_port: None,
            tcp_enable: false,
            tcp_bind: None,
            tls_enable: false,
            tls_bind: None,
            rtp_bind: None,
            tcp_auth_timeout: 30,
            tcp_auth_limit: 100,
            realm: "asterisk".to_owned(),
            user_agent: General::default().user_agent,
            sdp_session: "Fairlead".to_owned(),
            sdp_owner: "-".to_owned(),
            max_expiry: 3600,
            min_expiry: 60,
            default_expiry: 120,
            sub_max_expiry: None,
            sub_min_expiry: None,
            mwi_expiry: 3600,
            register_clamp: RegisterClamp::default(),
            auth_algorithms: vec!["MD5".to_owned()],
            allow_guest: true,
            always_auth_reject: true,
            match_auth_username: false,
            auth_options: false,
            auth_messages: true,
            accept_messages: true,
            auto_create: AutoCreate::default(),
            domains: Vec::new(),
            auto_domain: false,
            allow_external_domains: true,
            domains_as_realm: false,
            auth: Vec::new(),
            registrations: Vec::new(),
            mwi: Vec::new(),
            register_timeout: 20,
            register_attempts: 0,
            register_retry_403: false,
            qualify_gap_ms: 100,
            qualify_peers: 1,
            t1_min_ms: 100,
            rt_cache_friends: false,
            rt_update: true,
            rt_save_sysname: false,
            rt_save_path: false,
            rt_auto_clear: 0,
            ignore_reg_expire: false,
            local_nets: Vec::new(),
            extern_addr: None,
            extern_host: None,
            extern_refresh: 10,
            extern_tcp_port: None,
            extern_tls_port: None,
            match_extern_locally: false,
            media_address: None,
            srv_lookup: true,
            pedantic: true,
            compact_headers: false,
            shrink_caller_id: true,
            legacy_user_options: false,
            dynamic_exclude_static: false,
            websocket: true,
            websocket_write_timeout_ms: 100,
            caller_id: "asterisk".to_owned(),
            message_context: None,
            reg_context: None,
            regexten_on_qualify: false,
            notify_ringing: NotifyRinging::default(),
            notify_hold: false,
            notify_cid: NotifyCid::default(),
            notify_mime_type: "application/simple-message-summary".to_owned(),
            direct_rtp_setup: false,
            premature_media: true,
            relax_dtmf: false,
            send_diversion: true,
            auth_failure_events: false,
            store_sip_cause: false,
            refer_add_headers: true,
            sip_debug: false,
            record_history: false,
            dump_history: false,
            tos: [0; 4],
            cos: [4, 5, 6, 5],
            jitter_buffer: (false, false),
            jitter_sizes_ms: (200, 1000, 40),
            jitter_kind: JitterBuffer::default(),
            jitter_log: false,
            tls: Vec::new(),
        }
    }
}

/// A SIP listener that `[general]` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listener {
    /// The transport.
    pub transport: Transport,
    /// Where it binds.
    pub bind: SocketAddr,
}

impl GeneralFull {
    /// The part that reaches signaling: no secret is in it.
    pub fn general(&self) -> General {
        General {
            realm: self.realm.clone(),
            user_agent: self.user_agent.clone(),
            auth_algorithms: self.auth_algorithms.clone(),
            t1_min_ms: self.t1_min_ms,
            t1_ms: self.defaults.t1_ms,
            timer_b_ms: self.defaults.timer_b_ms.unwrap_or_else(|| self.defaults.t1_ms.saturating_mul(64)),
            nat: self.defaults.nat,
            max_forwards: self.defaults.max_forwards,
            auth_options: self.auth_options,
            tcp_auth_timeout: self.tcp_auth_timeout,
            tcp_auth_limit: self.tcp_auth_limit,
            sdp_session: self.sdp_session.clone(),
            sdp_owner: self.sdp_owner.clone(),
        }
    }

    /// The listeners asked for: UDP always, TCP and TLS when enabled. `bindport` moves only UDP, and TCP where
    /// `tcpbindaddr` is absent (it then takes UDP's address), as in chan_sip.
    pub fn listeners(&self) -> Vec<Listener> {
        let (udp_ip, udp_port) = self.udp_bind.unwrap_or((IpAddr::from([0, 0, 0, 0]), None));
        let udp_port = udp_port.or(self.bind_port).unwrap_or(5060);
        let mut listeners =
            vec![Listener { transport: Transport::Udp, bind: SocketAddr::new(udp_ip, udp_port) }];
        if self.tcp_enable {
            let (ip, port) = self.tcp_bind.unwrap_or((udp_ip, Some(udp_port)));
            let bind = SocketAddr::new(ip, port.unwrap_or(5060));
            listeners.push(Listener { transport: Transport::Tcp, bind });
        }
        if self.tls_enable {
            let (ip, port) = self.tls_bind.unwrap_or((udp_ip, None));
            let bind = SocketAddr::new(ip, port.unwrap_or(5061));
            listeners.push(Listener { transport: Transport::Tls, bind });
        }
        listeners
    }

    /// How a caller whom no peer matches is treated (`allowguest`).
    pub fn guest_policy(&self, via_differs: bool, transport: Transport) -> LegPolicy {
        let nat = self.defaults.nat.effective(via_differs, transport);
        LegPolicy { peer: None, answers_challenges: false, uncounted: true, ..self.defaults.leg_policy(nat) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(general: &GeneralFull) -> Vec<String> {
        let listeners = general.listeners();
        listeners.iter().map(|listener| format!("{}:{}", listener.transport, listener.bind)).collect()
    }

    #[test]
    fn without_a_word_there_is_udp_on_5060() {
        assert_eq!(addresses(&GeneralFull::default()), ["udp:0.0.0.0:5060"]);
    }

    #[test]
    fn tcp_takes_the_address_of_udp_unless_it_has_its_own() {
        let mut general = GeneralFull { tcp_enable: true, bind_port: Some(5070), ..GeneralFull::default() };
        general.udp_bind = Some((IpAddr::from([192, 0, 2, 1]), None));
        assert_eq!(addresses(&general), ["udp:192.0.2.1:5070", "tcp:192.0.2.1:5070"]);
        general.tcp_bind = Some(("::".parse().unwrap(), None));
        assert_eq!(addresses(&general), ["udp:192.0.2.1:5070", "tcp:[::]:5060"]);
    }

    #[test]
    fn a_port_in_the_address_outweighs_bindport() {
        let general = GeneralFull {
            udp_bind: Some((IpAddr::from([0, 0, 0, 0]), Some(5090))),
            bind_port: Some(5070),
            ..GeneralFull::default()
        };
        assert_eq!(addresses(&general), ["udp:0.0.0.0:5090"]);
    }
}
