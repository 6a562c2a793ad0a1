//! Qualify: OPTIONS to contacts, spread evenly in time, faster while one does not answer (chan_sip.md §5.10).

use fairlead_model::ask::QualifyTarget;
use fairlead_model::binding::{BindingKey, Qualify, QualifyState};
use fairlead_model::flow::Hop;
use fairlead_model::peer::EffectiveNat;
use sip_wire::RequestWriter;

use super::*;

/// A contact that does not answer is asked this often, or as often as its setting says if that is more often.
const UNREACHABLE_EVERY: Duration = Duration::from_secs(10);
/// While no address of ours is known, whether one is now is looked at this often.
const NO_ADDRESS_EVERY: Duration = Duration::from_secs(2);
/// So long after one another new contacts are asked for the first time.
const SPREAD: Duration = Duration::from_millis(20);

/// Contacts that are qualified.
#[derive(Debug, Default)]
pub(super) struct Qualifier {
    contacts: HashMap<u64, Contact>,
    known: HashMap<(String, Option<BindingKey>), u64>,
}

#[derive(Debug)]
struct Contact {
    target: QualifyTarget,
    /// Asked once, for the operator; not on the list.
    once: bool,
    /// The open OPTIONS, and when it left.
    asked: Option<(TransactionId, Instant)>,
    /// Further addresses of its name, as a call would try them.
    others: VecDeque<SocketAddr>,
    scheduled: Scheduled,
    /// When the next OPTIONS, or the end of the wait, is due.
    due: Option<Instant>,
}

impl Qualifier {
    /// How many contacts are qualified.
    pub fn len(&self) -> usize {
        self.known.len()
    }
}

impl Core {
    /// These and no others are kept qualified. Those known already keep their place in time; one that is reached in another way now
    /// is asked there, and what was asked, looked up or left to try of its former way says nothing of it.
    pub(super) fn set_qualify_list(&mut self, list: Vec<QualifyTarget>, now: Now) {
        let mut known = std::mem::take(&mut self.qualify.known);
        let mut new = 0_u32;
        for target in list {
            let name = (target.peer.clone(), target.key.clone());
            let number = known.remove(&name);
            if let Some(number) = number
                && let Some(contact) = self.qualify.contacts.get_mut(&number)
                && contact.target.hop == target.hop
            {
                let last = contact.target.last;
                contact.target = QualifyTarget { last, ..target };
                self.qualify.known.insert(name, number);
                continue;
            }
            if let Some(former) = number.and_then(|number| self.drop_contact(number)) {
                new = new.saturating_add(1);
                let soon = now.mono + SPREAD.saturating_mul(new);
                // While it was being asked, or looked up, the next time was not set.
                let at = former.due.filter(|_| former.asked.is_none()).unwrap_or(soon);
                let target = QualifyTarget { last: former.target.last, ..target };
                let number = self.next_number();
                self.qualify.known.insert(name, number);
                self.add_contact(number, target, false, at);
                continue;
            }
            let every = Duration::from_secs(u64::from(target.every.max(1)));
            // Asked at once when nothing is known of it; else somewhere in its interval.
            let delay = if target.last.state == QualifyState::Unknown {
                new = new.saturating_add(1);
                SPREAD.saturating_mul(new).min(every)
            } else {
                Duration::from_millis(self.random.between(0, every.as_millis().min(3_600_000) as u64))
            };
            let number = self.next_number();
            self.qualify.known.insert(name, number);
            self.add_contact(number, target, false, now.mono + delay);
        }
        for number in known.into_values() {
            self.drop_contact(number);
        }
    }

    /// Nothing is asked of this contact any more, also not what was on its way.
    fn drop_contact(&mut self, number: u64) -> Option<Contact> {
        let contact = self.qualify.contacts.remove(&number)?;
        if let Some((transaction, _)) = contact.asked {
            self.transactions.forget(transaction);
        }
        Some(contact)
    }

    /// Once, now.
    pub(super) fn qualify_now(&mut self, target: QualifyTarget, now: Now) {
        let number = self.next_number();
        self.add_contact(number, target, true, now.mono);
        self.qualify_due(number, now);
    }

    fn add_contact(&mut self, number: u64, target: QualifyTarget, once: bool, at: Instant) {
        let contact = Contact {
            target,
            once,
            asked: None,
            others: VecDeque::new(),
            scheduled: Scheduled::default(),
            due: None,
        };
        self.qualify.contacts.insert(number, contact);
        self.qualify_at(number, at);
    }

    fn qualify_at(&mut self, number: u64, at: Instant) {
        let Some(contact) = self.qualify.contacts.get_mut(&number) else { return };
        contact.due = Some(at);
        if contact.scheduled.wants(at) {
            self.timers.add(at, Timer::Qualify(number));
        }
    }

    /// It is time to ask a contact, or to give up waiting for it.
    pub(super) fn qualify_due(&mut self, number: u64, now: Now) {
        let Some(contact) = self.qualify.contacts.get_mut(&number) else { return };
        contact.scheduled.fired(now.mono);
        match contact.due {
            Some(at) if at <= now.mono => contact.due = None,
            Some(at) => return self.qualify_at(number, at),
            None => return,
        }
        if let Some((transaction, _)) = contact.asked.take() {
            // chan_sip waits twice the limit.
            self.transactions.forget(transaction);
            return self.is_silent(number, now);
        }
        match contact.target.hop.clone() {
            Hop::Flow(flow) => self.qualify_send(number, Some(SendTo::Flow(flow)), now),
            Hop::Address { transport, host, port } => match ways::literal(&host) {
                Some(ip) => {
                    let remote = SocketAddr::new(ip, port.unwrap_or(transport.default_port()));
                    let to = self.way_to(transport, &[remote]);
                    self.qualify_send(number, to, now);
                }
                None => self.resolve(host, port, transport, Resolving::Qualify { number }),
            },
        }
    }

    /// Sends the OPTIONS.
    pub(super) fn qualify_send(&mut self, number: u64, to: Option<SendTo>, now: Now) {
        let Some(contact) = self.qualify.contacts.get(&number) else { return };
        let (Hop::Flow(Flow { transport, .. }) | Hop::Address { transport, .. }) = contact.target.hop;
        let nothing_to_say = |to: &SendTo| self.outlet_of(to, EffectiveNat::default()).is_none();
        if self.awaits_address(transport) && to.as_ref().is_none_or(nothing_to_say) {
            return self.qualify_later(number, now);
        }
        let limit = Duration::from_millis(u64::from(contact.target.limit_ms.max(1)));
        let sent = to.and_then(|to| {
            let (message, reliable) = self.options_for(number, &to)?;
            let user = User::Client { to, of: Of::Qualify(number), method: "OPTIONS", left: false };
            let t1 = Duration::from_millis(u64::from(self.general.t1_ms.max(1)));
            let timers = transaction::Timers::with_t1(t1);
            self.transactions.open_client(message, user, reliable, timers, now.mono).ok()
        });
        let Some(transaction) = sent else {
            return self.qualified(number, QualifyState::Unreachable, 0, now);
        };
        if let Some(contact) = self.qualify.contacts.get_mut(&number) {
            contact.asked = Some((transaction, now.mono));
        }
        self.qualify_at(number, now.mono + limit.saturating_mul(2));
        self.drain_transactions(now);
    }

    /// No address of ours is known yet. That says nothing of the contact: it stays what it was, and is asked later.
    fn qualify_later(&mut self, number: u64, now: Now) {
        let Some(contact) = self.qualify.contacts.get(&number) else { return };
        if contact.once {
            let (peer, key) = (contact.target.peer.clone(), contact.target.key.clone());
            let result = contact.target.last;
            self.qualify.contacts.remove(&number);
            return self.event(Event::Qualified { peer, key, result });
        }
        self.qualify_at(number, now.mono + NO_ADDRESS_EVERY);
    }

    fn options_for(&mut self, number: u64, to: &SendTo) -> Option<(Message, bool)> {
        let (_, outlet) = self.outlet_of(to, EffectiveNat::default())?;
        let via = self.via(&outlet)?;
        let serial = self.next_number();
        let (call_id, tag) = (self.mint(Kind::CallId, serial, 0)?, self.mint(Kind::Answer, serial, 0)?);
        let target = &self.qualify.contacts.get(&number)?.target;
        let mut writer = RequestWriter::new(&Method::Options, &target.uri)
            .header(Header::Via, via)
            .header(Header::MaxForwards, "70");
        for route in &target.route {
            writer.push(Header::Route, route);
        }
        let message = writer
            .header(Header::From, format!("<sip:qualify@{}>;tag={tag}", outlet.host()))
            .header(Header::To, format!("<{}>", target.uri))
            .header(Header::CallId, call_id)
            .header(Header::CSeq, "1 OPTIONS")
            .header(Header::Contact, outlet.contact("qualify"))
            .header(Header::UserAgent, &self.general.user_agent)
            .finish();
        Some((Message::parse(message).ok()?, outlet.transport.is_reliable()))
    }

    /// Any response but a provisional one shows that somebody is there.
    pub(super) fn qualify_answered(&mut self, number: u64, status: u16, now: Now) {
        if status < 200 {
            return;
        }
        let Some(contact) = self.qualify.contacts.get_mut(&number) else { return };
        let Some((_, left)) = contact.asked.take() else { return };
        // In chan_sip's words 0 is not known yet; an answer within the same millisecond is 1.
        let rtt = now.mono.saturating_duration_since(left).as_millis().clamp(1, u128::from(u32::MAX)) as u32;
        let state = if rtt <= contact.target.limit_ms { QualifyState::Ok } else { QualifyState::Lagged };
        self.qualified(number, state, rtt, now);
    }

    /// It could not be sent, or nothing came.
    pub(super) fn qualify_failed(&mut self, number: u64, now: Now) {
        let asked = self.qualify.contacts.get_mut(&number).and_then(|contact| contact.asked.take());
        if asked.is_some() {
            self.is_silent(number, now);
        }
    }

    /// A name was looked up: its addresses are asked one after the other until somebody answers (RFC 3263 §4.3).
    pub(super) fn qualify_name(&mut self, number: u64, addresses: Vec<SocketAddr>, now: Now) {
        let hop = self.qualify.contacts.get(&number).map(|contact| &contact.target.hop);
        if let Some(Hop::Address { transport, .. }) = hop {
            // Those that a call would be tried at.
            let usable = self.usable(*transport, addresses, EffectiveNat::default());
            if let Some(contact) = self.qualify.contacts.get_mut(&number) {
                contact.others = usable.into_iter().take(fairlead_call::call::MAX_ADDRESSES).collect();
            }
        }
        let to = self.next_to_qualify(number);
        self.qualify_send(number, to, now);
    }

    /// Nobody is there, or not at this address.
    fn is_silent(&mut self, number: u64, now: Now) {
        match self.next_to_qualify(number) {
            Some(to) => self.qualify_send(number, Some(to), now),
            None => self.qualified(number, QualifyState::Unreachable, 0, now),
        }
    }

    fn next_to_qualify(&mut self, number: u64) -> Option<SendTo> {
        let contact = self.qualify.contacts.get_mut(&number)?;
        let Hop::Address { transport, .. } = contact.target.hop else { return None };
        let others = std::mem::take(&mut contact.others);
        let (at, to) = others
            .iter()
            .enumerate()
            .find_map(|(at, remote)| Some((at, self.way_to(transport, &[*remote])?)))?;
        if let Some(contact) = self.qualify.contacts.get_mut(&number) {
            contact.others = others.into_iter().skip(at + 1).collect();
        }
        Some(to)
    }

    fn qualified(&mut self, number: u64, state: QualifyState, rtt_ms: u32, now: Now) {
        let Some(contact) = self.qualify.contacts.get_mut(&number) else { return };
        let result = Qualify { state, rtt_ms, at: now.wall };
        contact.target.last = result;
        let (peer, key) = (contact.target.peer.clone(), contact.target.key.clone());
        let every = Duration::from_secs(u64::from(contact.target.every.max(1)));
        if contact.once {
            self.qualify.contacts.remove(&number);
        } else {
            let next = if state == QualifyState::Unreachable { every.min(UNREACHABLE_EVERY) } else { every };
            self.qualify_at(number, now.mono + next);
        }
        self.tell(Ask::Qualified { peer: peer.clone(), key: key.clone(), result });
        self.event(Event::Qualified { peer, key, result });
    }
}
