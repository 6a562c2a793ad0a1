//! May this request come in, who is it, and where does it go?

use std::sync::Arc;

use fairlead_location::order;
use fairlead_model::ask::{AdmitRequest, Admitted, Answer, AskFailed, LegPolicy, Refusal, Target, Usage};
use fairlead_model::binding::{BindingKey, QualifyState};
use fairlead_model::peer::Peer;
use fairlead_routing::{Callee, Dialled, Sender, name_to_look_up, sender, targets};
use fairlead_store::{NonceUse, Outcome, Step, StoreError};
use tracing::debug;

use crate::auth::Proof;
use crate::calls::{call_limit, claim_tag};
use crate::registrar::{Known, Registrar};

/// Whoever asks, proven as far as that is possible without the store.
struct Caller {
    policy: LegPolicy,
    peer: Option<Arc<Peer>>,
    /// The use of a nonce that is yet to be noted.
    nonce: Option<NonceUse>,
}

impl Registrar {
    pub(crate) async fn admit(&self, request: &AdmitRequest) -> Result<Answer, AskFailed> {
        match self.try_admit(request).await {
            Ok(answer) => Ok(answer),
            Err(error) => {
                debug!(%error, "a request cannot be admitted");
                Ok(Answer::Refused(self.unavailable()))
            }
        }
    }

    async fn try_admit(&self, request: &AdmitRequest) -> Result<Answer, StoreError> {
        let caller = match self.caller(request).await? {
            Ok(caller) => caller,
            Err(answer) => return Ok(answer),
        };
        // One journey: the claim, the nonce, whom the call is for.
        let callee_name = request.target_user.as_str();
        let mut steps = vec![Registrar::claim(request), Step::Load { name: callee_name.to_owned() }];
        let limited = self.catalog.get(callee_name).filter(|peer| peer.limit().is_some());
        let wants_slots = limited.is_some();
        if wants_slots {
            steps.push(Step::Slots { peer: callee_name.to_owned() });
        }
        if let (Some(nonce), Some(peer)) = (&caller.nonce, &caller.peer) {
            steps.push(Step::UseNonce { peer: peer.name.clone(), nonce: nonce.clone() });
        }
        let mut results = self.storage.run(steps).await.into_iter();
        let mut next = || results.next().unwrap_or(Err(StoreError::Unexpected("no result")));
        let (claimed, loaded) = (next()?.owner()?, next());
        let slots = if wants_slots { Some(next()) } else { None };
        let repeated = match claimed {
            Some(held) if held.call != request.call => {
                return Ok(Answer::Owned { pod: held.call.pod, call: held.call });
            }
            Some(_) => true,
            None => false,
        };
        // Asked again for the same call, its nonce has been used: by this very question.
        if caller.nonce.is_some() && !next()?.nonce()? && !repeated {
            self.give_up(request).await;
            return Ok(Answer::Challenge { stale: true });
        }
        let in_use = match slots {
            Some(slots) => self.count_slots(slots.and_then(Outcome::slots)?, request),
            None => 0,
        };
        let answer = match self.whom(request, &caller, loaded, in_use).await? {
            Ok(found) => self.let_in(request, caller, found).await?,
            Err(refusal) => Answer::Refused(refusal),
        };
        if matches!(answer, Answer::Refused(_)) {
            self.give_up(request).await;
        }
        Ok(answer)
    }

    /// Who asks; or what he gets instead of being let in.
    async fn caller(&self, request: &AdmitRequest) -> Result<Result<Caller, Answer>, StoreError> {
        let general = Arc::clone(self.catalog.general());
        let digest_user = self.digest_user(request);
        let name = name_to_look_up(request, digest_user.as_deref(), &general).to_owned();
        let (named, was_cached) = match self.catalog.get(&name) {
            Some(peer) => (Some(peer), true),
            None if name.is_empty() => (None, true),
            None => (self.known(&name).await?.peer, false),
        };
        let registered = match named.as_ref().filter(|peer| peer.is_user()) {
            Some(_) => Vec::new(),
            None => self.at_source(request).await?,
        };
        let found = self
            .catalog
            .with_addresses(|statics| sender(request, named.as_ref(), &registered, statics, &general));
        let (peer, must_prove) = match found {
            Sender::Known { peer, must_prove, .. } => (Some(peer), must_prove),
            Sender::Guest => {
                let policy = general.guest_policy(request.via_differs, request.flow.transport);
                return Ok(Ok(Caller { policy, peer: None, nonce: None }));
            }
            Sender::Decoy => (None, true),
            Sender::Refused(refusal) => return Ok(Err(Answer::Refused(refusal))),
        };
        let nonce = match must_prove {
            false => None,
            true => match self.prove(request.credentials.as_ref(), peer.as_deref()) {
                Proof::Holds(nonce) => Some(nonce),
                other => {
                    let from = request.flow.remote;
                    return self.not_proven(&name, from, was_cached, other).await.map(Err);
                }
            },
        };
        if must_prove {
            self.count("ok");
        }
        // A decoy never proves anything.
        let Some(peer) = peer else { return Ok(Err(Answer::Challenge { stale: false })) };
        let nat = peer.nat.effective(request.via_differs, request.flow.transport);
        Ok(Ok(Caller { policy: peer.leg_policy(nat), peer: Some(peer), nonce }))
    }

    fn digest_user(&self, request: &AdmitRequest) -> Option<String> {
        let general = self.catalog.general();
        if !general.match_auth_username {
            return None;
        }
        let values = &request.credentials.as_ref()?.values;
        let algorithms = crate::keys::algorithms(&general.auth_algorithms);
        let found = sip_auth::Credentials::pick(values, &general.realm, &algorithms).ok()??;
        Some(found.username)
    }

    /// Realtime peers that are configured at, and dynamic peers that are registered from, the request's source.
    async fn at_source(&self, request: &AdmitRequest) -> Result<Vec<Arc<Peer>>, StoreError> {
        let flow = &request.flow;
        let steps = vec![
            Step::NamesAt { address: flow.remote.ip() },
            Step::NamesByFlow { transport: flow.transport, remote: flow.remote },
        ];
        let mut results = self.storage.store().run(steps).await.into_iter();
        let mut next = || results.next().unwrap_or(Err(StoreError::Unexpected("no result")));
        let (configured, registered) = (next().and_then(Outcome::names), next().and_then(Outcome::names));
        let (configured, registered) = match (configured, registered) {
            (Ok(configured), Ok(registered)) => (configured, registered),
            // Away: those that are cached are found without.
            (Err(error), _) | (_, Err(error)) if error.passes() => return Ok(Vec::new()),
            (Err(error), _) | (_, Err(error)) => return Err(error),
        };
        for name in configured {
            // Once loaded it is in the table of addresses.
            if self.catalog.get(&name).is_none() {
                self.load(&name).await?;
            }
        }
        let mut peers = Vec::new();
        let now = self.clock.now();
        for name in registered {
            let known = self.load(&name).await?;
            let is_here = |binding: &fairlead_model::binding::Binding| {
                binding.expires_at > now && binding.flow.is_same_source(flow)
            };
            peers.extend(known.peer.filter(|_| known.bindings.bindings.iter().any(is_here)));
        }
        Ok(peers)
    }

    /// Where it goes, and the callee.
    async fn whom(
        &self,
        request: &AdmitRequest,
        caller: &Caller,
        loaded: Result<Outcome, StoreError>,
        in_use: u32,
    ) -> Result<Result<Vec<Target>, Refusal>, StoreError> {
        let name = request.target_user.as_str();
        if name.is_empty() && request.method != "INVITE" {
            return Ok(Ok(Vec::new()));
        }
        let known = match loaded.and_then(Outcome::loaded) {
            Ok((row, bindings)) => self.loaded(name, row, bindings).await,
            // Away: as it was last seen, if it was.
            Err(error) => match self.catalog.get(name) {
                Some(peer) if error.passes() => Known { peer: Some(peer), bindings: self.held(name) },
                _ => return Err(error),
            },
        };
        let now = self.clock.now();
        let contacts = order(&known.bindings.bindings, now);
        // Contacts that qualify found silent are no reason to try a configured address (`defaultip`).
        let silent = contacts.is_empty() && known.bindings.bindings.iter().any(|one| one.expires_at > now);
        let qualify = match silent {
            true => QualifyState::Unreachable,
            false => self.static_qualify.get(name).map(|known| known.state).unwrap_or_default(),
        };
        let callee = known.peer.as_ref().map(|peer| Callee { peer, contacts: &contacts, qualify, in_use });
        let dialled = Dialled {
            user: name,
            from: &request.flow,
            caller: caller.peer.as_ref().map(|peer| peer.name.as_str()),
        };
        match targets(dialled, callee) {
            Err(_) if known.peer.is_none() && !self.knows_all().await? => Ok(Err(self.unavailable())),
            found => Ok(found),
        }
    }

    /// The last hurdle: a call slot of the caller.
    async fn let_in(
        &self,
        request: &AdmitRequest,
        caller: Caller,
        targets: Vec<Target>,
    ) -> Result<Answer, StoreError> {
        if let Some(peer) = caller.peer.as_ref().filter(|_| request.method == "INVITE")
            && !self.take_slot(peer, request.call, Usage::Up).await?
        {
            return Ok(Answer::Refused(call_limit()));
        }
        let binding = caller.peer.as_ref().and_then(|peer| self.binding_of(&peer.name, request));
        Ok(Answer::Admitted(Box::new(Admitted { caller: caller.policy, binding, targets })))
    }

    /// The caller's binding by whose flow he calls, as far as this registrar knows without asking.
    fn binding_of(&self, name: &str, request: &AdmitRequest) -> Option<BindingKey> {
        let now = self.clock.now();
        let held = self.held(name);
        let known = held.bindings.iter();
        known
            .filter(|one| one.expires_at > now)
            .find(|one| one.flow.is_same_source(&request.flow))
            .map(|one| one.key.clone())
    }

    /// Slots of living pods, without the one that this call has already.
    fn count_slots(&self, slots: Vec<fairlead_store::Slot>, request: &AdmitRequest) -> u32 {
        let living = self.members.living_signaling(self.clock.now());
        let counts = slots
            .iter()
            .filter(|slot| slot.call != request.call)
            .filter(|slot| living.is_empty() || living.contains(&slot.pod));
        counts.count() as u32
    }

    /// The request does not come in: nobody need remember it.
    async fn give_up(&self, request: &AdmitRequest) {
        let step = Step::Disown {
            call_id: request.call_id.clone(),
            from_tag: claim_tag(&request.method, &request.from_tag),
            call: request.call,
        };
        if let Err(error) = self.storage.run_one(step).await {
            debug!(%error, "a claim stays until it runs out");
        }
    }
}
