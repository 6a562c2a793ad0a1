//! New requests outside of dialogs, and the question whether an INVITE may come in.

use fairlead_call::call::Opening;
use fairlead_model::ask::{AdmitRequest, Admitted, Answer, AskFailed};
use siphasher::sip128::{Hasher128, SipHasher24};
use std::hash::Hasher;

use super::checks::Refused;
use super::*;

/// A refusal is repeated for so long to somebody who has proven nothing (twice with the T1 of 500 ms): with all of
/// Timer H whoever writes another's address into his packets would have us send there many times what he sent.
const REPEAT_TO_STRANGERS: Duration = Duration::from_millis(1_600);

impl Core {
    /// A request of no transaction.
    pub(super) fn new_request(&mut self, request: Message, flow: Flow, now: Now) {
        if let Err(refused) = self.check(&request) {
            return self.refuse_stateless(&request, &flow, refused);
        }
        if request.to_tag().is_some() {
            return self.request_in_dialog(request, flow, now);
        }
        match request.method() {
            Method::Register => self.register(request, flow, now),
            Method::Options => self.options(&request, &flow),
            Method::Invite => self.admit(request, flow, now),
            // §12.2.2, §15.1.2: nothing else lives outside of a dialog.
            _ => {
                let refused = Refused::new(481, "Call/Transaction Does Not Exist", "no_dialog");
                self.refuse_stateless(&request, &flow, refused);
            }
        }
    }

    fn admit(&mut self, request: Message, flow: Flow, now: Now) {
        // What another pod passed on because it drains itself is not sent round: it has the time that calls have here.
        if self.ending || (self.draining && flow.pod == self.identity.pod) {
            let refused = self.whole_edge_refuses("Draining", "draining");
            return self.refuse_stateless(&request, &flow, refused);
        }
        if self.outlet_of_flow(&flow, Default::default()).is_none() {
            let refused = self.no_address();
            return self.refuse_stateless(&request, &flow, refused);
        }
        let Ok(credentials) = self.credentials(&request, &flow) else { return };
        if !self.has_room() || self.calls.len() >= self.limits.calls || self.router.keys().is_empty() {
            let refused = self.whole_edge_refuses("Service Unavailable", "calls_full");
            return self.refuse_stateless(&request, &flow, refused);
        }
        let (Ok(from), Ok(uri), Ok(cseq), Ok(via)) =
            (request.from(), request.uri(), request.cseq(), request.top_via())
        else {
            return self.refuse_stateless(&request, &flow, Refused::new(400, "Bad Request", "bad_header"));
        };
        let differs = respond::via_differs(&request, &flow);
        let Some(server) = self.open_server(&request, flow, differs, now) else { return };
        let merged = self.merge_key(&request);
        self.merged.insert(merged, server);
        let call = CallRef {
            pod: self.identity.pod,
            shard: ShardRef(self.identity.shard),
            number: self.next_number(),
        };
        if let Some(known) = self.servers.get_mut(&server) {
            known.merged = Some(merged);
            known.call = Some(call);
        }
        let question = AdmitRequest {
            method: request.method().as_str().to_owned(),
            call,
            call_id: request.call_id().to_owned(),
            from_tag: request.from_tag().unwrap_or_default().to_owned(),
            cseq: cseq.number,
            branch: via.branch.as_deref().unwrap_or_default().to_owned(),
            flow,
            via_differs: differs,
            from_user: from.uri.decoded_user().map(|user| user.into_owned()).unwrap_or_default(),
            from_host: from.uri.host().to_owned(),
            from_display: from.display.as_deref().unwrap_or_default().to_owned(),
            target_user: uri.decoded_user().map(|user| user.into_owned()).unwrap_or_default(),
            target_host: uri.host().to_owned(),
            credentials,
        };
        let key = self.key_of(&request, &flow);
        self.ask(Ask::Admit(Box::new(question)), key, Asked::Admit { server, call });
        // §17.2.1: a caller that hears nothing within T1 repeats; the answer of the registrar may take longer.
        self.trying(server, now);
    }

    /// The registrar answered, or did not.
    pub(super) fn answered(&mut self, id: AskRef, answer: Result<Answer, AskFailed>, now: Now) {
        if let Some(flow) = self.moving.remove(&id) {
            self.sources.answered(flow.remote, &answer, now.mono);
            if let Ok(Answer::Located(Some(_))) = answer {
                self.keep_moved(&flow, now);
            }
            return;
        }
        match self.asks.remove(&id) {
            Some(Asked::Register { server }) => match answer {
                Ok(Answer::Registered(registered)) => self.registered(server, &registered, now),
                other => self.not_let_in(server, other, now),
            },
            Some(Asked::Admit { server, call }) => self.admit_answered(server, call, answer, now),
            Some(Asked::Owner { server }) => self.owner_answered(server, answer, now),
            Some(Asked::OwnerOf(name)) => self.owner_of(name, answer, now),
            Some(Asked::Disowned(name)) => self.disowned(name, answer, now),
            Some(Asked::Occupy { call, attempt }) => self.occupy_answered(call, attempt, answer, now),
            Some(Asked::Locate { call, ticket, leg }) => {
                let hop = match answer {
                    Ok(Answer::Located(hop)) => hop,
                    // The flow that the leg used last has to do.
                    _ => None,
                };
                self.located(call, ticket, leg, hop, now);
            }
            Some(Asked::Held { number }) => self.found_where(number, answer, now),
            Some(Asked::Challenge { call, ticket, cseq, proxy }) => {
                let value = match answer {
                    Ok(Answer::ChallengeAnswered { value }) => Some(value),
                    _ => None,
                };
                self.with_call(call, now, |call, now| {
                    call.challenge_answered(ticket, cseq, proxy, value, now)
                });
            }
            // Another pod has adopted the call: it is not ours any more (fencing).
            Some(Asked::Checkpoint { call }) => match answer {
                Ok(Answer::Refused(_)) => self.let_go(call),
                Ok(_) => {}
                // As it is then, not as it was now.
                Err(_) => self.timers.add(now.mono + checkpoint::AGAIN, Timer::Checkpoint(call)),
            },
            Some(Asked::Told(told)) if answer.is_err() => self.not_heard(told, now),
            Some(Asked::Told(_)) => {}
            None => {}
        }
    }

    fn admit_answered(&mut self, server: u64, call: CallRef, answer: Result<Answer, AskFailed>, now: Now) {
        let cancelled = self.servers.get(&server).is_none_or(|known| known.cancelled.is_some());
        match answer {
            Ok(Answer::Admitted(admitted)) if cancelled || admitted.targets.is_empty() => {
                self.tell(Ask::Release { call });
                self.disown(server, call);
                if !cancelled {
                    self.refuse(server, Refused::new(480, "Temporarily Unavailable", "no_target"), now);
                }
            }
            Ok(Answer::Admitted(_)) if self.ending => {
                self.tell(Ask::Release { call });
                self.disown(server, call);
                let refused = self.whole_edge_refuses("Draining", "draining");
                self.refuse(server, refused, now);
            }
            Ok(Answer::Admitted(admitted)) => self.begin_call(server, call, *admitted, now),
            Ok(Answer::Owned { pod, call: other }) => self.owned_elsewhere(server, pod, other, now),
            other => {
                if let Some(known) = self.servers.get_mut(&server) {
                    known.call = None;
                }
                self.not_let_in(server, other, now);
            }
        }
    }

    /// This first request has an owner already: another pod or shard received it before (a retransmission that took
    /// another way). The request is passed on, and nothing is kept of it here.
    fn owned_elsewhere(&mut self, server: u64, pod: PodRef, call: CallRef, now: Now) {
        let Some(known) = self.servers.get(&server) else { return };
        let (request, flow, transaction) = (known.request.clone(), known.flow, known.transaction);
        let (crossed, cancelled) = (flow.pod != self.identity.pod, known.cancelled.clone());
        let mine = pod == self.identity.pod && call.shard.0 == self.identity.shard;
        if mine {
            // §8.2.2.2: it came by two ways and was answered on the other.
            return self.refuse(server, Refused::new(482, "Merged Request", "merged"), now);
        }
        if let Some(message) = cancelled {
            // Its caller has its 487 from here; whoever has the call is to hear that it is not wanted.
            if !crossed || pod == self.identity.pod {
                self.carry(pod, Some(call.shard.0), message, flow, now);
            }
            return;
        }
        if pod != self.identity.pod {
            self.keep_crossed(&request, flow, pod, now);
        }
        if (crossed && pod != self.identity.pod) || !self.router.is_there(pod) {
            // It was passed on to two pods, since the first one did not say in time that it has it. Its owner answers: the
            // caller would take a 482 for the answer to a call that rings there. Should its owner be gone, it is looked for.
            self.event(Event::Dropped { reason: "owned_elsewhere" });
            return self.forget_server(server, transaction);
        }
        self.hand_to_owner(server, pod, call, now);
    }

    /// The pod and shard that have the call answer this request of it.
    pub(super) fn hand_to_owner(&mut self, server: u64, pod: PodRef, call: CallRef, now: Now) {
        let Some(known) = self.servers.get(&server) else { return };
        let (message, flow, transaction) = (known.request.clone(), known.flow, known.transaction);
        self.carry(pod, Some(call.shard.0), message, flow, now);
        self.forget_server(server, transaction);
    }

    fn begin_call(&mut self, server: u64, reference: CallRef, admitted: Admitted, now: Now) {
        let Some(known) = self.servers.get_mut(&server) else { return };
        known.forced = admitted.caller.nat.force_rport;
        known.call = Some(reference);
        let (request, flow, forced, transaction) =
            (known.request.clone(), known.flow, known.forced, known.transaction);
        if let Some(User::Server { to, .. }) = self.transactions.user_mut(transaction) {
            *to = SendTo::Flow(respond::way_back(&request, &flow, forced));
        }
        let Some(key) = self.router.keys().first().cloned() else { return };
        let Some((network, outlet)) = self.outlet_of_flow(&flow, admitted.caller.nat) else {
            self.tell(Ask::Release { call: reference });
            self.disown(server, reference);
            let refused = self.no_address();
            return self.refuse(server, refused, now);
        };
        let hops = match request.max_forwards() {
            Some(Ok(hops)) => hops.saturating_sub(1),
            _ => 70,
        };
        // A caller with a binding is registered by the flow that he calls by.
        let located = admitted.binding.is_some().then_some(flow);
        let call = Call::begin(
            Opening {
                reference,
                server: ServerRef { id: server, source: flow.remote, forced },
                outlet,
                caller: admitted.caller,
                binding: admitted.binding,
                targets: admitted.targets,
                names: Box::new(CallNames::new(reference, key)),
                user_agent: self.general.user_agent.clone(),
                max_forwards: hops,
                // RFC 8866 §5.2: a number that fits into 63 bits for whoever reads it signed.
                session_id: self.random.bits() >> 2,
                began: now,
                invite: request.clone(),
            },
            now,
        );
        let way = Way { to: SendTo::Flow(flow), flow: Some(flow), located, others: VecDeque::new(), network };
        let call_id = request.call_id().to_owned();
        let entry = Entry {
            call,
            ways: vec![(None, way)],
            open: Vec::new(),
            held: Vec::new(),
            owned: Some((call_id.clone(), request.from_tag().unwrap_or_default().to_owned())),
            refusal: None,
            checkpointed: false,
            adopted: Vec::new(),
            call_id,
            scheduled: Scheduled::default(),
        };
        self.calls.insert(reference, entry);
        self.keep_later(now);
        self.counts.begun += 1;
        self.event(Event::CallBegan { call: reference });
        self.drive(reference, now);
    }

    /// Any answer but yes.
    fn not_let_in(&mut self, server: u64, answer: Result<Answer, AskFailed>, now: Now) {
        let known = self
            .servers
            .get(&server)
            .map(|known| (known.transaction, *known.request.method() == Method::Invite));
        let proven = match &answer {
            Ok(Answer::Challenge { stale }) => *stale,
            Ok(Answer::Refused(refusal)) => !matches!(refusal.status, 400 | 403),
            _ => true,
        };
        match answer {
            Ok(Answer::Challenge { stale }) => self.challenge(server, stale, now),
            Ok(Answer::Refused(refusal)) => {
                let headers = match refusal.status {
                    // §21.4.16: a 421 lists what is required. Path is all that we ever require (RFC 3327 §5.3).
                    421 => vec![(Header::Require, "path".to_owned())],
                    _ => Vec::new(),
                };
                self.refuse(server, Refused { refusal, headers, reason: "registrar" }, now);
            }
            Ok(_) => {
                self.refuse(server, Refused::new(500, "Server Internal Error", "registrar_confused"), now)
            }
            Err(_) => {
                let refused = self.whole_edge_refuses("Service Unavailable", "registrar_away");
                self.refuse(server, refused, now);
            }
        }
        // Who has proven nothing may have any address in his packet, and may send as many as he likes: he is not
        // remembered. The same request again is judged again, but for an INVITE, whose 100 has stopped its sender.
        match known {
            Some((transaction, true)) if !proven => {
                self.transactions.repeat_until(transaction, now.mono + REPEAT_TO_STRANGERS);
            }
            Some((transaction, false)) if !proven => self.forget_server(server, transaction),
            _ => {}
        }
        self.drain_transactions(now);
    }

    /// The first request of a call need not be remembered any more.
    fn disown(&mut self, server: u64, call: CallRef) {
        let Some(known) = self.servers.get(&server) else { return };
        let call_id = known.request.call_id().to_owned();
        let from_tag = known.request.from_tag().unwrap_or_default().to_owned();
        self.tell(Ask::Disown { call_id, from_tag, call });
    }

    /// Whether another question to the registrar may be asked for a new request.
    pub(super) fn has_room(&self) -> bool {
        self.asks.len() < self.limits.asks
    }

    /// The same for the same request, whoever asks (architecture: every Ask has an idempotency key).
    pub(super) fn key_of(&self, request: &Message, flow: &Flow) -> IdempotencyKey {
        let secret = self.router.keys().first().map(|key| key.key).unwrap_or_default();
        let mut hasher = SipHasher24::new_with_key(&secret);
        for part in [
            request.method().as_str(),
            request.top_via_view().ok().and_then(|via| via.branch()).unwrap_or_default(),
            request.call_id(),
            request.header(Header::CSeq).unwrap_or_default(),
        ] {
            hasher.write(part.as_bytes());
            hasher.write_u8(0xff);
        }
        hasher.write(flow.remote.to_string().as_bytes());
        IdempotencyKey(hasher.finish128().as_u128())
    }

    /// Takes a transaction out of its table without an answer.
    pub(super) fn forget_server(&mut self, server: u64, transaction: TransactionId) {
        self.transactions.forget(transaction);
        self.forget_request(server);
    }
}
