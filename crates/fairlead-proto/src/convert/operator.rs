//! What the operator sees of peers.

use fairlead_model::id::UnixMillis;
use fairlead_model::operator as model;

use super::{Unreadable, each, known, needed, pod, same_enum, small};
use crate::registrar::v1 as pb;

same_enum!(pb::NatView, model::NatView, "nat", { No = No, Yes = Yes, AutoNo = AutoNo, AutoYes = AutoYes });
same_enum!(pb::PeerSource, model::PeerSource, "source", { Static = Static, Cached = Cached, Stored = Stored });
same_enum!(pb::UnregisterOutcome, model::UnregisterOutcome, "outcome", {
    Unregistered = Unregistered, NotRegistered = NotRegistered, UnknownPeer = UnknownPeer,
});

impl From<model::PeerPage> for pb::PeerPage {
    fn from(m: model::PeerPage) -> Self {
        pb::PeerPage { like: m.like, after: m.after, limit: m.limit }
    }
}

impl From<pb::PeerPage> for model::PeerPage {
    fn from(p: pb::PeerPage) -> Self {
        model::PeerPage { like: p.like, after: p.after, limit: p.limit }
    }
}

impl From<model::PruneSelector> for pb::PruneRequest {
    fn from(m: model::PruneSelector) -> Self {
        use pb::prune_request::Which;
        let which = match m {
            model::PruneSelector::All => Which::All(pb::PruneAll {}),
            model::PruneSelector::Name(name) => Which::Name(name),
            model::PruneSelector::Like(like) => Which::Like(like),
        };
        pb::PruneRequest { which: Some(which) }
    }
}

impl TryFrom<pb::PruneRequest> for model::PruneSelector {
    type Error = Unreadable;

    fn try_from(p: pb::PruneRequest) -> Result<Self, Unreadable> {
        use pb::prune_request::Which;
        Ok(match needed(p.which, "which")? {
            Which::All(_) => model::PruneSelector::All,
            Which::Name(name) => model::PruneSelector::Name(name),
            Which::Like(like) => model::PruneSelector::Like(like),
        })
    }
}

impl From<model::PruneReceipt> for pb::PruneResponse {
    fn from(m: model::PruneReceipt) -> Self {
        pb::PruneResponse { pruned: m.pruned, is_static: m.is_static, names: m.names }
    }
}

impl From<pb::PruneResponse> for model::PruneReceipt {
    fn from(p: pb::PruneResponse) -> Self {
        model::PruneReceipt { pruned: p.pruned, is_static: p.is_static, names: p.names }
    }
}

impl From<model::PeerAddress> for pb::PeerAddress {
    fn from(m: model::PeerAddress) -> Self {
        pb::PeerAddress { host: m.host, port: m.port.into() }
    }
}

impl TryFrom<pb::PeerAddress> for model::PeerAddress {
    type Error = Unreadable;

    fn try_from(p: pb::PeerAddress) -> Result<Self, Unreadable> {
        Ok(model::PeerAddress { host: p.host, port: small(p.port, "port")? })
    }
}

impl From<model::ContactView> for pb::ContactView {
    fn from(m: model::ContactView) -> Self {
        pb::ContactView {
            uri: m.uri,
            address: Some(m.address.into()),
            transport: m.transport,
            q: m.q.into(),
            expires_at: m.expires_at.0,
            user_agent: m.user_agent,
            qualify: Some(m.qualify.into()),
            pod: m.pod.map(|pod| pod.0),
            path: m.path,
            instance: m.instance,
        }
    }
}

impl TryFrom<pb::ContactView> for model::ContactView {
    type Error = Unreadable;

    fn try_from(p: pb::ContactView) -> Result<Self, Unreadable> {
        Ok(model::ContactView {
            uri: p.uri,
            address: needed(p.address, "address")?.try_into()?,
            transport: p.transport,
            q: small(p.q, "q")?,
            expires_at: UnixMillis(p.expires_at),
            user_agent: p.user_agent,
            qualify: needed(p.qualify, "qualify")?.try_into()?,
            pod: p.pod.map(pod).transpose()?,
            path: p.path,
            instance: p.instance,
        })
    }
}

impl From<model::PeerView> for pb::PeerView {
    fn from(m: model::PeerView) -> Self {
        pb::PeerView {
            name: m.name,
            username: m.username,
            address: m.address.map(Into::into),
            dynamic: m.dynamic,
            force_rport: pb::NatView::from(m.force_rport).into(),
            comedia: pb::NatView::from(m.comedia).into(),
            acl: m.acl,
            monitored: m.monitored,
            qualify: Some(m.qualify.into()),
            description: m.description,
            source: pb::PeerSource::from(m.source).into(),
            pod: m.pod.map(|pod| pod.0),
            contacts: m.contacts.into_iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<pb::PeerView> for model::PeerView {
    type Error = Unreadable;

    fn try_from(p: pb::PeerView) -> Result<Self, Unreadable> {
        Ok(model::PeerView {
            name: p.name,
            username: p.username,
            address: p.address.map(TryInto::try_into).transpose()?,
            dynamic: p.dynamic,
            force_rport: known::<pb::NatView>(p.force_rport, "force_rport")?.try_into()?,
            comedia: known::<pb::NatView>(p.comedia, "comedia")?.try_into()?,
            acl: p.acl,
            monitored: p.monitored,
            qualify: needed(p.qualify, "qualify")?.try_into()?,
            description: p.description,
            source: known::<pb::PeerSource>(p.source, "source")?.try_into()?,
            pod: p.pod.map(pod).transpose()?,
            contacts: each(p.contacts)?,
        })
    }
}

impl From<model::PeerDetail> for pb::PeerDetail {
    fn from(m: model::PeerDetail) -> Self {
        pb::PeerDetail {
            view: Some(m.view.into()),
            is_peer: m.is_peer,
            is_user: m.is_user,
            secret_set: m.secret_set,
            md5secret_set: m.md5secret_set,
            remote_secret_set: m.remote_secret_set,
            context: m.context,
            record_on_feature: m.record_on_feature,
            record_off_feature: m.record_off_feature,
            subscribe_context: m.subscribe_context,
            language: m.language,
            tonezone: m.tonezone,
            accountcode: m.accountcode,
            ama_flags: m.ama_flags,
            transfer_open: m.transfer_open,
            calling_pres: m.calling_pres,
            from_user: m.from_user,
            from_domain: m.from_domain,
            from_domain_port: m.from_domain_port.into(),
            callgroup: m.callgroup,
            pickupgroup: m.pickupgroup,
            named_callgroup: m.named_callgroup,
            named_pickupgroup: m.named_pickupgroup,
            moh_suggest: m.moh_suggest,
            mailbox: m.mailbox,
            vm_exten: m.vm_exten,
            messages_new: m.messages_new,
            messages_old: m.messages_old,
            call_limit: m.call_limit,
            max_forwards: m.max_forwards,
            busy_level: m.busy_level,
            caller_name: m.caller_name,
            caller_number: m.caller_number,
            max_call_bitrate: m.max_call_bitrate,
            expires_at: m.expires_at.map(|at| at.0),
            insecure_port: m.insecure_port,
            insecure_invite: m.insecure_invite,
            contact_acl: m.contact_acl,
            direct_media_acl: m.direct_media_acl,
            t38: m.t38,
            t38_ec_mode: m.t38_ec_mode,
            t38_max_datagram: m.t38_max_datagram,
            direct_media: m.direct_media,
            promisc_redir: m.promisc_redir,
            user_phone: m.user_phone,
            video: m.video,
            text: m.text,
            ignore_sdp_version: m.ignore_sdp_version,
            trust_rpid: m.trust_rpid,
            send_rpid: m.send_rpid,
            path_support: m.path_support,
            path: m.path,
            trust_id_outbound: m.trust_id_outbound,
            allow_subscribe: m.allow_subscribe,
            overlap_dial: m.overlap_dial,
            outbound_proxy: m.outbound_proxy,
            outbound_proxy_forced: m.outbound_proxy_forced,
            dtmf_mode: m.dtmf_mode,
            timer_t1: m.timer_t1,
            timer_b: m.timer_b,
            to_host: m.to_host,
            default_address: m.default_address.map(Into::into),
            primary_transport: m.primary_transport,
            allowed_transports: m.allowed_transports,
            default_username: m.default_username,
            sip_options: m.sip_options,
            codecs: m.codecs,
            auto_framing: m.auto_framing,
            user_agent: m.user_agent,
            contact: m.contact,
            qualify_freq: m.qualify_freq,
            keepalive: m.keepalive,
            variables: m.variables.into_iter().map(|(name, value)| pb::Variable { name, value }).collect(),
            session_timers: m.session_timers,
            session_refresher: m.session_refresher,
            session_expires: m.session_expires,
            session_min_se: m.session_min_se,
            rtp_engine: m.rtp_engine,
            parkinglot: m.parkinglot,
            use_reason: m.use_reason,
            encryption: m.encryption,
            rtcp_mux: m.rtcp_mux,
        }
    }
}

impl TryFrom<pb::PeerDetail> for model::PeerDetail {
    type Error = Unreadable;

    fn try_from(p: pb::PeerDetail) -> Result<Self, Unreadable> {
        Ok(model::PeerDetail {
            view: needed(p.view, "view")?.try_into()?,
            is_peer: p.is_peer,
            is_user: p.is_user,
            secret_set: p.secret_set,
            md5secret_set: p.md5secret_set,
            remote_secret_set: p.remote_secret_set,
            context: p.context,
            record_on_feature: p.record_on_feature,
            record_off_feature: p.record_off_feature,
            subscribe_context: p.subscribe_context,
            language: p.language,
            tonezone: p.tonezone,
            accountcode: p.accountcode,
            ama_flags: p.ama_flags,
            transfer_open: p.transfer_open,
            calling_pres: p.calling_pres,
            from_user: p.from_user,
            from_domain: p.from_domain,
            from_domain_port: small(p.from_domain_port, "from_domain_port")?,
            callgroup: p.callgroup,
            pickupgroup: p.pickupgroup,
            named_callgroup: p.named_callgroup,
            named_pickupgroup: p.named_pickupgroup,
            moh_suggest: p.moh_suggest,
            mailbox: p.mailbox,
            vm_exten: p.vm_exten,
            messages_new: p.messages_new,
            messages_old: p.messages_old,
            call_limit: p.call_limit,
            max_forwards: p.max_forwards,
            busy_level: p.busy_level,
            caller_name: p.caller_name,
            caller_number: p.caller_number,
            max_call_bitrate: p.max_call_bitrate,
            expires_at: p.expires_at.map(UnixMillis),
            insecure_port: p.insecure_port,
            insecure_invite: p.insecure_invite,
            contact_acl: p.contact_acl,
            direct_media_acl: p.direct_media_acl,
            t38: p.t38,
            t38_ec_mode: p.t38_ec_mode,
            t38_max_datagram: p.t38_max_datagram,
            direct_media: p.direct_media,
            promisc_redir: p.promisc_redir,
            user_phone: p.user_phone,
            video: p.video,
            text: p.text,
            ignore_sdp_version: p.ignore_sdp_version,
            trust_rpid: p.trust_rpid,
            send_rpid: p.send_rpid,
            path_support: p.path_support,
            path: p.path,
            trust_id_outbound: p.trust_id_outbound,
            allow_subscribe: p.allow_subscribe,
            overlap_dial: p.overlap_dial,
            outbound_proxy: p.outbound_proxy,
            outbound_proxy_forced: p.outbound_proxy_forced,
            dtmf_mode: p.dtmf_mode,
            timer_t1: p.timer_t1,
            timer_b: p.timer_b,
            to_host: p.to_host,
            default_address: p.default_address.map(TryInto::try_into).transpose()?,
            primary_transport: p.primary_transport,
            allowed_transports: p.allowed_transports,
            default_username: p.default_username,
            sip_options: p.sip_options,
            codecs: p.codecs,
            auto_framing: p.auto_framing,
            user_agent: p.user_agent,
            contact: p.contact,
            qualify_freq: p.qualify_freq,
            keepalive: p.keepalive,
            variables: p.variables.into_iter().map(|v| (v.name, v.value)).collect(),
            session_timers: p.session_timers,
            session_refresher: p.session_refresher,
            session_expires: p.session_expires,
            session_min_se: p.session_min_se,
            rtp_engine: p.rtp_engine,
            parkinglot: p.parkinglot,
            use_reason: p.use_reason,
            encryption: p.encryption,
            rtcp_mux: p.rtcp_mux,
        })
    }
}

impl From<model::UserView> for pb::UserView {
    fn from(m: model::UserView) -> Self {
        pb::UserView {
            name: m.name,
            secret_set: m.secret_set,
            accountcode: m.accountcode,
            context: m.context,
            acl: m.acl,
            force_rport: pb::NatView::from(m.force_rport).into(),
        }
    }
}

impl TryFrom<pb::UserView> for model::UserView {
    type Error = Unreadable;

    fn try_from(p: pb::UserView) -> Result<Self, Unreadable> {
        Ok(model::UserView {
            name: p.name,
            secret_set: p.secret_set,
            accountcode: p.accountcode,
            context: p.context,
            acl: p.acl,
            force_rport: known::<pb::NatView>(p.force_rport, "force_rport")?.try_into()?,
        })
    }
}

impl From<model::InUseView> for pb::InUseView {
    fn from(m: model::InUseView) -> Self {
        pb::InUseView {
            name: m.name,
            in_use: m.in_use,
            ringing: m.ringing,
            on_hold: m.on_hold,
            limit: m.limit,
        }
    }
}

impl TryFrom<pb::InUseView> for model::InUseView {
    type Error = Unreadable;

    fn try_from(p: pb::InUseView) -> Result<Self, Unreadable> {
        Ok(model::InUseView {
            name: p.name,
            in_use: p.in_use,
            ringing: p.ringing,
            on_hold: p.on_hold,
            limit: p.limit,
        })
    }
}
