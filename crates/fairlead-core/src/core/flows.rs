//! A phone's packet moves its flow (architecture: any pod, any packet).
//!
//! Any datagram does, also a keep-alive, be it no SIP at all (NULs, STUN): behind a Service only the pod that a phone's
//! packets reach can speak to it. It may come from a phone whose binding names another pod: the load balancer has changed
//! its mind, or the pod died. Only the registrar knows, so it is asked, but at most once a minute for one source, and at most
//! a hundred times a second in all: an attacker who invents sources cannot make us ask for each. It is asked anew when pods
//! came or went, when it did not answer, and soon when it said that this flow has moved a moment ago.

use std::collections::HashSet;

use fairlead_model::ask::{Answer, AskFailed};
use fairlead_model::id::ConnectionRef;

use super::*;

/// So many closed connections are remembered.
const MAX_GONE: usize = 16_384;

/// A source is asked about this often at most.
const ASK_AGAIN: Duration = Duration::from_secs(60);
/// A flow that moved a moment ago stays where it is for so long (the registrar's damping).
const DAMPED: Duration = Duration::from_secs(5);
/// So many sources are remembered; then the memory begins anew.
const MAX_SOURCES: usize = 65_536;
/// So many questions are asked in a second.
const MAX_QUESTIONS: u32 = 100;
/// So many of our own addresses are remembered.
const MAX_LOCALS: usize = 64;

/// Sources of datagrams, and the addresses of ours that they came to.
#[derive(Debug, Default)]
pub(super) struct Sources {
    asked: HashMap<SocketAddr, Instant>,
    second: Option<(Instant, u32)>,
    locals: Vec<(Transport, SocketAddr)>,
}

impl Sources {
    /// A REGISTER from there has just said where it is.
    pub fn registered(&mut self, flow: &Flow, now: Instant) {
        if flow.transport == Transport::Udp {
            self.remember(flow.remote, now);
        }
    }

    /// Nothing is known of any source any more.
    pub fn forget_all(&mut self) {
        self.asked.clear();
    }

    /// The registrar has moved the flow of a source or has none, or could not: then the next packet asks again.
    pub fn answered(&mut self, source: SocketAddr, answer: &Result<Answer, AskFailed>, now: Instant) {
        match answer {
            Ok(Answer::Refused(_)) => {
                if let Some(at) = now.checked_sub(ASK_AGAIN.saturating_sub(DAMPED)) {
                    self.asked.insert(source, at);
                }
            }
            // A registrar that does not know the question will not know it in a minute either.
            Ok(_) | Err(AskFailed::Unknown) => {}
            Err(_) => {
                self.asked.remove(&source);
            }
        }
    }

    /// Whether messages have come to this address of ours.
    pub fn is_local(&self, transport: Transport, address: SocketAddr) -> bool {
        self.locals.contains(&(transport, address))
    }

    fn note_local(&mut self, flow: &Flow) {
        let local = (flow.transport, flow.local);
        if self.locals.len() < MAX_LOCALS && !self.locals.contains(&local) {
            self.locals.push(local);
        }
    }

    /// Whether to ask about a source now.
    fn wants_question(&mut self, source: SocketAddr, now: Instant) -> bool {
        if self.asked.get(&source).is_some_and(|at| now.saturating_duration_since(*at) < ASK_AGAIN) {
            return false;
        }
        let (since, count) = self.second.unwrap_or((now, 0));
        let (since, count) = if now.saturating_duration_since(since) >= Duration::from_secs(1) {
            (now, 0)
        } else {
            (since, count)
        };
        if count >= MAX_QUESTIONS {
            self.second = Some((since, count));
            return false;
        }
        self.second = Some((since, count + 1));
        self.remember(source, now);
        true
    }

    fn remember(&mut self, source: SocketAddr, now: Instant) {
        if self.asked.len() >= MAX_SOURCES {
            self.asked.retain(|_, at| now.saturating_duration_since(*at) < ASK_AGAIN);
            if self.asked.len() >= MAX_SOURCES {
                self.asked.clear();
            }
        }
        self.asked.insert(source, now);
    }
}

/// Connections that are closed, of this pod and of others that told us so: the newest, since nobody asks for old ones.
#[derive(Debug, Default)]
pub(super) struct Gone {
    known: HashSet<(PodRef, ConnectionRef)>,
    order: VecDeque<(PodRef, ConnectionRef)>,
}

impl Gone {
    /// One more is closed.
    pub fn insert(&mut self, pod: PodRef, connection: ConnectionRef) {
        let connection = (pod, connection);
        if self.order.len() >= MAX_GONE
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        if self.known.insert(connection) {
            self.order.push_back(connection);
        }
    }

    /// Whether it is closed.
    pub fn contains(&self, pod: PodRef, connection: ConnectionRef) -> bool {
        self.known.contains(&(pod, connection))
    }
}

impl Core {
    /// A message, a keep-alive, or something that cannot be read at all, came by this flow.
    pub(super) fn note_source(&mut self, flow: &Flow, now: Now) {
        if flow.pod != self.identity.pod {
            return;
        }
        self.sources.note_local(flow);
        // Connections never move; without keys there is no registrar to ask.
        if flow.transport == Transport::Udp
            && self.briefed
            && self.sources.wants_question(flow.remote, now.mono)
        {
            let (id, key) = (AskRef(self.next_number()), self.fresh_key());
            self.moving.insert(id, *flow);
            let ask = Ask::MoveFlow { flow: *flow };
            self.outputs.push_back(Output::Ask(Envelope { id, key, deadline: ASK_DEADLINE, ask }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_source_is_asked_about_once_a_minute() {
        let mut sources = Sources::default();
        let (source, start) = (SocketAddr::from(([192, 0, 2, 9], 5060)), Instant::now());
        assert!(sources.wants_question(source, start));
        assert!(!sources.wants_question(source, start + Duration::from_secs(59)));
        assert!(sources.wants_question(source, start + Duration::from_secs(60)));
    }

    #[test]
    fn a_source_is_asked_about_again_when_nobody_answered_and_soon_when_its_flow_moved_a_moment_ago() {
        let mut sources = Sources::default();
        let source = SocketAddr::from(([192, 0, 2, 9], 5060));
        let start = Instant::now() + Duration::from_secs(3600);
        assert!(sources.wants_question(source, start));
        sources.answered(source, &Err(AskFailed::Deadline), start);
        assert!(sources.wants_question(source, start));
        let damped = Answer::Refused(fairlead_model::ask::Refusal::new(503, ""));
        sources.answered(source, &Ok(damped), start);
        assert!(!sources.wants_question(source, start + Duration::from_secs(4)));
        assert!(sources.wants_question(source, start + Duration::from_secs(5)));
        sources.answered(source, &Ok(Answer::Done), start);
        assert!(!sources.wants_question(source, start + Duration::from_secs(6)));
        sources.forget_all();
        assert!(sources.wants_question(source, start + Duration::from_secs(7)));
    }

    #[test]
    fn invented_sources_cost_a_hundred_questions_a_second() {
        let mut sources = Sources::default();
        let start = Instant::now();
        let asked = |sources: &mut Sources, at| {
            (0..10_000_u32)
                .filter(|n| sources.wants_question(SocketAddr::from((n.to_be_bytes(), 5060)), at))
                .count()
        };
        assert_eq!(asked(&mut sources, start), 100);
        assert_eq!(asked(&mut sources, start + Duration::from_secs(1)), 100);
        assert!(sources.asked.len() <= MAX_SOURCES);
    }
}
