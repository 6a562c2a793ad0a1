//! From our words to the operator's: names for pods, words for states, seconds that are left.

use std::collections::HashMap;

use fairlead_model::binding::{Qualify, QualifyState};
use fairlead_model::channel::{Bridge, Channel};
use fairlead_model::id::{PodRef, Side, UnixMillis};
use fairlead_model::member::Member;
use fairlead_model::operator::{
    ContactView, InUseView, PeerAddress, PeerDetail, PeerSource, PeerView, UserView,
};
use fairlead_model::relay::{SessionStatistics, StreamStatistics};
use fairlead_model::surroundings::{Finding, Severity, SipAddress};
use fairlead_proto::admin::v1 as pb;

/// What names and times are relative to.
#[derive(Clone, Debug, Default)]
pub struct Names {
    pods: HashMap<PodRef, String>,
    now: UnixMillis,
}

impl Names {
    /// With these pods, at this time.
    pub fn new(pods: impl IntoIterator<Item = (PodRef, String)>, now: UnixMillis) -> Self {
        Names { pods: pods.into_iter().collect(), now }
    }

    /// The name of a pod; its number when nobody knows it any more.
    pub fn pod(&self, pod: PodRef) -> String {
        self.pods.get(&pod).cloned().unwrap_or_else(|| pod.to_string())
    }

    fn maybe(&self, pod: Option<PodRef>) -> String {
        pod.map(|pod| self.pod(pod)).unwrap_or_default()
    }

    fn seconds_until(&self, end: UnixMillis) -> i64 {
        i64::try_from(end.since(self.now) / 1000).unwrap_or(i64::MAX)
    }

    fn seconds_since(&self, begin: UnixMillis) -> u64 {
        self.now.since(begin) / 1000
    }

    /// A row of `sip show peers`.
    pub fn peer(&self, view: PeerView) -> pb::Peer {
        let (host, port) = address(view.address);
        let monitored = view.monitored;
        pb::Peer {
            name: view.name,
            username: view.username,
            host,
            port,
            dynamic: view.dynamic,
            force_rport: view.force_rport.word().to_owned(),
            comedia: view.comedia.word().to_owned(),
            acl: view.acl,
            monitored,
            status: if monitored { status(&view.qualify) } else { UNMONITORED.to_owned() },
            rtt_ms: view.qualify.rtt_ms,
            description: view.description,
            source: match view.source {
                PeerSource::Static => "static",
                PeerSource::Cached => "cached",
                PeerSource::Stored => "stored",
            }
            .to_owned(),
            pod: self.maybe(view.pod),
            contacts: view.contacts.into_iter().map(|contact| self.contact(contact, monitored)).collect(),
        }
    }

    fn contact(&self, view: ContactView, monitored: bool) -> pb::Contact {
        let (host, port) = address(Some(view.address));
        pb::Contact {
            uri: view.uri,
            host,
            port,
            transport: view.transport,
            q: u32::from(view.q),
            expires_in: self.seconds_until(view.expires_at),
            user_agent: view.user_agent,
            status: if monitored { status(&view.qualify) } else { UNMONITORED.to_owned() },
            pod: self.maybe(view.pod),
            path: view.path,
            instance: view.instance,
        }
    }

    /// Every fact of `sip show peer`.
    pub fn detail(&self, detail: PeerDetail) -> pb::PeerDetail {
        let (default_host, default_port) = address(detail.default_address);
        pb::PeerDetail {
            peer: Some(self.peer(detail.view)),
            is_peer: detail.is_peer,
            is_user: detail.is_user,
            secret_set: detail.secret_set,
            md5secret_set: detail.md5secret_set,
            remote_secret_set: detail.remote_secret_set,
            context: detail.context,
            record_on_feature: detail.record_on_feature,
            record_off_feature: detail.record_off_feature,
            subscribe_context: detail.subscribe_context,
            language: detail.language,
            tonezone: detail.tonezone,
            accountcode: detail.accountcode,
            ama_flags: detail.ama_flags,
            transfer_open: detail.transfer_open,
            calling_pres: detail.calling_pres,
            from_user: detail.from_user,
            from_domain: detail.from_domain,
            from_domain_port: u32::from(detail.from_domain_port),
            callgroup: detail.callgroup,
            pickupgroup: detail.pickupgroup,
            named_callgroup: detail.named_callgroup,
            named_pickupgroup: detail.named_pickupgroup,
            moh_suggest: detail.moh_suggest,
            mailbox: detail.mailbox,
            vm_exten: detail.vm_exten,
            messages_new: detail.messages_new,
            messages_old: detail.messages_old,
            call_limit: detail.call_limit,
            max_forwards: detail.max_forwards,
            busy_level: detail.busy_level,
            caller_name: detail.caller_name,
            caller_number: detail.caller_number,
            max_call_bitrate: detail.max_call_bitrate,
            expires_in: detail.expires_at.map_or(-1, |end| self.seconds_until(end)),
            insecure_port: detail.insecure_port,
            insecure_invite: detail.insecure_invite,
            contact_acl: detail.contact_acl,
            direct_media_acl: detail.direct_media_acl,
            t38: detail.t38,
            t38_ec_mode: detail.t38_ec_mode,
            t38_max_datagram: detail.t38_max_datagram,
            direct_media: detail.direct_media,
            promisc_redir: detail.promisc_redir,
            user_phone: detail.user_phone,
            video: detail.video,
            text: detail.text,
            ignore_sdp_version: detail.ignore_sdp_version,
            trust_rpid: detail.trust_rpid,
            send_rpid: detail.send_rpid,
            path_support: detail.path_support,
            path: detail.path,
            trust_id_outbound: detail.trust_id_outbound,
            allow_subscribe: detail.allow_subscribe,
            overlap_dial: detail.overlap_dial,
            outbound_proxy: detail.outbound_proxy,
            outbound_proxy_forced: detail.outbound_proxy_forced,
            dtmf_mode: detail.dtmf_mode,
            timer_t1: detail.timer_t1,
            timer_b: detail.timer_b,
            to_host: detail.to_host,
            default_host,
            default_port,
            primary_transport: detail.primary_transport,
            allowed_transports: detail.allowed_transports,
            default_username: detail.default_username,
            sip_options: detail.sip_options,
            codecs: detail.codecs,
            auto_framing: detail.auto_framing,
            user_agent: detail.user_agent,
            contact: detail.contact,
            qualify_freq: detail.qualify_freq,
            keepalive: detail.keepalive,
            variables: detail
                .variables
                .into_iter()
                .map(|(name, value)| pb::Variable { name, value })
                .collect(),
            session_timers: detail.session_timers,
            session_refresher: detail.session_refresher,
            session_expires: detail.session_expires,
            session_min_se: detail.session_min_se,
            rtp_engine: detail.rtp_engine,
            parkinglot: detail.parkinglot,
            use_reason: detail.use_reason,
            encryption: detail.encryption,
            rtcp_mux: detail.rtcp_mux,
        }
    }

    /// A row of `sip show channels`; `audio` are the counters of its relay session, if they are known.
    pub fn channel(&self, channel: Channel, audio: Option<&SessionStatistics>) -> pb::Channel {
        let ours = audio.and_then(|all| stream_from(all, channel.side)).and_then(|stream| stream.local);
        pb::Channel {
            pod: self.pod(channel.pod),
            call: channel.call.to_string(),
            side: side(channel.side).to_owned(),
            relay: self.maybe(channel.relay),
            peer_address: channel.peer_address,
            received_address: channel.received_address,
            theoretical_address: channel.theoretical_address,
            user: channel.user,
            peer: channel.peer,
            call_id: channel.call_id,
            local_tag: channel.local_tag,
            remote_tag: channel.remote_tag,
            formats: channel.formats,
            hold: channel.hold,
            ending: channel.ending,
            last_message: channel.last_message,
            outgoing: channel.outgoing,
            state: channel.state,
            user_agent: channel.user_agent,
            transport: channel.transport,
            force_rport: channel.force_rport,
            route: channel.route,
            caller_id: channel.caller_id,
            uri: channel.uri,
            options: channel.options,
            since_ms: channel.since.0,
            answered_ms: channel.answered.map(|at| at.0),
            audio_address: ours.map(|at| at.ip().to_string()).unwrap_or_default(),
        }
    }

    /// A row of `sip show channelstats`: what came in from the leg, and what of ours went out to it.
    pub fn channel_stats(&self, channel: Channel, audio: &SessionStatistics) -> pb::ChannelStats {
        let from_it = stream_from(audio, channel.side);
        let from_other = stream_from(audio, channel.side.other());
        pb::ChannelStats {
            peer_address: channel.peer_address,
            peer: channel.peer,
            call_id: channel.call_id,
            call: channel.call.to_string(),
            side: side(channel.side).to_owned(),
            duration: self.seconds_since(channel.since),
            received: from_it.map_or(0, |stream| stream.packets),
            received_lost: from_it.map_or(0, |stream| stream.lost),
            received_jitter_us: from_it.map_or(0, |stream| stream.jitter_us),
            // `sent` counts what went on to the other side: what the other side sent, this one got.
            sent: from_other.map_or(0, |stream| stream.sent),
            sent_lost: from_it.map_or(0, |stream| stream.reported_lost),
            sent_jitter_us: from_it.map_or(0, |stream| stream.reported_jitter_us),
            round_trip_us: from_it.and_then(|stream| stream.round_trip_us),
            dropped: from_it.map_or(0, |stream| stream.dropped),
            pod: self.pod(channel.pod),
            relay: self.maybe(channel.relay),
        }
    }

    /// A row of `sip show bridged`.
    pub fn bridge(&self, bridge: Bridge) -> pb::Bridge {
        pb::Bridge {
            pod: self.pod(bridge.pod),
            call: bridge.call.to_string(),
            peer_a: bridge.peer_a,
            call_id_a: bridge.call_id_a,
            peer_b: bridge.peer_b,
            call_id_b: bridge.call_id_b,
            format: bridge.format,
            duration: self.seconds_since(bridge.answered),
        }
    }
}

const UNMONITORED: &str = "Unmonitored";

/// chan_sip's word for what qualify knows.
pub fn status(qualify: &Qualify) -> String {
    match qualify.state {
        QualifyState::Ok => format!("OK ({} ms)", qualify.rtt_ms),
        QualifyState::Lagged => format!("LAGGED ({} ms)", qualify.rtt_ms),
        QualifyState::Unreachable => "UNREACHABLE".to_owned(),
        QualifyState::Unknown => "UNKNOWN".to_owned(),
    }
}

/// A row of `sip show users`.
pub fn user(view: UserView) -> pb::User {
    pb::User {
        name: view.name,
        secret_set: view.secret_set,
        accountcode: view.accountcode,
        context: view.context,
        acl: view.acl,
        force_rport: view.force_rport.word().to_owned(),
    }
}

/// A row of `sip show inuse`.
pub fn in_use(view: InUseView) -> pb::InUse {
    pb::InUse {
        name: view.name,
        in_use: view.in_use,
        ringing: view.ringing,
        on_hold: view.on_hold,
        limit: view.limit,
    }
}

/// A pod.
pub fn pod(member: Member) -> pb::Pod {
    pb::Pod {
        id: member.pod.to_string(),
        name: member.name,
        role: member.role.word().to_owned(),
        grpc: if member.grpc.port() == 0 { String::new() } else { member.grpc.to_string() },
        started_ms: member.started.0,
        seen_ms: member.seen.0,
        draining: member.draining,
        load: member.load,
        version: member.version,
    }
}

fn side(side: Side) -> &'static str {
    match side {
        Side::A => "a",
        Side::B => "b",
    }
}

fn address(address: Option<PeerAddress>) -> (String, u32) {
    address.map(|at| (at.host, u32::from(at.port))).unwrap_or_default()
}

/// The first audio stream that comes from this side: chan_sip's tables know one.
fn stream_from(all: &SessionStatistics, side: Side) -> Option<&StreamStatistics> {
    let mut from_it = all.streams.iter().filter(|stream| stream.from == side);
    from_it.clone().find(|stream| stream.media == "audio").or_else(|| from_it.next())
}

/// Where phones go.
pub fn sip_address(address: &SipAddress) -> pb::Address {
    pb::Address {
        transport: address.transport.lower().to_owned(),
        host: address.host.clone(),
        port: u32::from(address.port),
        network: address.network.clone(),
        destinations: address.destinations.iter().map(ToString::to_string).collect(),
    }
}

/// What is wrong.
pub fn finding(finding: &Finding) -> pb::Finding {
    let severity = match finding.severity {
        Severity::Error => ERROR,
        Severity::Warning => "warning",
    };
    pb::Finding {
        severity: severity.to_owned(),
        code: finding.code.clone(),
        about: finding.about.clone(),
        text: finding.text.clone(),
        remedy: finding.remedy.clone(),
    }
}

/// The severity of what makes calls or registrations fail.
pub const ERROR: &str = "error";
