//! What the operator sees of a call: its legs, and the bridge between them.

use fairlead_model::channel::{Bridge, Channel};
use sip_wire::quote;

use super::*;

impl Call {
    /// The legs that are there now: the caller's, and the attempt that is made or was answered.
    pub fn channels(&self, pod: PodRef) -> Vec<Channel> {
        let mut channels = vec![self.channel_a(pod)];
        let shown = self.winner.or_else(|| {
            let open =
                |attempt: &&Attempt| !matches!(attempt.state, AttemptState::Left | AttemptState::Preparing);
            self.attempts.iter().rev().find(open).map(|attempt| attempt.number)
        });
        channels.extend(shown.and_then(|number| self.channel_b(number, pod)));
        channels
    }

    /// The bridge, once both legs hear each other.
    pub fn bridge(&self, pod: PodRef) -> Option<Bridge> {
        if !self.is_up() {
            return None;
        }
        let attempt = self.attempts.get(usize::from(self.winner?.0))?;
        let name = |policy: &LegPolicy, outlet: &Outlet| {
            policy.peer.clone().unwrap_or_else(|| outlet.remote.to_string())
        };
        Some(Bridge {
            pod,
            call: self.reference,
            peer_a: name(&self.a.policy, &self.a.outlet),
            call_id_a: self.a.dialog.as_ref()?.call_id.clone(),
            peer_b: name(&attempt.target.policy, attempt.outlet.as_ref()?),
            call_id_b: attempt.dialog.as_ref()?.call_id.clone(),
            format: attempt.session.as_ref().and_then(|s| s.formats.first().cloned()).unwrap_or_default(),
            answered: self.record.answered?.wall,
        })
    }

    fn channel_a(&self, pod: PodRef) -> Channel {
        let dialog = self.a.dialog.as_ref();
        let invite = self.a.invite.as_ref();
        let early = self.a.early.last();
        let caller = match invite.and_then(|invite| invite.from().ok()) {
            Some(from) => from.uri.decoded_user().map(|user| user.into_owned()).unwrap_or_default(),
            None => self.a.policy.caller_number.clone(),
        };
        let session = self.attempts.iter().rev().find_map(|attempt| attempt.session.as_ref());
        let call_id = dialog.map(|dialog| dialog.call_id.clone());
        let state = match &self.step {
            _ if dialog.is_some() => "Confirmed",
            Step::Ending => "Terminated",
            _ if early.is_some() => "Early",
            _ => "Proceeding",
        };
        Channel {
            pod,
            call: self.reference,
            side: Side::A,
            session: session.map(|session| session.reference),
            relay: session.and_then(|session| session.relay),
            peer_address: self.a.outlet.remote.to_string(),
            received_address: std::net::SocketAddr::new(self.a.outlet.remote, self.a.outlet.port).to_string(),
            theoretical_address: dialog.map(|dialog| address_of(&dialog.remote_target)).unwrap_or_default(),
            user: self.a.policy.peer.clone().unwrap_or_else(|| caller.clone()),
            peer: self.a.policy.peer.clone().unwrap_or_default(),
            call_id: call_id.or_else(|| invite.map(|i| i.call_id().to_owned())).unwrap_or_default(),
            local_tag: self.local_tag(LegRef::A).unwrap_or_default(),
            remote_tag: dialog
                .map(|dialog| dialog.remote_tag.clone())
                .or_else(|| invite.and_then(|invite| invite.from_tag().map(str::to_owned)))
                .unwrap_or_default(),
            formats: session.map(|session| session.formats.clone()).unwrap_or_default(),
            hold: self.a.facts.hold,
            ending: self.is_ending(),
            last_message: self.a.facts.last_message.clone(),
            outgoing: false,
            state: state.to_owned(),
            user_agent: self.a.facts.user_agent.clone(),
            transport: self.a.outlet.transport.upper().to_owned(),
            force_rport: self.a.outlet.nat.force_rport,
            route: dialog.map(|dialog| dialog.route_set.clone()).unwrap_or_default(),
            caller_id: self.caller_id(&caller),
            uri: dialog
                .map(|dialog| dialog.remote_target.clone())
                .or_else(|| invite.map(|invite| invite.request_uri().to_owned()))
                .unwrap_or_default(),
            options: self.a.facts.options.clone(),
            since: self.a.facts.since,
            answered: self.record.answered.map(|answered| answered.wall),
        }
    }

    fn channel_b(&self, number: AttemptRef, pod: PodRef) -> Option<Channel> {
        let attempt = self.attempts.get(usize::from(number.0))?;
        let outlet = attempt.outlet.as_ref()?;
        let dialog = attempt.dialog.as_ref();
        let state = match attempt.state {
            AttemptState::Preparing | AttemptState::Offering => "None",
            AttemptState::Calling => "Calling",
            AttemptState::Proceeding => "Proceeding",
            AttemptState::Answered => "Confirmed",
            AttemptState::Left => "Terminated",
        };
        let policy = &attempt.target.policy;
        let caller = self.a.invite.as_ref().and_then(|invite| invite.from().ok());
        let caller =
            caller.and_then(|from| from.uri.decoded_user().map(|user| user.into_owned())).unwrap_or_default();
        Some(Channel {
            pod,
            call: self.reference,
            side: Side::B,
            session: attempt.session.as_ref().map(|session| session.reference),
            relay: attempt.session.as_ref().and_then(|session| session.relay),
            peer_address: outlet.remote.to_string(),
            received_address: std::net::SocketAddr::new(outlet.remote, outlet.port).to_string(),
            theoretical_address: address_of(
                dialog.map_or(attempt.target.uri.as_str(), |d| d.remote_target.as_str()),
            ),
            user: policy.peer.clone().unwrap_or_default(),
            peer: policy.peer.clone().unwrap_or_default(),
            call_id: attempt.call_id.clone(),
            local_tag: attempt.tag.clone(),
            remote_tag: dialog.map(|dialog| dialog.remote_tag.clone()).unwrap_or_default(),
            formats: attempt.session.as_ref().map(|session| session.formats.clone()).unwrap_or_default(),
            hold: attempt.facts.hold,
            ending: self.is_ending(),
            last_message: attempt.facts.last_message.clone(),
            outgoing: true,
            state: state.to_owned(),
            user_agent: attempt.facts.user_agent.clone(),
            transport: outlet.transport.upper().to_owned(),
            force_rport: outlet.nat.force_rport,
            route: dialog.map_or_else(|| attempt.target.route.clone(), |dialog| dialog.route_set.clone()),
            caller_id: self.caller_id(&caller),
            uri: dialog.map_or_else(|| attempt.target.uri.clone(), |dialog| dialog.remote_target.clone()),
            options: attempt.facts.options.clone(),
            since: attempt.facts.since,
            answered: self.record.answered.map(|answered| answered.wall),
        })
    }

    fn caller_id(&self, user: &str) -> String {
        let policy = &self.a.policy;
        let number = if policy.caller_number.is_empty() { user } else { &policy.caller_number };
        if policy.caller_name.is_empty() {
            return format!("<{number}>");
        }
        format!("{} <{number}>", quote(&policy.caller_name))
    }
}

/// Host and port that a URI names.
fn address_of(uri: &str) -> String {
    let Ok(uri) = sip_wire::Uri::parse(uri) else { return String::new() };
    match uri.port() {
        Some(port) => format!("{}:{port}", uri.host()),
        None => uri.host().to_owned(),
    }
}
