//! What a REGISTER changes (RFC 3261 §10.3, from step 6 on; who asks is known by then).

use fairlead_model::ask::{ContactChange, Contacts, Refusal, RegisterRequest, Registered};
use fairlead_model::binding::{Binding, BindingKey, Qualify};
use fairlead_model::flow::{Flow, Transport};
use fairlead_model::id::UnixMillis;
use fairlead_model::peer::kinds::RegisterClamp;
use fairlead_model::peer::{GeneralFull, Peer, RuntimeColumns};
use sip_wire::Uri;

use crate::columns::runtime_columns;
use crate::contact::Identity;
use crate::order::live;

/// All that a REGISTER does, to be applied in one step or not at all.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Bindings to be written: new ones and changed ones.
    pub put: Vec<Binding>,
    /// Bindings to be removed: unbound, replaced, or over.
    pub remove: Vec<BindingKey>,
    /// All bindings as they are then.
    pub bindings: Vec<Binding>,
    /// What the 200 says.
    pub registered: Registered,
    /// Columns to be written into the row of a realtime peer; `None` when nothing changes (a query).
    pub columns: Option<RuntimeColumns>,
    /// Only the time of contacts that are bound already was prolonged, by the flow they have: while the store is
    /// away this may be answered 200 and written later.
    pub refresh_only: bool,
    /// The peer had no live contact before and has one now, or the other way round (`PeerStatus`).
    pub turned: Option<Turned>,
}

/// A peer that became registered, or ceased to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turned {
    /// Its first contact.
    Registered,
    /// Its last contact is gone.
    Unregistered,
}

impl Plan {
    /// Whether nothing is to be written.
    pub fn is_empty(&self) -> bool {
        self.put.is_empty() && self.remove.is_empty()
    }
}

/// Plans a REGISTER of `peer`, whose identity is proven, on the bindings it has.
///
/// Everything in the request holds or nothing does: the first contact that cannot be taken refuses all.
pub fn plan(
    request: &RegisterRequest,
    bindings: &[Binding],
    peer: &Peer,
    general: &GeneralFull,
    now: UnixMillis,
) -> Result<Plan, Refusal> {
    admit(request, peer)?;
    let work = Work::new(request, bindings, peer, general, now);
    match &request.contacts {
        Contacts::Query => Ok(work.finish()),
        Contacts::List(contacts) if contacts.is_empty() => Ok(work.finish()),
        Contacts::Star => work.unbind_all(),
        Contacts::List(contacts) => work.change(contacts),
    }
}

/// Whether this peer may register at all, from there (chan_sip.md §4.7).
fn admit(request: &RegisterRequest, peer: &Peer) -> Result<(), Refusal> {
    if !peer.is_peer() || !peer.is_dynamic() {
        return Err(Refusal::new(403, "Forbidden (not a dynamic peer)"));
    }
    if !peer.allows_transport(request.flow.transport) {
        return Err(Refusal::new(403, format!("Forbidden (transport {})", request.flow.transport.upper())));
    }
    if !peer.acl.permits(request.flow.remote.ip()) {
        return Err(Refusal::new(403, "Forbidden"));
    }
    // RFC 3327 §5.3: we require the UA to know what its Path means before we bind it (RFC 3261 §21.4.16).
    if peer.support_path && !request.path.is_empty() && !request.supports_path {
        return Err(Refusal::new(421, "Extension Required (Path without Supported: path)"));
    }
    Ok(())
}

/// The bindings while a request is worked into them.
struct Work<'a> {
    request: &'a RegisterRequest,
    peer: &'a Peer,
    general: &'a GeneralFull,
    now: UnixMillis,
    before: Vec<&'a Binding>,
    identity: Identity<'a>,
    nat: fairlead_model::peer::EffectiveNat,
    /// Each with whether this request wrote it.
    after: Vec<(Binding, bool)>,
    remove: Vec<BindingKey>,
    only_prolonged: bool,
}

impl<'a> Work<'a> {
    fn new(
        request: &'a RegisterRequest,
        bindings: &'a [Binding],
        peer: &'a Peer,
        general: &'a GeneralFull,
        now: UnixMillis,
    ) -> Self {
        let nat = peer.nat.effective(request.via_differs, request.flow.transport);
        let before = live(bindings, now);
        let over = bindings.iter().filter(|binding| binding.expires_at <= now);
        Work {
            request,
            peer,
            general,
            now,
            identity: Identity { flow: &request.flow, call_id: &request.call_id, by_remote: nat.force_rport },
            nat,
            after: before.iter().map(|binding| ((*binding).clone(), false)).collect(),
            before,
            remove: over.map(|binding| binding.key.clone()).collect(),
            only_prolonged: true,
        }
    }

    /// `*` (§10.2.2, §10.3 step 6): needs `Expires: 0`.
    fn unbind_all(mut self) -> Result<Plan, Refusal> {
        if self.request.expires != Some(0) {
            return Err(Refusal::new(400, "Bad Contact (* needs Expires: 0)"));
        }
        if self.before.iter().any(|binding| self.is_late_for(binding)) {
            return Err(out_of_order());
        }
        self.only_prolonged = false;
        self.remove.extend(self.after.drain(..).map(|(binding, _)| binding.key));
        Ok(self.finish())
    }

    /// A list of contacts (§10.3 step 7).
    fn change(mut self, contacts: &[ContactChange]) -> Result<Plan, Refusal> {
        for contact in contacts {
            let uri = Uri::parse(&contact.uri)
                .ok()
                .filter(|uri| uri.is_sip() || uri.is_sips())
                .ok_or_else(|| Refusal::new(400, "Bad Contact (a sip or sips URI is wanted)"))?;
            let seconds = self.expires(contact)?;
            let known = self.after.iter().position(|(binding, _)| self.identity.is(contact, &uri, binding));
            if let Some((binding, ours)) = known.and_then(|at| self.after.get(at))
                && !ours
                && self.is_late_for(binding)
            {
                // The same request again (another registrar took it, its answer was lost): it is done already.
                let again = binding.cseq == self.request.cseq && binding.value == contact.value;
                if seconds > 0 && again {
                    continue;
                }
                return Err(out_of_order());
            }
            match (known, seconds) {
                (None, 0) => {}
                (Some(at), 0) => {
                    let (gone, _) = self.after.remove(at);
                    self.remove.push(gone.key);
                    self.only_prolonged = false;
                }
                (known, seconds) => self.bind(contact, &uri, seconds, known)?,
            }
        }
        self.make_room()?;
        Ok(self.finish())
    }

    /// Seconds a contact asks for, within what is allowed (§10.3 step 7, §10.2.8); 0 unbinds.
    fn expires(&self, contact: &ContactChange) -> Result<u32, Refusal> {
        let asked = contact.expires.or(self.request.expires).unwrap_or(self.general.default_expiry);
        if asked == 0 {
            return Ok(0);
        }
        let least = self.general.min_expiry;
        // An hour or more is never too brief, whatever the setting says.
        if asked < least && asked < 3600 && self.general.register_clamp == RegisterClamp::Refuse {
            return Err(Refusal { min_expires: Some(least), ..Refusal::new(423, "Interval Too Brief") });
        }
        Ok(asked.max(least).min(self.general.max_expiry.max(1)))
    }

    /// §10.3 step 7: with the same Call-ID, only a higher CSeq may change a binding.
    fn is_late_for(&self, binding: &Binding) -> bool {
        binding.call_id == self.request.call_id && binding.cseq >= self.request.cseq
    }

    fn bind(
        &mut self,
        contact: &ContactChange,
        uri: &Uri,
        seconds: u32,
        known: Option<usize>,
    ) -> Result<(), Refusal> {
        let request = self.request;
        let flow = request.flow;
        let outbound = contact.instance.is_some() && contact.reg_id.is_some();
        let by_flow = self.nat.force_rport || flow.transport != Transport::Udp || outbound;
        let address = if by_flow { Some(flow.remote.ip()) } else { uri.host_ip() };
        if address.is_some_and(|ip| !self.peer.contact_acl.permits(ip)) {
            return Err(Refusal::new(603, "Decline (contact address not permitted)"));
        }
        let old = known.and_then(|at| self.after.get(at)).map(|(binding, _)| binding);
        let stays = old.is_some_and(|old| is_same_way(&old.flow, &flow));
        let path = if self.peer.support_path { request.path.clone() } else { Vec::new() };
        let prolonged = old.is_some_and(|old| {
            stays
                && old.uri == contact.uri
                && old.path == path
                && old.by_flow == by_flow
                && old.nat == self.nat
        });
        self.only_prolonged &= prolonged;
        let key = self.key_for(contact, known);
        let binding = Binding {
            key: key.clone(),
            uri: contact.uri.clone(),
            value: contact.value.clone(),
            q: contact.q.unwrap_or(1000).min(1000),
            expires_at: self.now.plus_millis(u64::from(seconds) * 1000),
            registered_at: self.now,
            path,
            instance: contact.instance.clone(),
            reg_id: contact.reg_id,
            call_id: request.call_id.clone(),
            cseq: request.cseq,
            user_agent: request.user_agent.clone(),
            flow,
            generation: 0,
            moved_at: UnixMillis::default(),
            by_flow,
            nat: self.nat,
            qualify: old.filter(|_| stays).map_or(Qualify::default(), |old| old.qualify),
            unknown: old.map(|old| old.unknown.clone()).unwrap_or_default(),
        };
        match known.and_then(|at| self.after.get_mut(at)) {
            Some(slot) => {
                if slot.0.key != key {
                    self.remove.push(slot.0.key.clone());
                }
                *slot = (binding, true);
            }
            None => self.after.push((binding, true)),
        }
        Ok(())
    }

    /// A contact that stays where it was keeps its key; one that came from elsewhere gets that of its new place,
    /// unless another binding has that very key.
    fn key_for(&self, contact: &ContactChange, known: Option<usize>) -> BindingKey {
        let old = known.and_then(|at| self.after.get(at)).map(|(binding, _)| binding);
        let fresh = self.identity.key(contact);
        match old {
            Some(old) if !self.identity.by_remote || old.flow.remote == self.request.flow.remote => {
                old.key.clone()
            }
            Some(old) if self.after.iter().any(|(binding, _)| binding.key == fresh) => old.key.clone(),
            _ => fresh,
        }
    }

    /// Keeps to `max_contacts`: the oldest contacts that this request did not write give way.
    fn make_room(&mut self) -> Result<(), Refusal> {
        let most = usize::from(self.peer.max_contacts.max(1));
        if self.after.iter().filter(|(_, ours)| *ours).count() > most {
            return Err(Refusal::new(403, format!("Forbidden (more than {most} contacts)")));
        }
        while self.after.len() > most {
            let oldest = self.after.iter().enumerate().filter(|(_, (_, ours))| !ours);
            let Some((at, _)) = oldest.min_by_key(|(_, (binding, _))| binding.registered_at) else { break };
            let (gone, _) = self.after.remove(at);
            if self.is_late_for(&gone) {
                return Err(out_of_order());
            }
            self.remove.push(gone.key);
            self.only_prolonged = false;
        }
        Ok(())
    }

    fn finish(self) -> Plan {
        let put: Vec<_> =
            self.after.iter().filter(|(_, ours)| *ours).map(|(binding, _)| binding.clone()).collect();
        let mut remove = self.remove;
        // A key that was given up and taken again in one request is not removed.
        remove.retain(|key| !self.after.iter().any(|(binding, _)| binding.key == *key));
        let bindings: Vec<_> = self.after.into_iter().map(|(binding, _)| binding).collect();
        let contacts = live(&bindings, self.now)
            .into_iter()
            .map(|binding| {
                let left = binding.expires_at.since(self.now) / 1000;
                (binding.value.clone(), u32::try_from(left).unwrap_or(u32::MAX))
            })
            .collect();
        let turned = match (self.before.is_empty(), bindings.is_empty()) {
            (true, false) => Some(Turned::Registered),
            (false, true) => Some(Turned::Unregistered),
            _ => None,
        };
        let changes = !put.is_empty() || !remove.is_empty();
        let refresh_only = self.only_prolonged && !put.is_empty() && remove.is_empty();
        Plan {
            registered: Registered {
                contacts,
                path: if self.peer.support_path { self.request.path.clone() } else { Vec::new() },
                qualify: self.peer.qualify_ms.is_some() && changes && !refresh_only,
            },
            columns: changes.then(|| runtime_columns(&bindings, self.general, self.now)),
            put,
            remove,
            bindings,
            refresh_only,
            turned,
        }
    }
}

/// The same flow at the same pod.
fn is_same_way(old: &Flow, new: &Flow) -> bool {
    old.is_same_source(new)
        && old.pod == new.pod
        && old.local == new.local
        && old.connection == new.connection
}

fn out_of_order() -> Refusal {
    Refusal::new(500, "Server Internal Error (CSeq out of order)")
}

#[cfg(test)]
mod tests;
