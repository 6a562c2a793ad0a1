//! From a peer and its bindings to what the operator sees of them.

use fairlead_location::{first, order, runtime_columns};
use fairlead_model::binding::Binding;
use fairlead_model::flow::Transport;
use fairlead_model::id::UnixMillis;
use fairlead_model::operator::{
    ContactView, NatView, PeerAddress, PeerDetail, PeerSource, PeerView, UserView,
};
use fairlead_model::peer::kinds::{SendRpid, T38Ec, VideoSupport};
use fairlead_model::peer::{EffectiveNat, GeneralFull, Host, Peer};

use fairlead_model::binding::Qualify;

/// What chan_sip shows as the limit of a peer whose calls are only counted.
pub const ONLY_COUNTED: u32 = i32::MAX as u32;

/// A peer with what is known of it now.
pub struct Seen<'a> {
    /// The peer.
    pub peer: &'a Peer,
    /// Its bindings.
    pub bindings: &'a [Binding],
    /// What qualify knows of its configured address.
    pub static_state: Qualify,
    /// Where its definition lives.
    pub source: PeerSource,
    /// `[general]`.
    pub general: &'a GeneralFull,
    /// The time.
    pub now: UnixMillis,
}

impl Seen<'_> {
    /// The row of `sip show peers`.
    pub fn view(&self) -> PeerView {
        let peer = self.peer;
        let first = first(self.bindings, self.now);
        let nat = first.map_or_else(EffectiveNat::default, |binding| binding.nat);
        let called = order(self.bindings, self.now);
        // Those that are not called now come behind those that are.
        let others = self
            .bindings
            .iter()
            .filter(|one| one.expires_at > self.now && !called.iter().any(|known| known.key == one.key));
        PeerView {
            name: peer.name.clone(),
            username: self.username(),
            address: self.address(),
            dynamic: peer.is_dynamic(),
            force_rport: nat_view(peer.nat.auto_force_rport, peer.nat.force_rport, nat.force_rport),
            comedia: nat_view(peer.nat.auto_comedia, peer.nat.comedia, nat.comedia),
            acl: peer.acl.is_set() || !peer.acl_names.is_empty(),
            monitored: peer.qualify_ms.is_some(),
            qualify: first.map_or(self.static_state, |binding| binding.qualify),
            description: peer.description.clone(),
            source: self.source,
            pod: first.map(|binding| binding.flow.pod),
            contacts: called.iter().copied().chain(others).map(contact).collect(),
        }
    }

    /// Every fact of `sip show peer`.
    pub fn detail(&self) -> PeerDetail {
        let peer = self.peer;
        let media = &peer.media;
        let first = first(self.bindings, self.now);
        PeerDetail {
            view: self.view(),
            is_peer: peer.is_peer(),
            is_user: peer.is_user(),
            secret_set: peer.secret.is_some(),
            md5secret_set: peer.md5_secret.is_some(),
            remote_secret_set: peer.remote_secret.is_some(),
            context: peer.context.clone(),
            record_on_feature: peer.record_features.0.clone(),
            record_off_feature: peer.record_features.1.clone(),
            subscribe_context: peer.subscribe_context.clone().unwrap_or_default(),
            language: peer.language.clone(),
            tonezone: some(&peer.tone_zone),
            accountcode: peer.account_code.clone(),
            ama_flags: ama_flags(peer),
            transfer_open: peer.allow_transfer,
            calling_pres: peer.calling_pres.text().to_owned(),
            from_user: peer.from_user.clone().unwrap_or_default(),
            from_domain: peer.from_domain.as_ref().map(|(host, _)| host.clone()).unwrap_or_default(),
            from_domain_port: peer.from_domain.as_ref().and_then(|(_, port)| *port).unwrap_or(5060),
            callgroup: groups(peer.call_group),
            pickupgroup: groups(peer.pickup_group),
            named_callgroup: peer.named_call_group.join(","),
            named_pickupgroup: peer.named_pickup_group.join(","),
            moh_suggest: peer.moh_suggest.clone(),
            mailbox: peer.mail.mailboxes.join(","),
            vm_exten: peer.mail.vm_exten.clone(),
            // chan_sip's words for "never sent" and "nobody knows".
            messages_new: if peer.mail.mailboxes.is_empty() { 0 } else { 32_767 },
            messages_old: if peer.mail.mailboxes.is_empty() { 0 } else { 65_535 },
            call_limit: shown_limit(peer).unwrap_or(0),
            max_forwards: if peer.max_forwards == self.general.defaults.max_forwards {
                0
            } else {
                u32::from(peer.max_forwards)
            },
            busy_level: peer.busy_level,
            caller_name: peer.caller_name.clone(),
            caller_number: peer.caller_number.clone(),
            max_call_bitrate: media.max_call_bitrate,
            expires_at: first.map(|binding| binding.expires_at),
            insecure_port: peer.insecure.port,
            insecure_invite: peer.insecure.invite,
            contact_acl: peer.contact_acl.is_set() || !peer.contact_acl_names.is_empty(),
            direct_media_acl: peer.direct_media_acl.is_set() || !peer.direct_media_acl_names.is_empty(),
            t38: media.t38.on.is_some(),
            t38_ec_mode: match media.t38.on {
                None => "Unknown",
                Some(T38Ec::None) => "None",
                Some(T38Ec::Fec) => "FEC",
                Some(T38Ec::Redundancy) => "Redundancy",
            }
            .to_owned(),
            t38_max_datagram: media.t38.max_datagram.map_or(u32::MAX, u32::from),
            direct_media: media.direct_media.on,
            promisc_redir: peer.promisc_redir,
            user_phone: peer.user_eq_phone,
            video: media.video != VideoSupport::No,
            text: media.text,
            ignore_sdp_version: media.ignore_sdp_version,
            trust_rpid: peer.trust_rpid,
            send_rpid: peer.send_rpid != SendRpid::No,
            path_support: peer.support_path,
            path: first.map(|binding| binding.path.clone()).unwrap_or_default(),
            trust_id_outbound: capital(peer.trust_id_outbound.word()),
            allow_subscribe: peer.allow_subscribe,
            overlap_dial: match peer.allow_overlap.word() {
                "dtmf" => "DTMF".to_owned(),
                word => capital(word),
            },
            outbound_proxy: peer.outbound_proxy.as_ref().map(|proxy| proxy.host.clone()).unwrap_or_default(),
            outbound_proxy_forced: peer.outbound_proxy.as_ref().is_some_and(|proxy| proxy.force),
            dtmf_mode: media.dtmf_mode.word().to_owned(),
            timer_t1: peer.t1_ms,
            timer_b: peer.timer_b_ms.unwrap_or_else(|| peer.t1_ms.saturating_mul(64)),
            to_host: match &peer.host {
                Host::Static(host) => host.clone(),
                Host::Dynamic => String::new(),
            },
            default_address: peer.default_ip.map(|ip| PeerAddress {
                host: ip.to_string(),
                port: peer.port.unwrap_or(peer.transport().default_port()),
            }),
            primary_transport: first
                .map_or(peer.transport(), |binding| binding.flow.transport)
                .upper()
                .to_owned(),
            allowed_transports: self.transports(),
            default_username: self.username(),
            codecs: media.codecs.0.iter().map(|codec| codec.name.clone()).collect(),
            auto_framing: media.auto_framing,
            user_agent: first.map(|binding| binding.user_agent.clone()).unwrap_or_default(),
            contact: first.map(|binding| binding.uri.clone()).unwrap_or_default(),
            qualify_freq: peer.qualify_freq.saturating_mul(1000),
            keepalive: peer.keepalive.saturating_mul(1000),
            variables: peer.variables.clone(),
            session_timers: capital(peer.session_timers.word()),
            session_refresher: peer.session_refresher.word().to_owned(),
            session_expires: peer.session_expires,
            session_min_se: peer.session_min_se,
            rtp_engine: media.rtp_engine.clone(),
            parkinglot: peer.parking_lot.clone(),
            use_reason: peer.use_q850_reason,
            encryption: media.encryption,
            rtcp_mux: media.rtcp_mux,
            ..PeerDetail::default()
        }
    }

    /// The row of `sip show users`.
    pub fn user(&self) -> UserView {
        let peer = self.peer;
        let nat = first(self.bindings, self.now).map_or_else(EffectiveNat::default, |binding| binding.nat);
        UserView {
            name: peer.name.clone(),
            secret_set: peer.has_secret(),
            accountcode: peer.account_code.clone(),
            context: peer.context.clone(),
            acl: peer.acl.is_set() || !peer.acl_names.is_empty(),
            force_rport: nat_view(peer.nat.auto_force_rport, peer.nat.force_rport, nat.force_rport),
        }
    }

    /// `defaultuser`, or what the last registration set it to.
    fn username(&self) -> String {
        let columns = runtime_columns(self.bindings, self.general, self.now);
        columns.defaultuser.or_else(|| self.peer.default_user.clone()).unwrap_or_default()
    }

    fn address(&self) -> Option<PeerAddress> {
        let columns = runtime_columns(self.bindings, self.general, self.now);
        if !columns.ipaddr.is_empty() {
            return Some(PeerAddress { host: columns.ipaddr, port: columns.port });
        }
        let Host::Static(host) = &self.peer.host else { return None };
        let port = self.peer.port.unwrap_or(self.peer.transport().default_port());
        Some(PeerAddress { host: host.clone(), port })
    }

    /// All where nothing is written: chan_sip shows only UDP then, which is what it allows.
    fn transports(&self) -> Vec<String> {
        let unset = self.peer.transports == Peer::default().transports;
        let list: &[Transport] = if unset { &[Transport::Udp] } else { &self.peer.transports };
        list.iter().map(|transport| transport.upper().to_owned()).collect()
    }
}

/// The limit as chan_sip shows it; `None` when calls are not counted.
pub fn shown_limit(peer: &Peer) -> Option<u32> {
    peer.limit().or(peer.call_counter.then_some(ONLY_COUNTED))
}

fn contact(binding: &Binding) -> ContactView {
    ContactView {
        uri: binding.uri.clone(),
        address: PeerAddress {
            host: binding.flow.remote.ip().to_canonical().to_string(),
            port: binding.flow.remote.port(),
        },
        transport: binding.flow.transport.upper().to_owned(),
        q: binding.q,
        expires_at: binding.expires_at,
        user_agent: binding.user_agent.clone(),
        qualify: binding.qualify,
        pod: Some(binding.flow.pod),
        path: binding.path.clone(),
        instance: binding.instance.clone(),
    }
}

fn nat_view(auto: bool, fixed: bool, effective: bool) -> NatView {
    match (auto, fixed, effective) {
        (true, _, true) => NatView::AutoYes,
        (true, _, false) => NatView::AutoNo,
        (false, true, _) => NatView::Yes,
        (false, false, _) => NatView::No,
    }
}

fn ama_flags(peer: &Peer) -> String {
    use fairlead_model::peer::kinds::AmaFlags;
    match peer.ama_flags {
        AmaFlags::Default => "Unknown",
        AmaFlags::Omit => "OMIT",
        AmaFlags::Billing => "BILLING",
        AmaFlags::Documentation => "DOCUMENTATION",
    }
    .to_owned()
}

/// The numbers of the bits that are set, as chan_sip prints groups.
fn groups(bits: u64) -> String {
    let numbers: Vec<String> =
        (0..64).filter(|bit| bits & (1 << bit) != 0).map(|bit: u32| bit.to_string()).collect();
    numbers.join(", ")
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

fn some(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen<'a>(peer: &'a Peer, general: &'a GeneralFull) -> Seen<'a> {
        Seen {
            peer,
            bindings: &[],
            static_state: Qualify::default(),
            source: PeerSource::Static,
            general,
            now: UnixMillis(1),
        }
    }

    #[test]
    fn a_dynamic_peer_without_a_contact_is_nowhere() {
        let (peer, general) = (Peer { name: "201".to_owned(), ..Peer::default() }, GeneralFull::default());
        let view = seen(&peer, &general).view();
        assert_eq!((view.address, view.dynamic, view.force_rport), (None, true, NatView::AutoNo));
    }

    #[test]
    fn a_static_peer_is_at_its_host() {
        let host = Host::Static("192.0.2.9".to_owned());
        let peer = Peer { host, port: Some(5080), default_user: Some("lab".to_owned()), ..Peer::default() };
        let general = GeneralFull::default();
        let view = seen(&peer, &general).view();
        assert_eq!(view.address, Some(PeerAddress { host: "192.0.2.9".to_owned(), port: 5080 }));
        assert_eq!(view.username, "lab");
    }

    #[test]
    fn counted_calls_have_the_limit_of_chan_sip() {
        let mut peer = Peer { call_counter: true, ..Peer::default() };
        assert_eq!(shown_limit(&peer), Some(2_147_483_647));
        peer.call_limit = 2;
        assert_eq!(shown_limit(&peer), Some(2));
        assert_eq!(shown_limit(&Peer::default()), None);
    }

    #[test]
    fn groups_are_numbers_and_words_are_capital() {
        assert_eq!(groups(0b1010), "1, 3");
        assert_eq!(capital("originate"), "Originate");
    }
}
