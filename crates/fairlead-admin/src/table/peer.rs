//! `sip show peer` and `sip show user`: one fact a line.

use fairlead_proto::admin::v1 as pb;

use super::{formats, plain, yes_no};

/// What `sip show peer NAME` prints; with `pods` where each contact is reached.
pub fn peer(detail: &pb::PeerDetail, pods: bool) -> String {
    let none = pb::Peer::default();
    let peer = detail.peer.as_ref().unwrap_or(&none);
    let mut page = Page::begin();
    page.line("Name", &peer.name);
    page.line("Description", &peer.description);
    match peer.source.as_str() {
        "static" | "" => {}
        "cached" => page.line("Realtime peer", "Yes, cached"),
        _ => page.line("Realtime peer", "Yes"),
    }
    page.line("Secret", set(detail.secret_set));
    page.line("MD5Secret", set(detail.md5secret_set));
    page.line("Remote Secret", set(detail.remote_secret_set));
    page.line("Context", &detail.context);
    page.line("Record On feature", &detail.record_on_feature);
    page.line("Record Off feature", &detail.record_off_feature);
    page.line("Subscr.Cont.", &detail.subscribe_context);
    page.line("Language", &detail.language);
    page.line("Tonezone", detail.tonezone.as_deref().filter(|zone| !zone.is_empty()).unwrap_or("<Not set>"));
    page.given("Accountcode", &detail.accountcode);
    page.line("AMA flags", &detail.ama_flags);
    page.line("Transfer mode", transfer(detail.transfer_open));
    page.line("CallingPres", &detail.calling_pres);
    page.given("FromUser", &detail.from_user);
    if !detail.from_domain.is_empty() {
        page.line("FromDomain", &format!("{} Port {}", detail.from_domain, detail.from_domain_port));
    }
    page.line("Callgroup", &detail.callgroup);
    page.line("Pickupgroup", &detail.pickupgroup);
    page.line("Named Callgr", &detail.named_callgroup);
    page.line("Nam. Pickupgr", &detail.named_pickupgroup);
    page.line("MOH Suggest", &detail.moh_suggest);
    page.line("Mailbox", &detail.mailbox);
    page.line("VM Extension", &detail.vm_exten);
    page.line("LastMsgsSent", &format!("{}/{}", detail.messages_new, detail.messages_old));
    page.line("Call limit", &detail.call_limit.to_string());
    page.line("Max forwards", &detail.max_forwards.to_string());
    if detail.busy_level != 0 {
        page.line("Busy level", &detail.busy_level.to_string());
    }
    page.line("Dynamic", yes_no(peer.dynamic));
    page.line("Callerid", &caller_id(detail));
    page.line("MaxCallBR", &format!("{} kbps", detail.max_call_bitrate));
    page.line("Expire", &detail.expires_in.to_string());
    page.line("Insecure", insecure(detail));
    page.line("Force rport", &peer.force_rport);
    page.line("Symmetric RTP", &peer.comedia);
    page.line("ACL", yes_no(peer.acl));
    page.line("ContactACL", yes_no(detail.contact_acl));
    page.line("DirectMedACL", yes_no(detail.direct_media_acl));
    page.line("T.38 support", yes_no(detail.t38));
    page.line("T.38 EC mode", &detail.t38_ec_mode);
    page.line("T.38 MaxDtgrm", &detail.t38_max_datagram.to_string());
    page.line("DirectMedia", yes_no(detail.direct_media));
    page.line("PromiscRedir", yes_no(detail.promisc_redir));
    page.line("User=Phone", yes_no(detail.user_phone));
    page.line("Video Support", yes_no(detail.video));
    page.line("Text Support", yes_no(detail.text));
    page.line("Ign SDP ver", yes_no(detail.ignore_sdp_version));
    page.line("Trust RPID", yes_no(detail.trust_rpid));
    page.line("Send RPID", yes_no(detail.send_rpid));
    page.line("Path support", yes_no(detail.path_support));
    page.line("Path", &if detail.path.is_empty() { "N/A".to_owned() } else { detail.path.join(", ") });
    page.line("TrustIDOutbnd", &detail.trust_id_outbound);
    page.line("Subscriptions", yes_no(detail.allow_subscribe));
    page.line("Overlap dial", &detail.overlap_dial);
    if !detail.outbound_proxy.is_empty() {
        let forced = if detail.outbound_proxy_forced { "(forced)" } else { "" };
        page.line("Outb. proxy", &format!("{} {forced}", detail.outbound_proxy));
    }
    page.line("DTMFmode", &detail.dtmf_mode);
    page.line("Timer T1", &detail.timer_t1.to_string());
    page.line("Timer B", &detail.timer_b.to_string());
    page.line("ToHost", &detail.to_host);
    page.line("Addr->IP", &address(&peer.host, peer.port));
    page.line("Defaddr->IP", &address(&detail.default_host, detail.default_port));
    page.line("Prim.Transp.", &detail.primary_transport);
    page.line("Allowed.Trsp", &detail.allowed_transports.join(","));
    page.line("Def. Username", &detail.default_username);
    page.line(
        "SIP Options",
        &if detail.sip_options.is_empty() { "(none)".to_owned() } else { detail.sip_options.join(" ") },
    );
    page.line("Codecs", &formats(&detail.codecs));
    page.line("Auto-Framing", yes_no(detail.auto_framing));
    page.line("Status", &peer.status);
    page.line("Useragent", &detail.user_agent);
    page.line("Reg. Contact", &detail.contact);
    page.line("Qualify Freq", &format!("{} ms", detail.qualify_freq));
    page.line("Keepalive", &format!("{} ms", detail.keepalive));
    page.variables(&detail.variables);
    page.line("Sess-Timers", &detail.session_timers);
    page.line("Sess-Refresh", &detail.session_refresher);
    page.line("Sess-Expires", &format!("{} secs", detail.session_expires));
    page.line("Min-Sess", &format!("{} secs", detail.session_min_se));
    page.line("RTP Engine", &detail.rtp_engine);
    page.line("Parkinglot", &detail.parkinglot);
    page.line("Use Reason", yes_no(detail.use_reason));
    page.line("Encryption", yes_no(detail.encryption));
    page.line("RTCP Mux", yes_no(detail.rtcp_mux));
    if pods {
        for contact in &peer.contacts {
            page.line("Contact", &format!("{} by {} ({})", contact.uri, contact.pod, contact.status));
        }
    }
    page.end()
}

/// What `sip show user NAME` prints.
pub fn user(detail: &pb::PeerDetail) -> String {
    let none = pb::Peer::default();
    let peer = detail.peer.as_ref().unwrap_or(&none);
    let mut page = Page::begin();
    page.line("Name", &peer.name);
    page.line("Secret", set(detail.secret_set));
    page.line("MD5Secret", set(detail.md5secret_set));
    page.line("Context", &detail.context);
    page.line("Language", &detail.language);
    page.given("Accountcode", &detail.accountcode);
    page.line("AMA flags", &detail.ama_flags);
    page.line("Tonezone", detail.tonezone.as_deref().filter(|zone| !zone.is_empty()).unwrap_or("<Not set>"));
    page.line("Transfer mode", transfer(detail.transfer_open));
    page.line("MaxCallBR", &format!("{} kbps", detail.max_call_bitrate));
    page.line("CallingPres", &detail.calling_pres);
    page.line("Call limit", &detail.call_limit.to_string());
    page.line("Callgroup", &detail.callgroup);
    page.line("Pickupgroup", &detail.pickupgroup);
    page.line("Named Callgr", &detail.named_callgroup);
    page.line("Nam. Pickupgr", &detail.named_pickupgroup);
    page.line("Callerid", &caller_id(detail));
    page.line("ACL", yes_no(peer.acl));
    page.line("Sess-Timers", &detail.session_timers);
    page.line("Sess-Refresh", &detail.session_refresher);
    page.line("Sess-Expires", &format!("{} secs", detail.session_expires));
    page.line("Sess-Min-SE", &format!("{} secs", detail.session_min_se));
    page.line("RTP Engine", &detail.rtp_engine);
    page.variables(&detail.variables);
    // chan_sip has this one line with another margin, and a blank at its end.
    page.text += &format!("  Auto-Framing:  {} \n", yes_no(detail.auto_framing));
    page.end()
}

struct Page {
    text: String,
}

impl Page {
    fn begin() -> Self {
        Page { text: "\n\n".to_owned() }
    }

    /// `  Label        : value`; the name has a star.
    fn line(&mut self, label: &str, value: &str) {
        let star = if label == "Name" { "  * " } else { "  " };
        let width = if label == "Name" { 11 } else { 13 };
        // Two labels are longer than the column, with a blank in front of the colon.
        let gap = if label.len() > width { " " } else { "" };
        self.text += &format!("{star}{label:<width$}{gap}: {}\n", plain(value));
    }

    /// A line that is left out when there is nothing to say.
    fn given(&mut self, label: &str, value: &str) {
        if !value.is_empty() {
            self.line(label, value);
        }
    }

    fn variables(&mut self, variables: &[pb::Variable]) {
        if variables.is_empty() {
            return;
        }
        self.text += "  Variables    :\n";
        for pb::Variable { name, value } in variables {
            self.text += &format!("                 {} = {}\n", plain(name), plain(value));
        }
    }

    fn end(mut self) -> String {
        self.text.push('\n');
        self.text
    }
}

const fn set(is_set: bool) -> &'static str {
    if is_set { "<Set>" } else { "<Not set>" }
}

const fn transfer(open: bool) -> &'static str {
    if open { "open" } else { "closed" }
}

fn caller_id(detail: &pb::PeerDetail) -> String {
    format!("\"{}\" <{}>", detail.caller_name, detail.caller_number)
}

const fn insecure(detail: &pb::PeerDetail) -> &'static str {
    match (detail.insecure_port, detail.insecure_invite) {
        (true, true) => "port,invite",
        (true, false) => "port",
        (false, true) => "invite",
        (false, false) => "no",
    }
}

fn address(host: &str, port: u32) -> String {
    match host {
        "" => "(null)".to_owned(),
        host if host.contains(':') => format!("[{host}]:{port}"),
        host => format!("{host}:{port}"),
    }
}
