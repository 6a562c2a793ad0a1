//! Where bindings are, and how a phone's packet moves them to the pod that received it.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use dashmap::DashMap;
use fairlead_location::{Move, move_flow};
use fairlead_model::ask::{Answer, AskFailed, Refusal};
use fairlead_model::binding::BindingKey;
use fairlead_model::flow::{Flow, Hop, Transport};
use fairlead_model::id::PodRef;
use fairlead_store::{Columns, Step};

use crate::change::Change;
use crate::registrar::Registrar;
use crate::stream::failed;

/// How long a source that belongs to nobody is not looked for again.
const STRANGER: Duration = Duration::from_secs(60);
/// How many such sources are remembered.
const STRANGERS_MAX: usize = 100_000;

/// Sources that belong to nobody.
#[derive(Default)]
pub struct Strangers(DashMap<(Transport, SocketAddr), Instant>);

impl Strangers {
    fn knows(&self, flow: &Flow) -> bool {
        self.0.get(&(flow.transport, flow.remote)).is_some_and(|until| *until > Instant::now())
    }

    fn add(&self, flow: &Flow) {
        if self.0.len() < STRANGERS_MAX {
            self.0.insert((flow.transport, flow.remote), Instant::now() + STRANGER);
        }
    }

    /// Somebody is reached by this flow now.
    pub fn forget(&self, flow: &Flow) {
        self.0.remove(&(flow.transport, flow.remote));
    }

    /// Forgets those whose time is over.
    pub fn sweep(&self) {
        let now = Instant::now();
        self.0.retain(|_, until| *until > now);
    }
}

impl Registrar {
    /// Where is this binding now?
    pub(crate) async fn locate(&self, name: &str, key: &BindingKey) -> Result<Answer, AskFailed> {
        let known = match self.load(name).await {
            Ok(known) => known,
            // Away: where it was when it was last seen.
            Err(error) if error.passes() => self.known(name).await.map_err(failed)?,
            Err(error) => return Err(failed(error)),
        };
        let now = self.clock.now();
        let hop = known.peer.and_then(|peer| {
            let live =
                |binding: &&fairlead_model::binding::Binding| binding.key == *key && binding.expires_at > now;
            let binding = known.bindings.bindings.iter().find(live)?;
            fairlead_routing::binding_way(&peer, binding).map(|(hop, _)| hop)
        });
        Ok(Answer::Located(hop))
    }

    /// A packet with the transport and source of somebody's flow came to another pod. Located when
    /// somebody is reached by that flow, which is that pod's now. Refused when that flow moved a moment
    /// ago: the pod asks again soon.
    pub(crate) async fn move_flow(&self, flow: &Flow) -> Result<Answer, AskFailed> {
        if self.strangers.knows(flow) {
            return Ok(Answer::Done);
        }
        let step = Step::NamesByFlow { transport: flow.transport, remote: flow.remote };
        let names =
            self.storage.store().run_one(step).await.and_then(|found| found.names()).map_err(failed)?;
        let staying: HashSet<PodRef> = self
            .members
            .living(self.clock.now())
            .into_iter()
            .filter(|member| !member.draining)
            .map(|member| member.pod)
            .collect();
        let stays = |pod| staying.contains(&pod);
        let (mut ours, mut damped) = (false, None);
        for name in names {
            let record = self.load(&name).await.map_err(failed)?.bindings;
            match move_flow(&record.bindings, flow, self.clock.now(), stays) {
                Move::NotOurs => continue,
                Move::Damped(wait) => damped = damped.max(Some(wait)),
                Move::To(_) | Move::Already => {}
            }
            ours = true;
            let moved = self.change(&name, false, |bindings, now| {
                let Move::To(moved) = move_flow(bindings, flow, now, stays) else { return None };
                let mut bindings = bindings.to_vec();
                for binding in &mut bindings {
                    if let Some(to) = moved.iter().find(|to| to.key == binding.key) {
                        *binding = to.clone();
                    }
                }
                Some(Change { bindings, columns: Columns::new(), told: true })
            });
            moved.await.map_err(failed)?;
        }
        if !ours {
            self.strangers.add(flow);
        }
        Ok(match damped {
            Some(wait) => Answer::Refused(Refusal {
                retry_after: Some(u32::try_from(wait.div_ceil(1000)).unwrap_or(u32::MAX)),
                ..Refusal::new(503, "Moved A Moment Ago")
            }),
            None if ours => Answer::Located(Some(Hop::Flow(*flow))),
            None => Answer::Done,
        })
    }
}
