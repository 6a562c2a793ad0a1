//! A phone's packet moves its flow (architecture: any pod, any packet).
//!
//! A datagram may come from a phone whose binding names another pod: the load balancer has changed its mind, or the
//! pod died. Only the registrar knows, so it is asked, but at most once a minute for one source, and at most a hundred
//! times a second in all: an attacker who invents sources cannot make us ask for each.

use std::collections::HashSet;

use fairlead_model::id::ConnectionRef;

use super::*;

/// So many closed connections are remembered.
const MAX_GONE: usize = 16_384;

/// A source is asked about this often at most.
const ASK_AGAIN: Duration = Duration::from_secs(60);
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

/// Connections of this pod that are closed: the newest, since nobody asks for old ones.
#[derive(Debug, Default)]
pub(super) struct Gone {
    known: HashSet<ConnectionRef>,
    order: VecDeque<ConnectionRef>,
}

impl Gone {
    /// One more is closed.
    pub fn insert(&mut self, connection: ConnectionRef) {
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
    pub fn contains(&self, connection: ConnectionRef) -> bool {
        self.known.contains(&connection)
    }
}

impl Core {
    /// A message came by this flow.
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
            self.tell(Ask::MoveFlow { flow: *flow });
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
