//! The options of a peer. Those marked `general_too` may stand in `[general]`, for all.

use std::net::IpAddr;

use super::Honoured::{Never, NotYet, Only, Yes};
use super::OptionOf;
use crate::flow::Transport;
use crate::peer::kinds::{
    AmaFlags, CallingPres, DirectMedia, DtlsSetup, DtmfMode, FaxDetect, Fingerprint, Overlap, ProgressInband,
    SendRpid, SessionRefresher, SessionTimers, T38, TagLength, TrustIdOutbound, VideoSupport, qualify,
};
use crate::peer::value::{BadValue, boolean, caller_id, groups, host_port, ip, list, number, port};
use crate::peer::{AuthEntry, Host, Insecure, NatSetting, OutboundProxy, Peer, PeerType, RtpSource, Secret};

type Opt = OptionOf<Peer>;

const NO: super::Honoured = Only(&["no"]);

/// Sets a field from a reader of its type.
macro_rules! field {
    ($($path:tt).+ = $read:expr) => {
        |peer, _, value| {
            peer.$($path).+ = $read(value)?;
            Ok(())
        }
    };
}

/// Sets a text field.
macro_rules! text {
    ($($path:tt).+) => {
        |peer, _, value| {
            peer.$($path).+ = value.to_owned();
            Ok(())
        }
    };
}

/// Sets a field of text that may be absent; an empty value takes it away.
macro_rules! some_text {
    ($($path:tt).+) => {
        |peer, _, value| {
            peer.$($path).+ = (!value.is_empty()).then(|| value.to_owned());
            Ok(())
        }
    };
}

/// Adds to a list.
macro_rules! add {
    ($($path:tt).+ += $read:expr) => {
        |peer, _, value| {
            peer.$($path).+.extend($read(value)?);
            Ok(())
        }
    };
}

/// Sets a secret; an empty value takes it away.
macro_rules! secret {
    ($field:ident) => {
        |peer, _, value| {
            peer.$field = (!value.is_empty()).then(|| Secret::new(value));
            Ok(())
        }
    };
}

/// Every option of a peer.
pub static PEER_OPTIONS: &[Opt] = &[
    // Who it is.
    Opt::new("type", Yes, field!(kind = PeerType::parse)),
    Opt::new("description", Yes, text!(description)),
    Opt::new("secret", Yes, secret!(secret)).secret(),
    Opt::new("md5secret", Yes, |peer, _, value| {
        let is_digest = value.len() == 32 && value.bytes().all(|b| b.is_ascii_hexdigit());
        if !is_digest && !value.is_empty() {
            return Err(BadValue::new("32 hexadecimal digits: the MD5 of NAME:REALM:PASSWORD"));
        }
        peer.md5_secret = is_digest.then(|| Secret::new(value.to_ascii_lowercase()));
        Ok(())
    })
    .secret(),
    Opt::new("remotesecret", Yes, secret!(remote_secret)).secret(),
    Opt::new("auth", Yes, |peer, _, value| {
        peer.auth.push(auth_entry(value)?);
        Ok(())
    })
    .adds_up()
    .secret(),
    Opt::new("auth_algorithms", Yes, field!(auth_algorithms = algorithms)),
    Opt::new("insecure", Yes, field!(insecure = Insecure::parse)).general_too(),
    Opt::new("deny", Yes, |peer, _, value| peer.acl.add(false, value)).adds_up(),
    Opt::new("permit", Yes, |peer, _, value| peer.acl.add(true, value)).adds_up(),
    Opt::new("acl", NotYet, add!(acl_names += words)).adds_up(),
    Opt::new("contactdeny", Yes, |peer, _, value| peer.contact_acl.add(false, value)).general_too().adds_up(),
    Opt::new("contactpermit", Yes, |peer, _, value| peer.contact_acl.add(true, value))
        .general_too()
        .adds_up(),
    Opt::new("contactacl", NotYet, add!(contact_acl_names += words)).general_too().adds_up(),
    Opt::new("directmediadeny", NotYet, |peer, _, value| peer.direct_media_acl.add(false, value)).adds_up(),
    Opt::new("directmediapermit", NotYet, |peer, _, value| peer.direct_media_acl.add(true, value)).adds_up(),
    Opt::new("directmediaacl", NotYet, add!(direct_media_acl_names += words)).adds_up(),
    // Where it is.
    Opt::new("host", Yes, |peer, _, value| {
        peer.host = if value.eq_ignore_ascii_case("dynamic") {
            Host::Dynamic
        } else {
            let (host, port) =
                host_port(value).map_err(|_| BadValue::new("dynamic, or a host name or IP address"))?;
            peer.port = port.or(peer.port);
            Host::Static(host)
        };
        Ok(())
    }),
    Opt::new("port", Yes, |peer, _, value| {
        peer.port = Some(port(value)?);
        Ok(())
    }),
    Opt::new("defaultip", Yes, |peer, _, value| {
        peer.default_ip = Some(ip(value).map(|ip: IpAddr| ip.to_canonical())?);
        Ok(())
    }),
    Opt::new("defaultuser", Yes, some_text!(default_user)).also(&["username"]),
    Opt::new("transport", Yes, field!(transports = transports)).general_too(),
    Opt::new("outboundproxy", Yes, field!(outbound_proxy = outbound_proxy)).general_too(),
    Opt::new("nat", Yes, field!(nat = NatSetting::parse)).general_too(),
    Opt::new("qualify", Yes, field!(qualify_ms = qualify)).general_too(),
    Opt::new("qualifyfreq", Yes, field!(qualify_freq = |v| number(v, 1, 86_400))).general_too(),
    Opt::new("keepalive", NotYet, |peer, _, value| {
        peer.keepalive = if value.eq_ignore_ascii_case("yes") { 60 } else { seconds_or_no(value)? };
        Ok(())
    })
    .general_too(),
    Opt::new("timert1", Yes, field!(t1_ms = |v| number(v, 200, 60_000))).general_too(),
    Opt::new("timerb", NotYet, |peer, _, value| {
        peer.timer_b_ms = Some(number(value, 200, 600_000)?);
        Ok(())
    }),
    Opt::new("maxforwards", NotYet, |peer, _, value| {
        peer.max_forwards = u8::try_from(number(value, 1, 255)?).unwrap_or(u8::MAX);
        Ok(())
    })
    .general_too(),
    Opt::new("supportpath", Yes, field!(support_path = boolean)).general_too(),
    Opt::new("disallowed_methods", NotYet, field!(disallowed_methods = words)).general_too(),
    // Its registrations.
    Opt::new("max_contacts", Yes, |peer, _, value| {
        peer.max_contacts = u16::try_from(number(value, 1, 100)?).unwrap_or(1);
        Ok(())
    })
    .general_too(),
    Opt::new("regexten", NotYet, some_text!(regexten)),
    Opt::new("callbackextension", NotYet, some_text!(callback_extension)),
    // Its calls.
    Opt::new("context", Yes, text!(context)).general_too(),
    Opt::new("subscribecontext", NotYet, some_text!(subscribe_context)).general_too(),
    Opt::new("call-limit", Yes, field!(call_limit = |v| number(v, 0, 1_000_000))).also(&["incominglimit"]),
    Opt::new("callcounter", Yes, field!(call_counter = boolean)).general_too(),
    Opt::new("busylevel", NotYet, field!(busy_level = |v| number(v, 0, 1_000_000))),
    Opt::new("max_call_duration", Yes, field!(max_call_duration = seconds_or_no)).general_too(),
    Opt::new("ring_time", Yes, field!(ring_time = |v| number(v, 1, 600))).general_too(),
    Opt::new("callerid", Yes, |peer, _, value| {
        (peer.caller_name, peer.caller_number) = caller_id(value);
        Ok(())
    }),
    Opt::new("fullname", Yes, text!(caller_name)),
    Opt::new("cid_number", Yes, text!(caller_number)),
    Opt::new("trunkname", Yes, |peer, _, _| {
        peer.caller_name.clear();
        Ok(())
    }),
    Opt::new("cid_tag", NotYet, some_text!(cid_tag)),
    Opt::new("callingpres", NotYet, field!(calling_pres = CallingPres::parse)),
    Opt::new("fromuser", Yes, some_text!(from_user)),
    Opt::new("fromdomain", Yes, |peer, _, value| {
        peer.from_domain = if value.is_empty() { None } else { Some(host_port(value)?) };
        Ok(())
    })
    .general_too(),
    Opt::new("trustrpid", NO, field!(trust_rpid = boolean)).general_too(),
    Opt::new("sendrpid", NO, field!(send_rpid = SendRpid::parse)).general_too(),
    Opt::new("rpid_update", NO, field!(rpid_update = boolean)).general_too(),
    Opt::new("rpid_immediate", NO, field!(rpid_immediate = boolean)).general_too(),
    Opt::new("trust_id_outbound", NotYet, field!(trust_id_outbound = TrustIdOutbound::parse)).general_too(),
    Opt::new("usereqphone", NO, field!(user_eq_phone = boolean)).general_too(),
    Opt::new("allowtransfer", NO, field!(allow_transfer = boolean)).general_too(),
    Opt::new("allowoverlap", NO, field!(allow_overlap = Overlap::parse)).general_too(),
    Opt::new("allowsubscribe", NO, field!(allow_subscribe = boolean)).general_too(),
    Opt::new("promiscredir", NO, field!(promisc_redir = boolean)).general_too(),
    Opt::new("useclientcode", NO, field!(use_client_code = boolean)).general_too(),
    Opt::new("recordonfeature", NotYet, text!(record_features.0)).general_too(),
    Opt::new("recordofffeature", NotYet, text!(record_features.1)).general_too(),
    Opt::new("callgroup", NotYet, field!(call_group = groups)),
    Opt::new("pickupgroup", NotYet, field!(pickup_group = groups)),
    Opt::new("namedcallgroup", NotYet, field!(named_call_group = words)),
    Opt::new("namedpickupgroup", NotYet, field!(named_pickup_group = words)),
    Opt::new("setvar", NotYet, |peer, _, value| {
        peer.variables.push(pair(value, '=')?);
        Ok(())
    })
    .adds_up(),
    Opt::new("header", NotYet, |peer, _, value| {
        peer.headers.push(pair(value, ':')?);
        Ok(())
    })
    .adds_up(),
    Opt::new("accountcode", NotYet, text!(account_code)),
    Opt::new("amaflags", NotYet, field!(ama_flags = AmaFlags::parse)),
    Opt::new("session-timers", Only(&["refuse"]), field!(session_timers = SessionTimers::parse))
        .general_too(),
    Opt::new("session-expires", NotYet, field!(session_expires = |v| number(v, 90, 86_400))).general_too(),
    Opt::new("session-minse", NotYet, field!(session_min_se = |v| number(v, 90, 86_400))).general_too(),
    Opt::new("session-refresher", NotYet, field!(session_refresher = SessionRefresher::parse)).general_too(),
    Opt::new("use_q850_reason", NO, field!(use_q850_reason = boolean)).general_too(),
    Opt::new("snom_aoc_enabled", NO, field!(snom_aoc = boolean)).general_too(),
    Opt::new("cc_*", NotYet, |peer, key, value| {
        peer.call_completion.push((key.to_owned(), value.to_owned()));
        Ok(())
    }),
    Opt::new("ccbs_available_timer", NotYet, |peer, key, value| {
        peer.call_completion.push((key.to_owned(), value.to_owned()));
        Ok(())
    }),
    Opt::new("ccnr_available_timer", NotYet, |peer, key, value| {
        peer.call_completion.push((key.to_owned(), value.to_owned()));
        Ok(())
    }),
    Opt::new("language", NotYet, text!(language)).general_too(),
    Opt::new("tonezone", NotYet, text!(tone_zone)).general_too(),
    Opt::new("parkinglot", NotYet, text!(parking_lot)).general_too(),
    Opt::new("mohinterpret", NotYet, text!(moh_interpret)).general_too().also(&["musicclass", "musiconhold"]),
    Opt::new("mohsuggest", NotYet, text!(moh_suggest)).general_too(),
    // Its media.
    Opt::new("disallow", NotYet, |peer, _, value| peer.media.codecs.disallow(value)).general_too().adds_up(),
    Opt::new("allow", NotYet, |peer, _, value| peer.media.codecs.allow(value)).general_too().adds_up(),
    Opt::new("rtpsource", Yes, field!(media.rtp_source = rtp_source)).general_too(),
    Opt::new("rtptimeout", Yes, field!(media.rtp_timeout = seconds_or_no)).general_too(),
    Opt::new("rtpholdtimeout", Yes, field!(media.rtp_hold_timeout = seconds_or_no)).general_too(),
    Opt::new("rtpkeepalive", NotYet, field!(media.rtp_keepalive = seconds_or_no)).general_too(),
    Opt::new("directmedia", NO, field!(media.direct_media = DirectMedia::parse))
        .general_too()
        .also(&["canreinvite"]),
    Opt::new("dtmfmode", NotYet, field!(media.dtmf_mode = DtmfMode::parse)).general_too(),
    Opt::new("rfc2833compensate", NO, field!(media.rfc2833_compensate = boolean)).general_too(),
    Opt::new("preferred_codec_only", NO, field!(media.preferred_codec_only = boolean)).general_too(),
    Opt::new("ignore_requested_pref", NotYet, field!(media.ignore_requested_pref = boolean)),
    Opt::new("autoframing", NotYet, field!(media.auto_framing = boolean)).general_too(),
    Opt::new("g726nonstandard", NO, field!(media.g726_nonstandard = boolean)).general_too(),
    Opt::new("videosupport", NotYet, field!(media.video = VideoSupport::parse)).general_too(),
    Opt::new("textsupport", NotYet, field!(media.text = boolean)).general_too(),
    Opt::new("maxcallbitrate", NotYet, field!(media.max_call_bitrate = |v| number(v, 0, 1_000_000)))
        .general_too(),
    Opt::new("progressinband", NotYet, field!(media.progress_inband = ProgressInband::parse)).general_too(),
    Opt::new("ignoresdpversion", NotYet, field!(media.ignore_sdp_version = boolean)).general_too(),
    Opt::new("t38pt_udptl", NO, field!(media.t38 = T38::parse)).general_too(),
    Opt::new("t38pt_usertpsource", NO, field!(media.t38_use_rtp_source = boolean)).general_too(),
    Opt::new("faxdetect", NO, field!(media.fax_detect = FaxDetect::parse)).general_too(),
    Opt::new("discard_remote_hold_retrieval", NO, field!(media.discard_hold = boolean)).general_too(),
    Opt::new("rtp_engine", NotYet, text!(media.rtp_engine)),
    Opt::new("encryption", NO, field!(media.encryption = boolean)),
    Opt::new("encryption_taglen", NotYet, field!(media.encryption_tag = TagLength::parse)),
    Opt::new("avpf", NO, field!(media.avpf = boolean)),
    Opt::new("force_avp", NO, field!(media.force_avp = boolean)),
    Opt::new("rtcp_mux", NotYet, field!(media.rtcp_mux = boolean)).general_too(),
    Opt::new("icesupport", NO, field!(media.ice = boolean)).general_too(),
    Opt::new("dtlsenable", NO, field!(media.dtls = boolean)),
    Opt::new("dtlssetup", NotYet, field!(media.dtls_setup = DtlsSetup::parse)).general_too(),
    Opt::new("dtlsfingerprint", NotYet, field!(media.dtls_fingerprint = Fingerprint::parse)).general_too(),
    Opt::new("dtlsverify", NotYet, dtls).general_too(),
    Opt::new("dtlsrekey", NotYet, dtls).general_too(),
    Opt::new("dtlscertfile", NotYet, dtls).general_too(),
    Opt::new("dtlsautogeneratecert", NotYet, dtls).general_too(),
    Opt::new("dtlsprivatekey", NotYet, dtls).general_too(),
    Opt::new("dtlscipher", NotYet, dtls).general_too(),
    Opt::new("dtlscafile", NotYet, dtls).general_too(),
    Opt::new("dtlscapath", NotYet, dtls).general_too(),
    // Its mailboxes.
    Opt::new("mailbox", NotYet, add!(mail.mailboxes += words)).adds_up(),
    Opt::new("hasvoicemail", NotYet, field!(mail.has_voicemail = boolean)),
    Opt::new("subscribemwi", NotYet, field!(mail.subscribe_mwi = boolean)),
    Opt::new("vmexten", NotYet, text!(mail.vm_exten)).general_too(),
    Opt::new("unsolicited_mailbox", NotYet, some_text!(mail.unsolicited_mailbox)),
    Opt::new("mwi_from", NotYet, some_text!(mail.mwi_from)).general_too(),
    Opt::new("buggymwi", NotYet, field!(mail.buggy_mwi = boolean)).general_too(),
    // Columns of the schema that chan_sip itself does not read.
    Opt::new("constantssrc", Never, |_, _, _| Ok(())),
    Opt::new("dynamic", Never, |_, _, _| Ok(())),
];

fn words(value: &str) -> Result<Vec<String>, BadValue> {
    Ok(list(value))
}

fn seconds_or_no(value: &str) -> Result<u32, BadValue> {
    if value.eq_ignore_ascii_case("no") {
        return Ok(0);
    }
    number(value, 0, 31_536_000).map_err(|_| BadValue::new("seconds, or 0 for never"))
}

fn dtls(peer: &mut Peer, key: &str, value: &str) -> Result<(), BadValue> {
    peer.media.dtls_options.retain(|(known, _)| known != key);
    peer.media.dtls_options.push((key.to_owned(), value.to_owned()));
    Ok(())
}

fn rtp_source(value: &str) -> Result<RtpSource, BadValue> {
    match value.to_ascii_lowercase().as_str() {
        "signalled" => Ok(RtpSource::Signalled),
        "signalling" => Ok(RtpSource::Signalling),
        "any" => Ok(RtpSource::Any),
        _ => Err(BadValue::new("one of signalled signalling any")),
    }
}

/// Digest algorithms (RFC 8760), in the spelling that challenges use.
pub(super) fn algorithms(value: &str) -> Result<Vec<String>, BadValue> {
    const KNOWN: [&str; 3] = ["SHA-512-256", "SHA-256", "MD5"];
    let wanted = list(value);
    let known = |word: &String| KNOWN.iter().any(|known| known.eq_ignore_ascii_case(word));
    if wanted.is_empty() || !wanted.iter().all(known) {
        return Err(BadValue::new("a list of MD5, SHA-256, SHA-512-256"));
    }
    let is_wanted = |known: &&str| wanted.iter().any(|word| word.eq_ignore_ascii_case(known));
    Ok(KNOWN.into_iter().filter(is_wanted).map(str::to_owned).collect())
}

fn transports(value: &str) -> Result<Vec<Transport>, BadValue> {
    let wrong = || BadValue::new("a list of udp, tcp, tls, ws, wss");
    let mut transports = Vec::new();
    for word in list(value) {
        let transport = word.parse().map_err(|_| wrong())?;
        if !transports.contains(&transport) {
            transports.push(transport);
        }
    }
    if transports.is_empty() { Err(wrong()) } else { Ok(transports) }
}

fn outbound_proxy(value: &str) -> Result<Option<OutboundProxy>, BadValue> {
    let wrong = || BadValue::new("[TRANSPORT://]HOST[:PORT][,force]");
    if value.is_empty() {
        return Ok(None);
    }
    let (address, force) = match value.split_once(',') {
        Some((address, word)) if word.trim().eq_ignore_ascii_case("force") => (address, true),
        Some(_) => return Err(wrong()),
        None => (value, false),
    };
    let (transport, address) = match address.split_once("://") {
        Some((transport, address)) => (Some(transport.trim().parse().map_err(|_| wrong())?), address),
        None => (None, address),
    };
    let (host, port) = host_port(address.strip_prefix("sip:").unwrap_or(address)).map_err(|_| wrong())?;
    Ok(Some(OutboundProxy { transport, host, port, force }))
}

/// `user:secret@realm`, `user#md5@realm`, also without a secret.
pub(super) fn auth_entry(value: &str) -> Result<AuthEntry, BadValue> {
    let wrong = || BadValue::new("USER:SECRET@REALM or USER#MD5@REALM");
    let (who, realm) = value.rsplit_once('@').ok_or_else(wrong)?;
    let at = who.find([':', '#']).ok_or_else(wrong)?;
    let (user, rest) = who.split_at(at);
    let is_digest = rest.starts_with('#');
    let secret = rest.get(1..).unwrap_or_default();
    if user.is_empty() || realm.is_empty() {
        return Err(wrong());
    }
    Ok(AuthEntry { user: user.to_owned(), secret: Secret::new(secret), is_digest, realm: realm.to_owned() })
}

fn pair(value: &str, between: char) -> Result<(String, String), BadValue> {
    match value.split_once(between) {
        Some((name, value)) if !name.trim().is_empty() => {
            Ok((name.trim().to_owned(), value.trim().to_owned()))
        }
        _ => Err(BadValue::new(format!("NAME{between}VALUE"))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::set_peer;
    use super::*;

    fn peer(lines: &[(&str, &str)]) -> Peer {
        let mut peer = Peer::default();
        for (key, value) in lines {
            let remarks = set_peer(&mut peer, key, value);
            let bad = remarks.iter().any(|r| !matches!(r, crate::peer::options::Remark::NotYet { .. }));
            assert!(!bad, "{key}={value}: {remarks:?}");
        }
        peer
    }

    #[test]
    fn a_phone_and_a_trunk() {
        let phone = peer(&[("type", "friend"), ("host", "dynamic"), ("secret", "s;3"), ("call-limit", "2")]);
        assert!(phone.is_dynamic() && phone.has_secret() && !phone.answers_challenges());
        assert_eq!(phone.limit(), Some(2));
        let trunk = peer(&[
            ("type", "peer"),
            ("host", "192.0.2.9"),
            ("port", "5080"),
            ("remotesecret", "x"),
            ("insecure", "port,invite"),
        ]);
        assert_eq!(trunk.static_address(), Some("192.0.2.9:5080".parse().unwrap()));
        assert!(trunk.answers_challenges());
    }

    #[test]
    fn algorithms_are_ordered_by_strength_whatever_was_written() {
        assert_eq!(algorithms("md5, sha-256").unwrap(), ["SHA-256", "MD5"]);
        assert!(algorithms("crc32").is_err());
    }

    #[test]
    fn a_proxy_has_transport_port_and_force() {
        let proxy = outbound_proxy("tcp://proxy.example.com:5070,force").unwrap().unwrap();
        assert_eq!(
            (proxy.transport, proxy.host.as_str(), proxy.port, proxy.force),
            (Some(Transport::Tcp), "proxy.example.com", Some(5070), true)
        );
        assert!(outbound_proxy("proxy.example.com,gently").is_err());
    }

    #[test]
    fn credentials_for_a_realm_may_hold_an_at_sign() {
        let entry = auth_entry("ann:p@ss@example.com").unwrap();
        assert_eq!(
            (entry.user.as_str(), entry.secret.expose(), entry.realm.as_str()),
            ("ann", "p@ss", "example.com")
        );
        assert!(auth_entry("ann#0123@example.com").unwrap().is_digest);
        assert!(auth_entry("ann@example.com").is_err());
    }

    #[test]
    fn a_broken_deny_closes_the_peer() {
        let mut peer = Peer::default();
        assert_eq!(set_peer(&mut peer, "deny", "10.0.0.0/40").len(), 1);
        assert!(!peer.acl.permits(IpAddr::from([192, 0, 2, 1])));
    }

    #[test]
    fn an_md5secret_has_32_digits_and_is_not_printed() {
        let mut peer = Peer::default();
        let remarks = set_peer(&mut peer, "md5secret", "hush");
        assert!(!format!("{remarks:?} {}", remarks[0]).contains("hush"));
        set_peer(&mut peer, "md5secret", "0123456789ABCDEF0123456789abcdef");
        assert_eq!(peer.md5_secret.unwrap().expose(), "0123456789abcdef0123456789abcdef");
    }
}
