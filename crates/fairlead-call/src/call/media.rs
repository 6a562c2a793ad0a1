//! Orders to the relay, and what it replies.

use fairlead_model::relay::{Described, RelayRefused, RelayReply, SdpOrder, SideMedia};

use super::*;

impl Call {
    /// A relay replied.
    pub fn relayed(&mut self, tag: OrderTag, reply: Result<RelayReply, RelayRefused>, now: Now) {
        let Some(at) = self.waits.iter().position(|(known, _)| *known == tag) else { return };
        let (_, wait) = self.waits.remove(at);
        match reply {
            Ok(RelayReply::Described(described)) => self.described(wait, described, now),
            Ok(RelayReply::Statistics(statistics)) => {
                if let Wait::Delete { last: true } = wait {
                    self.record.media = Some(statistics);
                    self.report();
                }
            }
            Ok(RelayReply::Done { .. }) => {
                if let Wait::Delete { last: true } = wait {
                    self.report();
                }
            }
            Err(refused) => self.relay_refused(wait, refused, now),
        }
    }

    fn described(&mut self, wait: Wait, described: Described, now: Now) {
        let Described { relay, sdp, narrowed, hold, formats } = described;
        if narrowed > 0 {
            self.outputs.push_back(Output::Narrowed(narrowed));
        }
        let number = match &wait {
            Wait::Offer(number) | Wait::LateOffer(number) | Wait::LateAnswer(number) => Some(*number),
            Wait::EarlyAnswer { early, .. } | Wait::Answer { early, .. } => {
                self.a.early.get(*early).map(|early| early.attempt)
            }
            _ => self.winner,
        };
        if let Some(session) =
            number.and_then(|n| self.attempt(n)).and_then(|attempt| attempt.session.as_mut())
        {
            session.relay = Some(relay);
            if !formats.is_empty() {
                session.formats = formats;
            }
            if session.deleted {
                // It was given up before the relay said which it is.
                let reference = session.reference;
                let last = self.is_last(number);
                self.order(Some(relay), RelayOrder::Delete(reference), Wait::Delete { last });
                return;
            }
        }
        match wait {
            Wait::Offer(number) => self.offer_described(number, &sdp, now),
            Wait::EarlyAnswer { early, status, body } => {
                self.early_answer_described(early, status, body, &sdp, now)
            }
            Wait::Answer { early, body } => self.answer_described(early, body, &sdp, now),
            Wait::LateOffer(number) => self.late_offer_described(number, &sdp, now),
            Wait::LateAnswer(number) => self.late_answer_described(number, &sdp, now),
            Wait::ReOffer => self.reoffer_described(&sdp, hold, now),
            Wait::ReAnswer | Wait::ReLateOffer => self.reanswer_described(&sdp, hold, now),
            Wait::ReLateAnswer => self.relate_answer_described(&sdp, hold),
            Wait::Delete { last: true } => self.report(),
            Wait::Delete { last: false } | Wait::Nothing => {}
        }
    }

    fn relay_refused(&mut self, wait: Wait, refused: RelayRefused, now: Now) {
        let caller_is_wrong = matches!(refused, RelayRefused::BadDescription(_));
        match wait {
            Wait::Offer(number) => {
                let cause = if caller_is_wrong { Cause::BadDescription } else { Cause::NoRelay };
                if let Some(session) = self.attempt(number).and_then(|attempt| attempt.session.as_mut()) {
                    // Nobody has it.
                    let given_up = std::mem::replace(&mut session.deleted, true);
                    session.opened = false;
                    if given_up {
                        return self.report_if_last(number);
                    }
                }
                if self.attempt(number).is_some_and(|attempt| attempt.state == AttemptState::Offering) {
                    self.leave(number, cause, Vec::new(), now);
                }
            }
            // A first look at the answer that cannot be carried is only a ringing phone.
            Wait::EarlyAnswer { .. } => {}
            Wait::Answer { .. } | Wait::LateOffer(_) => {
                if let (Wait::LateOffer(number), true) = (&wait, self.is_ending()) {
                    let number = *number;
                    if let Some(session) = self.attempt(number).and_then(|attempt| attempt.session.as_mut()) {
                        session.opened = false;
                    }
                    return self.report_if_last(number);
                }
                if matches!(self.step, Step::Answering(_)) {
                    self.answer_is_no_use(now);
                }
            }
            Wait::LateAnswer(winner) => {
                self.acknowledge(winner);
                self.hang_up(None, EndedBy::Failure, Vec::new(), now);
            }
            Wait::ReOffer => self.reoffer_refused(caller_is_wrong, now),
            Wait::ReAnswer | Wait::ReLateOffer | Wait::ReLateAnswer => {
                self.hang_up(None, EndedBy::Failure, Vec::new(), now);
            }
            Wait::Delete { last: true } => self.report(),
            Wait::Delete { last: false } | Wait::Nothing => {}
        }
    }

    /// A relay ended a session by itself, for silence (`RtpTimeout`), or does not have it any more.
    pub fn session_ended(
        &mut self,
        session: SessionRef,
        statistics: Option<SessionStatistics>,
        by: EndedBy,
        now: Now,
    ) {
        let Some(winner) = self.winner else { return };
        let Some(attempt) = self.attempt(winner) else { return };
        let Some(held) = attempt.session.as_mut().filter(|held| held.reference == session) else { return };
        held.deleted = true;
        self.record.media = statistics;
        self.hang_up(None, by, Vec::new(), now);
    }

    /// The relay session that has to be renewed, and where it is.
    pub fn sessions(&self) -> impl Iterator<Item = (PodRef, SessionRef)> + '_ {
        self.attempts
            .iter()
            .filter_map(|attempt| attempt.session.as_ref())
            .filter(|session| session.opened && !session.deleted)
            .filter_map(|session| Some((session.relay?, session.reference)))
    }

    pub(super) fn order_offer(&mut self, number: AttemptRef, from: Side, sdp: Bytes, wait: Wait) {
        let reference = SessionRef { call: self.reference, attempt: number };
        let Some(order) = self.sdp_order(number, from, sdp) else { return };
        let Some(attempt) = self.attempt(number) else { return };
        let session = attempt.session.get_or_insert_with(|| Session {
            reference,
            relay: None,
            formats: Vec::new(),
            opened: false,
            deleted: false,
        });
        session.opened = true;
        let relay = session.relay;
        self.order(relay, RelayOrder::Offer(Box::new(order)), wait);
    }

    pub(super) fn order_answer(&mut self, number: AttemptRef, from: Side, sdp: Bytes, wait: Wait) {
        let Some(mut order) = self.sdp_order(number, from, sdp) else { return };
        if matches!(wait, Wait::EarlyAnswer { .. }) {
            // A phone that rings owes nobody RTP: silence counts from the answer on.
            for side in [&mut order.a, &mut order.b] {
                (side.rtp_timeout, side.rtp_hold_timeout) = (0, 0);
            }
        }
        let relay = self.attempt(number).and_then(|a| a.session.as_ref()).and_then(|session| session.relay);
        self.order(relay, RelayOrder::Answer(Box::new(order)), wait);
    }

    pub(super) fn order_withdraw(&mut self) {
        let Some(winner) = self.winner else { return };
        let Some(session) = self.attempt(winner).and_then(|attempt| attempt.session.clone()) else { return };
        self.order(session.relay, RelayOrder::Withdraw(session.reference), Wait::Nothing);
    }

    pub(super) fn order(&mut self, relay: Option<PodRef>, what: RelayOrder, wait: Wait) {
        self.next_order = self.next_order.wrapping_add(1);
        let tag = OrderTag(self.next_order);
        self.waits.push((tag, wait));
        self.outputs.push_back(Output::Relay { tag, relay, what });
    }

    fn sdp_order(&mut self, number: AttemptRef, from: Side, sdp: Bytes) -> Option<SdpOrder> {
        let a = side_media(&self.a.outlet, &self.a.policy);
        let session = SessionRef { call: self.reference, attempt: number };
        let attempt = self.attempt(number)?;
        let b = side_media(attempt.outlet.as_ref()?, &attempt.target.policy);
        Some(SdpOrder { session, from, sdp, a, b })
    }

    /// Whether an attempt's statistics are those of the record.
    fn is_last(&self, number: Option<AttemptRef>) -> bool {
        let last = self.winner.or(self.attempts.last().map(|attempt| attempt.number));
        self.is_ending() && number == last
    }

    fn report_if_last(&mut self, number: AttemptRef) {
        if self.is_last(Some(number)) {
            self.report();
        }
    }
}

fn side_media(outlet: &Outlet, policy: &LegPolicy) -> SideMedia {
    SideMedia {
        network: outlet.network.clone(),
        signalling: outlet.remote,
        comedia: policy.nat.comedia,
        source: policy.rtp_source,
        rtp_timeout: policy.rtp_timeout,
        rtp_hold_timeout: policy.rtp_hold_timeout,
        ipv6: outlet.remote.is_ipv6(),
    }
}
