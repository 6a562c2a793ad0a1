//! The options of `[general]` that no peer has.

use super::Honoured::{Never, NotYet, Only, Yes};
use super::OptionOf;
use super::peer::{algorithms, auth_entry};
use crate::peer::acl::network;
use crate::peer::kinds::{AutoCreate, JitterBuffer, NotifyCid, NotifyRinging, RegisterClamp};
use crate::peer::value::{BadValue, boolean, host_port, ip, ip_port, number, port};
use crate::peer::{GeneralFull, Secret};

type Opt = OptionOf<GeneralFull>;

const NO: super::Honoured = Only(&["no"]);
const YES: super::Honoured = Only(&["yes"]);

/// Sets a field from a reader of its type.
macro_rules! field {
    ($($path:tt).+ = $read:expr) => {
        |general, _, value| {
            general.$($path).+ = $read(value)?;
            Ok(())
        }
    };
}

/// Sets a field that may be absent.
macro_rules! some {
    ($field:ident = $read:expr) => {
        |general, _, value| {
            general.$field = Some($read(value)?);
            Ok(())
        }
    };
}

/// Every option of `[general]` that is not also a peer's.
pub static GENERAL_OPTIONS: &[Opt] = &[
    // Where it listens.
    Opt::new("udpbindaddr", Yes, some!(udp_bind = ip_port)),
    Opt::new("bindaddr", Yes, some!(udp_bind = ip_port)),
    Opt::new("bindport", Yes, some!(bind_port = port)),
    Opt::new("tcpenable", Yes, field!(tcp_enable = boolean)),
    Opt::new("tcpbindaddr", Yes, some!(tcp_bind = ip_port)),
    Opt::new("tlsenable", NO, field!(tls_enable = boolean)),
    Opt::new("tlsbindaddr", NotYet, some!(tls_bind = ip_port)),
    Opt::new("rtpbindaddr", NotYet, some!(rtp_bind = ip)),
    Opt::new("websocket_enabled", NO, field!(websocket = boolean)),
    Opt::new(
        "websocket_write_timeout",
        NotYet,
        field!(websocket_write_timeout_ms = |v| number(v, 1, 60_000)),
    ),
    Opt::new("tcpauthtimeout", NotYet, field!(tcp_auth_timeout = |v| number(v, 1, 86_400))),
    Opt::new("tcpauthlimit", NotYet, field!(tcp_auth_limit = |v| number(v, 1, 1_000_000))),
    Opt::new("tlsverifyclient", Never, |_, _, _| Ok(())),
    Opt::new("tls*", NotYet, |general, key, value| {
        general.tls.retain(|(known, _)| known != key);
        general.tls.push((key.to_owned(), value.to_owned()));
        Ok(())
    }),
    // Who it says it is.
    Opt::new("realm", Yes, field!(realm = not_empty)),
    Opt::new("useragent", Yes, field!(user_agent = not_empty)),
    Opt::new("sdpsession", NotYet, field!(sdp_session = not_empty)),
    Opt::new("sdpowner", NotYet, field!(sdp_owner = one_word)),
    Opt::new("callerid", NotYet, field!(caller_id = not_empty)),
    Opt::new("externaddr", NotYet, some!(extern_addr = host_port)).also(&["externip"]),
    Opt::new("externhost", NotYet, some!(extern_host = host_port)),
    Opt::new("externrefresh", NotYet, field!(extern_refresh = |v| number(v, 1, 86_400))),
    Opt::new("externtcpport", NotYet, some!(extern_tcp_port = port)),
    Opt::new("externtlsport", NotYet, some!(extern_tls_port = port)),
    Opt::new("localnet", NotYet, |general, _, value| {
        let net = network(value).ok_or_else(|| BadValue::new("ADDRESS/BITS or ADDRESS/MASK"))?;
        general.local_nets.push(net);
        Ok(())
    })
    .adds_up(),
    Opt::new("matchexternaddrlocally", NotYet, field!(match_extern_locally = boolean))
        .also(&["matchexterniplocally"]),
    Opt::new("media_address", NotYet, some!(media_address = ip)),
    Opt::new("srvlookup", NO, field!(srv_lookup = boolean)),
    // Who comes in.
    Opt::new("allowguest", Yes, field!(allow_guest = boolean)),
    Opt::new("alwaysauthreject", YES, field!(always_auth_reject = boolean)),
    Opt::new("match_auth_username", Yes, field!(match_auth_username = boolean)),
    Opt::new("auth_algorithms", Yes, field!(auth_algorithms = algorithms)),
    Opt::new("auth_options_requests", NO, field!(auth_options = boolean)),
    Opt::new("auth_message_requests", NotYet, field!(auth_messages = boolean)),
    Opt::new("accept_outofcall_message", NO, field!(accept_messages = boolean)),
    Opt::new("outofcall_message_context", NotYet, |general, _, value| {
        general.message_context = Some(value.to_owned());
        Ok(())
    }),
    Opt::new("autocreatepeer", NO, field!(auto_create = AutoCreate::parse)),
    Opt::new("domain", Yes, |general, _, value| {
        let (name, context) = match value.split_once(',') {
            Some((name, context)) => (name.trim(), Some(context.trim().to_owned())),
            None => (value.trim(), None),
        };
        if name.is_empty() {
            return Err(BadValue::new("DOMAIN[,CONTEXT]"));
        }
        general.domains.push((name.to_owned(), context));
        Ok(())
    })
    .adds_up(),
    Opt::new("autodomain", NO, field!(auto_domain = boolean)),
    Opt::new("allowexternaldomains", YES, field!(allow_external_domains = boolean)),
    Opt::new("domainsasrealm", NO, field!(domains_as_realm = boolean)),
    Opt::new("dynamic_exclude_static", NO, field!(dynamic_exclude_static = boolean))
        .also(&["dynamic_excludes_static"]),
    Opt::new("auth", NotYet, |general, _, value| {
        general.auth.push(auth_entry(value)?);
        Ok(())
    })
    .adds_up()
    .secret(),
    // Registrations.
    Opt::new("maxexpiry", Yes, field!(max_expiry = seconds)).also(&["maxexpirey"]),
    Opt::new("minexpiry", Yes, field!(min_expiry = seconds)).also(&["minexpirey"]),
    Opt::new("defaultexpiry", Yes, field!(default_expiry = seconds)).also(&["defaultexpirey"]),
    Opt::new("register_clamp", Yes, field!(register_clamp = RegisterClamp::parse)),
    Opt::new("submaxexpiry", NotYet, some!(sub_max_expiry = seconds)).also(&["submaxexpirey"]),
    Opt::new("subminexpiry", NotYet, some!(sub_min_expiry = seconds)).also(&["subminexpirey"]),
    Opt::new("mwiexpiry", NotYet, field!(mwi_expiry = seconds)).also(&["mwiexpirey"]),
    Opt::new("register", NotYet, |general, _, value| {
        general.registrations.push(Secret::new(value));
        Ok(())
    })
    .adds_up()
    .secret(),
    Opt::new("mwi", NotYet, |general, _, value| {
        general.mwi.push(Secret::new(value));
        Ok(())
    })
    .adds_up()
    .secret(),
    Opt::new("registertimeout", NotYet, field!(register_timeout = seconds)),
    Opt::new("registerattempts", NotYet, field!(register_attempts = |v| number(v, 0, 1_000_000))),
    Opt::new("register_retry_403", NotYet, field!(register_retry_403 = boolean)),
    Opt::new("regcontext", NotYet, |general, _, value| {
        general.reg_context = Some(value.to_owned());
        Ok(())
    }),
    Opt::new("regextenonqualify", NO, field!(regexten_on_qualify = boolean)),
    Opt::new("qualifygap", NotYet, field!(qualify_gap_ms = |v| number(v, 0, 3_600_000))),
    Opt::new("qualifypeers", NotYet, field!(qualify_peers = |v| number(v, 1, 1_000_000))),
    // Timers.
    Opt::new("t1min", Yes, field!(t1_min_ms = |v| number(v, 1, 60_000))),
    Opt::new("timerb", Yes, |general, _, value| {
        general.defaults.timer_b_ms = Some(number(value, 200, 600_000)?);
        Ok(())
    }),
    // Realtime.
    Opt::new("rtcachefriends", YES, field!(rt_cache_friends = boolean)),
    Opt::new("rtupdate", Yes, field!(rt_update = boolean)),
    Opt::new("rtsavesysname", Yes, field!(rt_save_sysname = boolean)),
    Opt::new("rtsavepath", Yes, field!(rt_save_path = boolean)),
    Opt::new("rtautoclear", NO, |general, _, value| {
        general.rt_auto_clear = match boolean(value) {
            Ok(true) if value != "1" => 120,
            Ok(false) => 0,
            _ => number(value, 1, 31_536_000).map_err(|_| BadValue::new("yes (120 s), no, or seconds"))?,
        };
        Ok(())
    }),
    Opt::new("ignoreregexpire", NO, field!(ignore_reg_expire = boolean)),
    // How it writes and reads.
    Opt::new("pedantic", YES, field!(pedantic = boolean)),
    Opt::new("compactheaders", NO, field!(compact_headers = boolean)),
    Opt::new("shrinkcallerid", NotYet, field!(shrink_caller_id = boolean)),
    Opt::new("legacy_useroption_parsing", NO, field!(legacy_user_options = boolean)),
    Opt::new("subscribe_network_change_event", NO, |_, _, value| boolean(value).map(drop)),
    Opt::new("send_diversion", NotYet, field!(send_diversion = boolean)),
    Opt::new("refer_addheaders", NotYet, field!(refer_add_headers = boolean)),
    Opt::new("storesipcause", NO, field!(store_sip_cause = boolean)),
    Opt::new("authfailureevents", NO, field!(auth_failure_events = boolean)),
    Opt::new("notifyringing", NotYet, field!(notify_ringing = NotifyRinging::parse)),
    Opt::new("notifyhold", NO, field!(notify_hold = boolean)),
    Opt::new("notifycid", NO, field!(notify_cid = NotifyCid::parse)),
    Opt::new("notifymimetype", NotYet, field!(notify_mime_type = not_empty)),
    Opt::new("sipdebug", NO, field!(sip_debug = boolean)),
    Opt::new("recordhistory", NO, field!(record_history = boolean)),
    Opt::new("dumphistory", NO, field!(dump_history = boolean)),
    // Media.
    Opt::new("directrtpsetup", NO, field!(direct_rtp_setup = boolean)),
    Opt::new("prematuremedia", NotYet, field!(premature_media = boolean)),
    Opt::new("relaxdtmf", NO, field!(relax_dtmf = boolean)),
    Opt::new("tos_sip", NotYet, |general, _, value| dscp(&mut general.tos, 0, value)),
    Opt::new("tos_audio", NotYet, |general, _, value| dscp(&mut general.tos, 1, value)),
    Opt::new("tos_video", NotYet, |general, _, value| dscp(&mut general.tos, 2, value)),
    Opt::new("tos_text", NotYet, |general, _, value| dscp(&mut general.tos, 3, value)),
    Opt::new("cos_sip", NotYet, |general, _, value| cos(&mut general.cos, 0, value)),
    Opt::new("cos_audio", NotYet, |general, _, value| cos(&mut general.cos, 1, value)),
    Opt::new("cos_video", NotYet, |general, _, value| cos(&mut general.cos, 2, value)),
    Opt::new("cos_text", NotYet, |general, _, value| cos(&mut general.cos, 3, value)),
    Opt::new("jbenable", NO, field!(jitter_buffer.0 = boolean)),
    Opt::new("jbforce", NO, field!(jitter_buffer.1 = boolean)),
    Opt::new("jbmaxsize", NotYet, field!(jitter_sizes_ms.0 = |v| number(v, 0, 60_000))),
    Opt::new("jbresyncthreshold", NotYet, field!(jitter_sizes_ms.1 = |v| number(v, 0, 60_000))),
    Opt::new("jbtargetextra", NotYet, field!(jitter_sizes_ms.2 = |v| number(v, 0, 60_000))),
    Opt::new("jbimpl", NotYet, field!(jitter_kind = JitterBuffer::parse)),
    Opt::new("jblog", NO, field!(jitter_log = boolean)),
];

fn seconds(value: &str) -> Result<u32, BadValue> {
    number(value, 1, 31_536_000).map_err(|_| BadValue::new("seconds from 1 to 31536000"))
}

fn not_empty(value: &str) -> Result<String, BadValue> {
    if value.is_empty() { Err(BadValue::new("some text")) } else { Ok(value.to_owned()) }
}

fn one_word(value: &str) -> Result<String, BadValue> {
    match value.contains(char::is_whitespace) || value.is_empty() {
        true => Err(BadValue::new("one word")),
        false => Ok(value.to_owned()),
    }
}

/// A DSCP by name or the whole octet by number.
fn dscp(tos: &mut [u8; 4], index: usize, value: &str) -> Result<(), BadValue> {
    let wrong = || BadValue::new("cs0 to cs7, af11 to af43, ef, or a number from 0 to 255");
    let word = value.to_ascii_lowercase();
    let digits: Vec<u8> = word.bytes().filter(u8::is_ascii_digit).map(|b| b - b'0').collect();
    let octet = match (word.as_str(), digits.as_slice()) {
        ("ef", _) => 46 << 2,
        (w, [class @ 0..=7]) if w.len() == 3 && w.starts_with("cs") => class << 5,
        (w, [class @ 1..=4, drop @ 1..=3]) if w.len() == 4 && w.starts_with("af") => {
            (class * 8 + drop * 2) << 2
        }
        _ => match word.strip_prefix("0x") {
            Some(hex) => u8::from_str_radix(hex, 16).map_err(|_| wrong())?,
            None => word.parse().map_err(|_| wrong())?,
        },
    };
    if let Some(slot) = tos.get_mut(index) {
        *slot = octet;
    }
    Ok(())
}

fn cos(cos: &mut [u8; 4], index: usize, value: &str) -> Result<(), BadValue> {
    let class = u8::try_from(number(value, 0, 7)?).unwrap_or_default();
    if let Some(slot) = cos.get_mut(index) {
        *slot = class;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{Remark, set_general};
    use super::*;

    #[test]
    fn dscp_has_names() {
        let mut tos = [0; 4];
        for (value, octet) in [("ef", 184), ("cs3", 96), ("af41", 136), ("0x10", 16), ("24", 24)] {
            dscp(&mut tos, 1, value).unwrap();
            assert_eq!(tos[1], octet, "{value}");
        }
        assert!(dscp(&mut tos, 1, "af51").is_err());
    }

    #[test]
    fn registrations_are_kept_as_secrets_and_not_printed() {
        let mut general = GeneralFull::default();
        let remarks = set_general(&mut general, "register", "ann:hush@trunk.example.com");
        assert_eq!(remarks, [Remark::NotYet { option: "register".to_owned() }]);
        assert!(!format!("{general:?}").contains("hush"));
        assert_eq!(general.registrations.len(), 1);
    }

    #[test]
    fn options_of_one_beginning_are_kept_by_name() {
        let mut general = GeneralFull::default();
        set_general(&mut general, "tlscertfile", "/a.pem");
        set_general(&mut general, "TLSCertFile", "/b.pem");
        assert_eq!(general.tls, [("tlscertfile".to_owned(), "/b.pem".to_owned())]);
        let never = set_general(&mut general, "tlsverifyclient", "yes");
        assert_eq!(never, [Remark::Never { option: "tlsverifyclient".to_owned() }]);
    }
}
