//! A registrar that only remembers.

use super::*;

/// What the registrar of the tests knows.
#[derive(Default)]
pub struct Registrar {
    /// What every REGISTER gets, when it is refused.
    pub refuses: Option<Refusal>,
    /// What everybody gets who asks to be let in.
    pub strangers: Option<Refusal>,
    /// Targets of names that are configured rather than registered.
    pub targets: HashMap<String, Vec<Target>>,
    /// Registered contacts: URI and flow.
    pub bindings: BTreeMap<String, (String, Flow)>,
    pub owners: HashMap<(String, String), CallRef>,
    pub checkpoints: HashMap<CallRef, CheckpointRecord>,
    pub slots: HashSet<(CallRef, String)>,
    pub usages: Vec<(String, Usage)>,
    pub asked: Vec<&'static str>,
    pub qualified: Vec<(String, fairlead_model::binding::Qualify)>,
    /// Peers whose slots are all taken.
    pub full: HashSet<String>,
    pub policy: Option<LegPolicy>,
    pub ring_time: u32,
    pub away: bool,
    /// It has more to do than to move flows.
    pub moves_nothing: bool,
}

/// That of a peer of which nothing is configured, only that its calls are counted.
pub fn policy(peer: &str) -> LegPolicy {
    let nat = EffectiveNat { force_rport: true, comedia: false };
    LegPolicy { uncounted: false, ..Peer::named(peer, &Peer::default()).leg_policy(nat) }
}

pub fn target(peer: &str, address: SocketAddr) -> Target {
    Target {
        policy: policy(peer),
        uri: format!("sip:{peer}@{address}"),
        route: Vec::new(),
        hop: Hop::Address {
            transport: Transport::Udp,
            host: address.ip().to_string(),
            port: Some(address.port()),
        },
        binding: None,
        ring_time: 30,
    }
}

impl Registrar {
    pub fn answer(&mut self, pod: PodRef, ask: Ask) -> Result<Answer, AskFailed> {
        if self.away {
            return Err(AskFailed::Unreachable);
        }
        Ok(match ask {
            Ask::Register(_) if self.refuses.is_some() => {
                Answer::Refused(self.refuses.clone().unwrap_or_else(|| Refusal::new(500, "")))
            }
            Ask::Register(request) => {
                self.asked.push("register");
                if let Some(refusal) = self.strangers.clone() {
                    return Ok(Answer::Refused(refusal));
                }
                let Contacts::List(list) = &request.contacts else {
                    return Ok(Answer::Registered(Registered::default()));
                };
                let change = &list[0];
                let expires = change.expires.or(request.expires).unwrap_or(3600);
                if expires == 0 {
                    self.bindings.remove(&request.user);
                    return Ok(Answer::Registered(Registered::default()));
                }
                self.bindings.insert(request.user.clone(), (change.uri.clone(), request.flow));
                Answer::Registered(Registered {
                    contacts: vec![(change.value.clone(), expires)],
                    path: Vec::new(),
                    qualify: false,
                })
            }
            Ask::Admit(request) => {
                self.asked.push("admit");
                if let Some(refusal) = self.strangers.clone() {
                    return Ok(Answer::Refused(refusal));
                }
                let name = (request.call_id.clone(), request.from_tag.clone());
                if let Some(call) = self.owners.get(&name).filter(|call| **call != request.call) {
                    return Ok(Answer::Owned { pod: call.pod, call: *call });
                }
                let targets = match self.targets.get(&request.target_user) {
                    Some(targets) => targets.clone(),
                    None => match self.bindings.get(&request.target_user) {
                        Some((uri, flow)) => vec![Target {
                            uri: uri.clone(),
                            hop: Hop::Flow(*flow),
                            binding: Some(BindingKey(uri.clone())),
                            ring_time: self.ring_time.max(1),
                            ..target(&request.target_user, flow.remote)
                        }],
                        None => return Ok(Answer::Refused(Refusal::new(404, "Not Found"))),
                    },
                };
                let here = self.bindings.get(&request.from_user);
                let binding = here.filter(|(_, flow)| flow.is_same_source(&request.flow));
                let binding = binding.map(|(uri, _)| BindingKey(uri.clone()));
                self.owners.insert(name, request.call);
                self.slots.insert((request.call, request.from_user.clone()));
                let caller = self.policy.clone().unwrap_or_else(|| policy(&request.from_user));
                Answer::Admitted(Box::new(Admitted { caller, binding, targets }))
            }
            Ask::Owner { call_id, from_tag } => {
                self.asked.push("owner");
                match self.owners.get(&(call_id, from_tag)) {
                    Some(call) => Answer::Owned { pod: call.pod, call: *call },
                    None => Answer::NotOwned,
                }
            }
            Ask::Disown { call_id, from_tag, .. } => {
                self.owners.remove(&(call_id, from_tag));
                Answer::Done
            }
            Ask::Locate { peer, .. } => {
                self.asked.push("locate");
                Answer::Located(self.bindings.get(&peer).map(|(_, flow)| Hop::Flow(*flow)))
            }
            Ask::Release { call } => {
                self.slots.retain(|(known, _)| *known != call);
                Answer::Done
            }
            Ask::Occupy { call, peer } => {
                if self.full.contains(&peer) {
                    return Ok(Answer::Refused(Refusal::new(480, "Call limit")));
                }
                self.slots.insert((call, peer));
                Answer::Done
            }
            Ask::Usage { peer, usage, .. } => {
                self.usages.push((peer, usage));
                Answer::Done
            }
            Ask::Checkpoint { call, record } => {
                match record {
                    Some(record) => {
                        let stored = self.checkpoints.get(&call).map_or(0, |record| record.epoch);
                        if record.epoch < stored {
                            return Ok(Answer::Refused(Refusal::new(481, "Call is another pod's")));
                        }
                        self.checkpoints.insert(call, record);
                    }
                    None => {
                        self.checkpoints.remove(&call);
                    }
                }
                Answer::Done
            }
            Ask::Qualified { peer, result, .. } => {
                self.qualified.push((peer, result));
                Answer::Done
            }
            Ask::AnswerChallenge(question) => {
                self.asked.push("challenge");
                Answer::ChallengeAnswered {
                    value: format!("Digest username=\"{}\", response=\"x\"", question.peer),
                }
            }
            Ask::QualifyList => Answer::QualifyList(Vec::new()),
            Ask::MoveFlow { .. } if self.moves_nothing => Answer::Done,
            Ask::MoveFlow { flow } => {
                let _ = pod;
                for (_, known) in self.bindings.values_mut().filter(|(_, known)| known.is_same_source(&flow))
                {
                    *known = flow;
                }
                Answer::Done
            }
        })
    }
}
