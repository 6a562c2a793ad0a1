//! What is asked of whom with OPTIONS, and what came of it.

use std::sync::Arc;

use fairlead_location::runtime_columns;
use fairlead_model::ask::{Answer, AskFailed, QualifyTarget};
use fairlead_model::binding::{BindingKey, Qualify};
use fairlead_model::id::PodRef;
use fairlead_model::peer::Peer;
use fairlead_routing::{qualify_binding, qualify_static};
use fairlead_store::{BindingsRecord, Columns, Notice, Step};

use crate::change::{Change, row_columns};
use crate::registrar::Registrar;
use crate::stream::failed;

impl Registrar {
    /// The contacts whose flows this pod owns, and its share of configured addresses.
    pub(crate) fn qualify_list(&self, pod: PodRef) -> Answer {
        let now = self.clock.now();
        let mut list = Vec::new();
        for name in self.locations.of_pod(pod) {
            let Some(peer) = self.catalog.get(&name).filter(|peer| peer.qualify_ms.is_some()) else {
                continue;
            };
            let record = self.held(&name);
            let live = record.bindings.iter().filter(|one| one.flow.pod == pod && one.expires_at > now);
            list.extend(live.filter_map(|binding| qualify_binding(&peer, binding)));
        }
        let signaling = self.members.living_signaling(now);
        let cached = self.catalog.cached();
        let peers = self.catalog.statics().values().chain(cached.iter().map(|known| &known.peer));
        let mine = peers.filter(|peer| peer.qualify_ms.is_some() && !peer.is_dynamic());
        list.extend(
            mine.filter(|peer| whose(&peer.name, &signaling).is_none_or(|owner| owner == pod))
                .filter_map(|peer| qualify_static(peer, self.static_state(&peer.name))),
        );
        Answer::QualifyList(list)
    }

    /// What is known of a configured address.
    pub(crate) fn static_state(&self, name: &str) -> Qualify {
        self.static_qualify.get(name).map(|state| *state).unwrap_or_default()
    }

    /// What qualify found.
    pub(crate) async fn qualified(
        &self,
        name: &str,
        key: Option<&BindingKey>,
        result: Qualify,
    ) -> Result<Answer, AskFailed> {
        let Some(key) = key else {
            self.static_qualify.insert(name.to_owned(), result);
            if self.followers.is_news(name, "", result) {
                self.followers.touch(name, false);
            }
            let notice = Notice::Qualified { by: self.config.me.pod, name: name.to_owned(), result };
            // Other registrars hear it with the next result otherwise.
            let _ = self.storage.store().run_one(Step::Publish(notice)).await;
            return Ok(Answer::Done);
        };
        let held = self.held(name);
        let before = held.bindings.iter().find(|one| one.key == *key).map(|one| one.qualify);
        let turned = before.is_none_or(|before| before.state != result.state);
        let news = self.followers.is_news(name, &key.0, result);
        // Where nobody else reads the store, a round trip alone is not worth a write to the disk.
        if !turned && !self.storage.store().keeps_nonces() {
            self.note_here(name, &held, key, result);
            if news {
                self.followers.touch(name, false);
            }
            return Ok(Answer::Done);
        }
        let general = Arc::clone(self.catalog.general());
        let changed = self.change(name, false, |bindings, now| {
            let mut bindings = bindings.to_vec();
            let one = bindings.iter_mut().find(|one| one.key == *key && one.expires_at > now)?;
            let turned = one.qualify.state != result.state;
            one.qualify = result;
            // chan_sip writes `lastms` only when the state changes.
            let columns = match turned {
                true => {
                    row_columns(&runtime_columns(&bindings, &general, now), |pod| self.members.name_of(pod))
                }
                false => Columns::new(),
            };
            // Others tell it to those who follow them.
            Some(Change { bindings, columns, told: turned || news })
        });
        match changed.await {
            Ok(_) => Ok(Answer::Done),
            Err(error) if error.passes() => {
                self.note_here(name, &held, key, result);
                Ok(Answer::Done)
            }
            Err(error) => Err(failed(error)),
        }
    }

    /// Keeps a result in this registrar's memory only.
    fn note_here(&self, name: &str, held: &BindingsRecord, key: &BindingKey, result: Qualify) {
        let mut record = held.clone();
        if let Some(one) = record.bindings.iter_mut().find(|one| one.key == *key) {
            one.qualify = result;
            self.locations.put(name, Arc::new(record));
        }
    }

    /// What is to be asked of one peer now, whoever owns its flows.
    pub(crate) fn targets_of(&self, peer: &Peer, record: &BindingsRecord) -> Vec<QualifyTarget> {
        let now = self.clock.now();
        // Asked by hand it is asked even when `qualify` is off; chan_sip's limit is 2000 ms then.
        let peer = Peer { qualify_ms: peer.qualify_ms.or(Some(2000)), ..peer.clone() };
        let live = record.bindings.iter().filter(|one| one.expires_at > now);
        let mut targets: Vec<_> = live.filter_map(|binding| qualify_binding(&peer, binding)).collect();
        if targets.is_empty() {
            targets.extend(qualify_static(&peer, self.static_state(&peer.name)));
        }
        targets
    }
}

/// Who of these pods has a thing, by rendezvous hashing: when one comes or goes, only its own share moves. `None`
/// when there is nobody to choose from.
fn whose(thing: &str, pods: &[PodRef]) -> Option<PodRef> {
    pods.iter().copied().max_by_key(|pod| (weight(thing, *pod), *pod))
}

fn weight(thing: &str, pod: PodRef) -> u64 {
    // FNV-1a over both, then mixed: neighbours in number must not be neighbours in weight.
    let octets = thing.bytes().chain(pod.0.to_be_bytes());
    let sum = octets.fold(0xcbf2_9ce4_8422_2325_u64, |sum, octet| {
        (sum ^ u64::from(octet)).wrapping_mul(0x0100_0000_01b3)
    });
    let sum = (sum ^ (sum >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    sum ^ (sum >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_even_and_only_those_of_the_lost_pod_move() {
        let pods = [PodRef(1), PodRef(2), PodRef(3)];
        let names: Vec<String> = (0..300).map(|number| format!("trunk{number}")).collect();
        let of = |pods: &[PodRef]| names.iter().map(|name| whose(name, pods).unwrap()).collect::<Vec<_>>();
        let (all, two) = (of(&pods), of(&pods[..2]));
        for pod in pods {
            assert!(all.iter().filter(|owner| **owner == pod).count() > 60);
        }
        assert!(all.iter().zip(&two).all(|(a, b)| a == b || *a == PodRef(3)));
    }
}
