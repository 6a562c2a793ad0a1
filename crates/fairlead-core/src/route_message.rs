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
use sip_wire::Message;
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

/// How many keys are known at most: names of live dialogs may have been minted under those of before.
const MINT_KEYS_MAX: usize = 8;

/// What is needed to find the owner of a message. One for a pod; a copy may be in each shard.
#[derive(Clone, Debug)]
pub struct Router {
    pod: PodRef,
    shards: u8,
    keys: Arc<[MintKey]>,
    /// Signaling pods that are there, sorted.
    pods: Arc<[PodRef]>,
    /// Those of them that take new calls, without this one.
    takers: Arc<[PodRef]>,
    /// Call-IDs of dialogs that this pod adopted.
    adopted: HashMap<String, ShardRef>,
}

impl Router {
    /// A pod that knows nobody yet.
    pub fn new(pod: PodRef, shards: u8) -> Self {
        Router {
            pod,
            shards: shards.max(1),
            keys: Arc::new([]),
            pods: Arc::new([]),
            takers: Arc::new([]),
            adopted: HashMap::new(),
        }
    }

    /// Learns keys and pods. Whether other pods are there than before.
    pub fn brief(&mut self, briefing: &Briefing) -> bool {
        let former = self.keys.iter().filter(|key| !briefing.mint_keys.contains(key));
        self.keys = briefing.mint_keys.iter().chain(former).take(MINT_KEYS_MAX).cloned().collect();
        let mut pods: Vec<_> =
            briefing.members.iter().filter(|m| m.role == Role::Signaling).map(|m| m.pod).collect();
        pods.sort_unstable();
        let takes = |m: &&fairlead_model::member::Member| {
            m.role == Role::Signaling && !m.draining && m.pod != self.pod
        };
        self.takers = briefing.members.iter().filter(takes).map(|m| m.pod).collect();
        let changed = *self.pods != *pods;
        self.pods = pods.into();
        changed
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

    /// The pods that are there, this one among them when it is known.
    pub fn pods(&self) -> &[PodRef] {
        &self.pods
    }

    /// Whether another pod takes new calls.
    pub fn has_taker(&self) -> bool {
        !self.takers.is_empty()
    }

    /// Which other pod takes the new call with this Call-ID, of those that do not drain. Where one comes or goes the
    /// others keep theirs: the pod with the highest hash of Call-ID and pod is chosen.
    pub fn taker(&self, call_id: &str) -> Option<PodRef> {
        self.taker_but(call_id, None)
    }

    /// The same of all but one, which did not take it.
    pub fn taker_but(&self, call_id: &str, not: Option<PodRef>) -> Option<PodRef> {
        self.takers.iter().copied().filter(|pod| Some(*pod) != not).max_by_key(|pod| {
            let mut hasher = SipHasher13::new();
            hasher.write(call_id.as_bytes());
            hasher.write_u64(pod.0);
            hasher.finish()
        })
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

#[cfg(test)]
mod tests {
    use super::*;
    use fairlead_model::id::UnixMillis;
    use fairlead_model::member::Member;
    use fairlead_model::peer::General;

    const PODS: [PodRef; 2] = [PodRef(1), PodRef(2)];

    fn member_like() -> Member {
        Member {
            pod: PODS[0],
            name: String::new(),
            role: Role::Signaling,
            grpc: std::net::SocketAddr::from(([192, 0, 2, 1], 1)),
            started: UnixMillis(0),
            seen: UnixMillis(0),
            draining: false,
            load: 0,
            version: String::new(),
        }
    }

    fn router() -> Router {
        let member = |pod: PodRef| Member { pod, ..member_like() };
        let mut router = Router::new(PODS[0], 4);
        router.brief(&Briefing {
            version: 1,
            mint_keys: vec![MintKey { version: b'k', key: [5; 16] }],
            nonce_keys: Vec::new(),
            members: PODS.map(member).to_vec(),
            general: General::default(),
            trusted: Vec::new(),
            surroundings: Default::default(),
        });
        router
    }

    fn minted(kind: Kind, pod: PodRef, shard: u8) -> String {
        let key = MintKey { version: b'k', key: [5; 16] };
        Minted { kind, pod, shard: ShardRef(shard), number: 9, index: 0 }.write(&key)
    }

    fn message(first: &str, via: &str, to: &str) -> Message {
        let method =
            if first.starts_with("SIP") { "BYE" } else { first.split(' ').next().unwrap_or_default() };
        let text = format!(
            "{first}\r\nVia: SIP/2.0/UDP 192.0.2.9;branch={via}\r\nFrom: <sip:a@b>;tag=f\r\nTo: <sip:b@b>{to}\r\n\
             Call-ID: somebody's\r\nCSeq: 1 {method}\r\nContent-Length: 0\r\n\r\n"
        );
        Message::parse(text.into()).unwrap()
    }

    #[test]
    fn responses_go_to_who_wrote_their_branch() {
        let branch = |pod, shard| format!("z9hG4bK{}", minted(Kind::Branch, pod, shard));
        let of = |branch: &str| router().route(&message("SIP/2.0 200 OK", branch, ""));
        assert_eq!(of(&branch(PODS[0], 3)), Belongs::Here(ShardRef(3)));
        assert_eq!(of(&branch(PODS[1], 2)), Belongs::There(PODS[1], Some(ShardRef(2))));
        let by_hash = Belongs::Here(router().shard_of("somebody's"));
        assert_eq!(of(&branch(PodRef(77), 2)), by_hash, "a pod that is gone");
        assert_eq!(of("z9hG4bKforeign"), by_hash);
    }

    #[test]
    fn names_minted_under_a_former_key_stay_known() {
        let mut router = router();
        let tag = format!(";tag={}", minted(Kind::Call, PODS[1], 1));
        let members = PODS.map(|pod| Member { pod, ..member_like() }).to_vec();
        router.brief(&Briefing {
            version: 2,
            mint_keys: vec![MintKey { version: b'k', key: [6; 16] }],
            nonce_keys: Vec::new(),
            members,
            general: General::default(),
            trusted: Vec::new(),
            surroundings: Default::default(),
        });
        let bye = message("BYE sip:x@192.0.2.1 SIP/2.0", "z9hG4bK1", &tag);
        assert_eq!(router.route(&bye), Belongs::There(PODS[1], Some(ShardRef(1))));
    }

    #[test]
    fn new_calls_are_taken_by_pods_that_do_not_drain_and_stay_where_one_goes() {
        let brief = |router: &mut Router, draining: &[u64]| {
            let member =
                |pod| Member { pod: PodRef(pod), draining: draining.contains(&pod), ..member_like() };
            router.brief(&Briefing {
                version: 1,
                mint_keys: Vec::new(),
                nonce_keys: Vec::new(),
                members: (1..=4).map(member).collect(),
                general: General::default(),
                trusted: Vec::new(),
                surroundings: Default::default(),
            });
        };
        let mut router = Router::new(PODS[0], 4);
        assert_eq!(router.taker("a"), None, "nobody else is known");
        brief(&mut router, &[1]);
        let calls: Vec<String> = (0..100).map(|n| format!("call-{n}")).collect();
        let before: Vec<_> = calls.iter().map(|call| router.taker(call).unwrap()).collect();
        for pod in 2..=4 {
            assert!(before.iter().filter(|taker| **taker == PodRef(pod)).count() > 10);
        }
        brief(&mut router, &[1, 3]);
        for (call, before) in calls.iter().zip(before) {
            let taker = router.taker(call).unwrap();
            assert!(taker == before || before == PodRef(3) && taker != PodRef(3));
        }
        brief(&mut router, &[1, 2, 3, 4]);
        assert_eq!(router.taker("a"), None);
    }

    #[test]
    fn requests_of_dialogs_go_to_who_wrote_their_tag() {
        let tag = |pod, shard| format!(";tag={}", minted(Kind::Call, pod, shard));
        let of = |to: &str| router().route(&message("BYE sip:x@192.0.2.1 SIP/2.0", "z9hG4bK1", to));
        assert_eq!(of(&tag(PODS[1], 0)), Belongs::There(PODS[1], Some(ShardRef(0))));
        assert_eq!(of(&tag(PODS[0], 1)), Belongs::Here(ShardRef(1)));
        assert_eq!(of(";tag=foreign"), Belongs::Here(router().shard_of("somebody's")));
    }

    #[test]
    fn after_an_adoption_the_contact_says_where_the_call_is() {
        let old = format!(";tag={}", minted(Kind::Call, PodRef(77), 0));
        let uri = format!("BYE sip:{}@192.0.2.1 SIP/2.0", minted(Kind::Call, PODS[1], 3));
        let bye = message(&uri, "z9hG4bK1", &old);
        assert_eq!(router().route(&bye), Belongs::There(PODS[1], Some(ShardRef(3))));
        let mut adopter = router();
        adopter.adopt(["somebody's"], ShardRef(2));
        assert_eq!(adopter.route(&bye), Belongs::Here(ShardRef(2)), "the table comes before all");
    }

    #[test]
    fn a_branch_in_place_of_a_tag_and_stateless_tags_lead_nowhere() {
        for kind in [Kind::Branch, Kind::CallId, Kind::Stateless] {
            let to = format!(";tag={}", minted(kind, PODS[1], 0));
            let ack = message("ACK sip:x@192.0.2.1 SIP/2.0", "z9hG4bK1", &to);
            assert_eq!(router().route(&ack), Belongs::Here(router().shard_of("somebody's")));
        }
    }
}
