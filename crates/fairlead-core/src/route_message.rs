//! Whose message is this? (architecture: any pod, any packet)
//!
//! The pod uses a [`Router`] to hand what its sockets receive to the right shard; a shard uses the same one to
//! send on what came to it by mistake. Responses say it in the branch we wrote, requests of a dialog in the tag or
//! the Request-URI we wrote; what carries nothing of ours is hashed by Call-ID over the shards of whichever pod
//! received it. Calls that were adopted keep the names their first pod gave them, so a table comes before all.

use std::collections::HashMap;
use std::hash::Hasher;
use std::sync::Arc;

use fairlead_model::id::{PodRef, ShardRef};
use fairlead_model::member::{Briefing, MintKey, Role};
use sip_wire::{Message, Method};
use siphasher::sip::SipHasher13;

use crate::mint::{Kind, Minted};

/// Where a message belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Belongs {
    /// A shard of this pod.
    Here(ShardRef),
    /// Another pod, and the shard of it if what was minted says so.
    There(PodRef, Option<ShardRef>),
}

/// What is needed to find the owner of a message. One for a pod; a copy may be in each shard.
#[derive(Clone, Debug)]
pub struct Router {
    pod: PodRef,
    shards: u8,
    keys: Arc<[MintKey]>,
    /// Signaling pods that are there, sorted.
    pods: Arc<[PodRef]>,
    /// Call-IDs of dialogs that this pod adopted.
    adopted: HashMap<String, ShardRef>,
}

impl Router {
    /// A pod that knows nobody yet.
    pub fn new(pod: PodRef, shards: u8) -> Self {
        Router { pod, shards: shards.max(1), keys: Arc::new([]), pods: Arc::new([]), adopted: HashMap::new() }
    }

    /// Learns keys and pods.
    pub fn brief(&mut self, briefing: &Briefing) {
        self.keys = briefing.mint_keys.clone().into();
        let mut pods: Vec<_> =
            briefing.members.iter().filter(|m| m.role == Role::Signaling).map(|m| m.pod).collect();
        pods.sort_unstable();
        self.pods = pods.into();
    }

    /// Messages with these Call-IDs go to this shard from now on.
    pub fn adopt<'a>(&mut self, call_ids: impl IntoIterator<Item = &'a str>, shard: ShardRef) {
        for call_id in call_ids {
            self.adopted.insert(call_id.to_owned(), shard);
        }
    }

    /// An adopted call is over.
    pub fn forget<'a>(&mut self, call_ids: impl IntoIterator<Item = &'a str>) {
        for call_id in call_ids {
            self.adopted.remove(call_id);
        }
    }

    /// The keys under which we mint; the first is for new names.
    pub fn keys(&self) -> &[MintKey] {
        &self.keys
    }

    /// Whether a pod is known to be there (this one always is).
    pub fn is_there(&self, pod: PodRef) -> bool {
        pod == self.pod || self.pods.binary_search(&pod).is_ok()
    }

    /// Whose message this is.
    pub fn route(&self, message: &Message) -> Belongs {
        if !message.is_request() {
            return self.route_response(message);
        }
        let call_id = message.call_id();
        if !self.adopted.is_empty()
            && let Some(shard) = self.adopted.get(call_id)
        {
            return Belongs::Here(*shard);
        }
        if let Some(tag) = message.to_tag() {
            if let Some(owner) = self.owner(tag, &[Kind::Call, Kind::Answer]) {
                return owner;
            }
            // After an adoption the tag still names the first pod; the Contact that was written since names ours.
            if let Some(owner) =
                user_of(message.request_uri()).and_then(|user| self.owner(user, &[Kind::Call]))
            {
                return owner;
            }
        } else if matches!(message.method(), Method::Cancel) {
            // The CANCEL of a request that we sent to ourselves or to another Fairlead carries nothing to go by.
            return Belongs::Here(self.shard_of(call_id));
        }
        Belongs::Here(self.shard_of(call_id))
    }

    /// The shard that a Call-ID falls to when nothing else says.
    pub fn shard_of(&self, call_id: &str) -> ShardRef {
        let mut hasher = SipHasher13::new();
        hasher.write(call_id.as_bytes());
        ShardRef((hasher.finish() % u64::from(self.shards)) as u8)
    }

    fn route_response(&self, message: &Message) -> Belongs {
        let minted = message
            .top_via()
            .ok()
            .and_then(|via| via.branch.as_deref().and_then(|branch| Minted::read_branch(branch, &self.keys)));
        match minted {
            // An answer to a pod that is gone finds nobody.
            Some(minted) if self.is_there(minted.pod) => self.place(minted),
            _ => Belongs::Here(self.shard_of(message.call_id())),
        }
    }

    /// Whose name this is, if one of ours that is there wrote it.
    fn owner(&self, text: &str, kinds: &[Kind]) -> Option<Belongs> {
        let minted = Minted::read(text, &self.keys)?;
        (kinds.contains(&minted.kind) && self.is_there(minted.pod)).then(|| self.place(minted))
    }

    fn place(&self, minted: Minted) -> Belongs {
        if minted.pod != self.pod {
            return Belongs::There(minted.pod, Some(minted.shard));
        }
        // A number beyond the shards of this pod was never written by this incarnation; stay inside all the same.
        Belongs::Here(ShardRef(minted.shard.0 % self.shards))
    }
}

/// The user part of a SIP URI, raw.
fn user_of(uri: &str) -> Option<&str> {
    let (_, rest) = uri.split_once(':')?;
    let (user, _) = rest.split_once('@')?;
    Some(user.split_once(':').map_or(user, |(user, _)| user))
}
