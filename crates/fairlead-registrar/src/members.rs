//! Who is there: pods on our streams and on those of other registrars, each under its lease.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fairlead_model::id::{PodRef, UnixMillis};
use fairlead_model::member::{Briefing, Member, Role};
use fairlead_proto::link::Down;
use parking_lot::Mutex;
use tokio::sync::mpsc;

/// The members, and the streams of those who are attached here.
pub struct Members {
    me: PodRef,
    lease: Duration,
    inner: Mutex<Inner>,
}

struct Inner {
    /// Everybody, `seen` by the store's time.
    members: BTreeMap<PodRef, Member>,
    attached: HashMap<PodRef, Attached>,
    next: u64,
    /// Until then no lease counts as expired: the store was away, and nobody could renew.
    grace: Option<Instant>,
    /// Who was there when the store's list came last. A lease runs out, or is renewed late, between two lists.
    there: Vec<PodRef>,
}

/// A stream.
struct Attached {
    number: u64,
    down: mpsc::Sender<Down>,
    requalify: bool,
    /// It has the last briefing.
    briefed: u64,
}

impl Members {
    pub fn new(me: Member, lease: Duration) -> Self {
        let members = BTreeMap::from([(me.pod, me.clone())]);
        let inner = Inner { members, attached: HashMap::new(), next: 0, grace: None, there: vec![me.pod] };
        Members { me: me.pod, lease, inner: Mutex::new(inner) }
    }

    /// A pod attached here. Returns the number of its stream.
    pub fn attach(&self, who: Member, down: mpsc::Sender<Down>) -> u64 {
        let mut inner = self.inner.lock();
        inner.next += 1;
        let number = inner.next;
        inner.attached.insert(who.pod, Attached { number, down, requalify: false, briefed: 0 });
        inner.members.insert(who.pod, who);
        number
    }

    /// Its stream ended; whether it has no other one here. A newer stream of the same pod stays.
    pub fn detach(&self, pod: PodRef, number: u64) -> bool {
        let mut inner = self.inner.lock();
        let last = inner.attached.get(&pod).is_some_and(|attached| attached.number == number);
        if last {
            inner.attached.remove(&pod);
        }
        last
    }

    /// A pod attached here said that it is there. Returns it as it is now.
    pub fn beat(&self, pod: PodRef, now: UnixMillis, load: u32, draining: bool) -> Option<(Member, bool)> {
        let mut inner = self.inner.lock();
        let member = inner.members.get_mut(&pod)?;
        let turned = member.draining != draining;
        (member.seen, member.load, member.draining) = (now, load, draining);
        Some((member.clone(), turned))
    }

    /// The store's list. Those attached here are there whatever it says. Returns whether the list of the living, or
    /// what is said of them, is another one than before.
    pub fn heard(&self, list: Vec<Member>, now: UnixMillis) -> bool {
        let mut inner = self.inner.lock();
        let before = said(inner.living(self.lease, now, self.me));
        let mut members: BTreeMap<PodRef, Member> =
            list.into_iter().map(|member| (member.pod, member)).collect();
        let kept: Vec<Member> = inner
            .members
            .values()
            .filter(|member| member.pod == self.me || inner.attached.contains_key(&member.pod))
            .cloned()
            .collect();
        for member in kept {
            // A stream that is still open here may be one that its pod has left for another registrar's.
            let newer = members.get(&member.pod).is_some_and(|listed| listed.seen > member.seen);
            if !newer {
                members.insert(member.pod, member);
            }
        }
        if inner.grace.is_some_and(|until| until > Instant::now()) {
            for (pod, member) in &inner.members {
                members.entry(*pod).or_insert_with(|| member.clone());
            }
        }
        inner.members = members;
        let after = said(inner.living(self.lease, now, self.me));
        let there: Vec<PodRef> = after.iter().map(|(pod, ..)| *pod).collect();
        let others = inner.there != there;
        inner.there = there;
        others || before != after
    }

    /// The store was away: everybody has a full term to renew.
    pub fn give_grace(&self) {
        self.inner.lock().grace = Some(Instant::now() + self.lease);
    }

    /// Everybody who is there, in order of role and name.
    pub fn living(&self, now: UnixMillis) -> Vec<Member> {
        let mut living: Vec<Member> = {
            let inner = self.inner.lock();
            inner.living(self.lease, now, self.me).cloned().collect()
        };
        living.sort_by(|a, b| (a.role, &a.name, a.pod).cmp(&(b.role, &b.name, b.pod)));
        living
    }

    /// Signaling pods whose slots count; empty while that cannot be said.
    pub fn living_signaling(&self, now: UnixMillis) -> Vec<PodRef> {
        let inner = self.inner.lock();
        if inner.grace.is_some_and(|until| until > Instant::now()) {
            return Vec::new();
        }
        let signaling =
            inner.living(self.lease, now, self.me).filter(|member| member.role == Role::Signaling);
        signaling.map(|member| member.pod).collect()
    }

    /// What a pod that is known by this name for machines is.
    pub fn role_of(&self, pod: PodRef) -> Option<Role> {
        self.inner.lock().members.get(&pod).map(|member| member.role)
    }

    /// The name for people of a pod.
    pub fn name_of(&self, pod: PodRef) -> Option<String> {
        self.inner.lock().members.get(&pod).map(|member| member.name.clone())
    }

    /// Which place this registrar has among the living ones, in order of their names for machines.
    pub fn rank(&self, now: UnixMillis) -> usize {
        let inner = self.inner.lock();
        let registrars =
            inner.living(self.lease, now, self.me).filter(|member| member.role == Role::Registrar);
        registrars.take_while(|member| member.pod != self.me).count()
    }

    /// How many streams there are.
    pub fn streams(&self) -> usize {
        self.inner.lock().attached.len()
    }

    /// These pods have other contacts to qualify; they are told with the next tick, once.
    pub fn requalify(&self, pods: &[PodRef]) {
        if pods.is_empty() {
            return;
        }
        let mut inner = self.inner.lock();
        for pod in pods {
            if let Some(attached) = inner.attached.get_mut(pod) {
                attached.requalify = true;
            }
        }
    }

    /// All pods on our streams have other contacts to qualify.
    pub fn requalify_all(&self) {
        for attached in self.inner.lock().attached.values_mut() {
            attached.requalify = true;
        }
    }

    /// Tells who has to qualify other contacts. A stream that is full is told with the next tick, and so is one that has no
    /// briefing yet, which is the first that a pod hears.
    pub fn tell_requalify(&self) {
        let told = |attached: &&mut Attached| attached.requalify && attached.briefed > 0;
        for attached in self.inner.lock().attached.values_mut().filter(told) {
            attached.requalify = attached.down.try_send(Down::Requalify).is_err();
        }
    }

    /// Hands the briefing to all who do not have it. A stream that is full gets it with the next tick.
    pub fn brief(&self, briefing: &Arc<Briefing>) {
        for attached in self.inner.lock().attached.values_mut() {
            if attached.briefed < briefing.version
                && attached.down.try_send(Down::Briefed(Arc::clone(briefing))).is_ok()
            {
                attached.briefed = briefing.version;
            }
        }
    }

    /// Hands one who has just attached its first briefing.
    pub fn briefed(&self, pod: PodRef, number: u64, version: u64) {
        if let Some(attached) = self.inner.lock().attached.get_mut(&pod)
            && attached.number == number
        {
            attached.briefed = attached.briefed.max(version);
        }
    }
}

impl Inner {
    fn living(&self, lease: Duration, now: UnixMillis, me: PodRef) -> impl Iterator<Item = &Member> {
        let grace = self.grace.is_some_and(|until| until > Instant::now());
        let term = lease.as_millis() as u64;
        self.members.values().filter(move |member| grace || member.pod == me || now.since(member.seen) < term)
    }
}

/// What a briefing says of members: everything but when they were last seen, and their load in coarse steps.
fn said<'a>(members: impl Iterator<Item = &'a Member>) -> Vec<(PodRef, bool, u32)> {
    members.map(|member| (member.pod, member.draining, coarse(member.load))).collect()
}

/// Load in steps of about a fifth.
fn coarse(load: u32) -> u32 {
    match load.checked_ilog2() {
        None | Some(0..=2) => load,
        Some(bits) => (load >> (bits - 2)) | (bits << 8),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(number: u64, role: Role, seen: u64) -> Member {
        let grpc = "192.0.2.1:1".parse().unwrap();
        let seen = UnixMillis(seen);
        Member { seen, ..Member::started(PodRef(number), format!("pod-{number}"), role, grpc, UnixMillis(0)) }
    }

    fn names(members: &Members, now: u64) -> Vec<u64> {
        members.living(UnixMillis(now)).iter().map(|member| member.pod.0).collect()
    }

    #[test]
    fn whoever_does_not_renew_is_gone_after_the_lease() {
        let members = Members::new(member(1, Role::Registrar, 0), Duration::from_secs(4));
        assert!(members.heard(vec![member(2, Role::Signaling, 10_000)], UnixMillis(10_000)));
        assert_eq!(names(&members, 13_999), [2, 1]);
        assert_eq!(names(&members, 14_000), [1]);
    }

    #[test]
    fn a_pod_that_renews_at_another_registrar_is_there_although_an_old_stream_is_open_here() {
        let members = Members::new(member(1, Role::Registrar, 0), Duration::from_secs(4));
        let (down, _told) = mpsc::channel(1);
        members.attach(member(2, Role::Media, 10_000), down);
        members.heard(vec![member(2, Role::Media, 10_000)], UnixMillis(10_000));
        members.heard(vec![member(2, Role::Media, 20_000)], UnixMillis(20_000));
        assert_eq!(names(&members, 20_000), [2, 1]);
        members.heard(vec![member(2, Role::Media, 15_000)], UnixMillis(20_500));
        assert_eq!(names(&members, 20_500), [2, 1], "an older word changes nothing");
    }

    #[test]
    fn after_the_store_was_away_nobody_is_gone_before_a_full_term() {
        let members = Members::new(member(1, Role::Registrar, 0), Duration::from_secs(4));
        members.heard(vec![member(2, Role::Signaling, 10_000)], UnixMillis(10_000));
        members.give_grace();
        members.heard(Vec::new(), UnixMillis(60_000));
        assert_eq!(names(&members, 60_000), [2, 1]);
        assert!(members.living_signaling(UnixMillis(60_000)).is_empty(), "whose slots count cannot be said");
    }

    #[test]
    fn a_pod_on_our_stream_is_there_even_if_the_store_lost_it() {
        let members = Members::new(member(1, Role::Registrar, 0), Duration::from_secs(4));
        let (down, _up) = mpsc::channel(1);
        let number = members.attach(member(2, Role::Signaling, 10_000), down);
        members.heard(Vec::new(), UnixMillis(10_500));
        assert_eq!(names(&members, 10_500), [2, 1]);
        members.detach(PodRef(2), number);
        members.heard(Vec::new(), UnixMillis(10_600));
        assert_eq!(names(&members, 10_600), [1]);
    }

    #[test]
    fn a_pod_hears_its_briefing_before_anything_else() {
        let members = Members::new(member(9, Role::Registrar, 0), Duration::from_secs(15));
        let (down, mut heard) = mpsc::channel(4);
        let number = members.attach(member(1, Role::Signaling, 0), down);
        members.requalify_all();
        members.tell_requalify();
        assert!(heard.try_recv().is_err());
        members.briefed(PodRef(1), number, 1);
        members.tell_requalify();
        assert!(matches!(heard.try_recv(), Ok(Down::Requalify)));
    }

    #[test]
    fn a_lease_that_runs_out_or_is_renewed_late_is_told() {
        let members = Members::new(member(1, Role::Registrar, 0), Duration::from_secs(4));
        let list = |seen| vec![member(3, Role::Signaling, seen)];
        assert!(members.heard(list(10_000), UnixMillis(10_000)));
        assert!(!members.heard(list(10_000), UnixMillis(13_000)));
        assert!(members.heard(list(10_000), UnixMillis(15_000)), "the other registrar's pod is gone");
        let (down, _up) = mpsc::channel(1);
        members.attach(member(2, Role::Media, 20_000), down);
        assert!(members.heard(Vec::new(), UnixMillis(20_000)));
        assert!(members.heard(Vec::new(), UnixMillis(25_000)), "our own pod was silent for too long");
        members.beat(PodRef(2), UnixMillis(25_500), 0, false);
        assert!(members.heard(Vec::new(), UnixMillis(26_000)), "and is there again");
        assert!(!members.heard(Vec::new(), UnixMillis(27_000)));
    }

    #[test]
    fn load_is_told_in_coarse_steps() {
        assert_ne!(coarse(0), coarse(1));
        assert_eq!(coarse(1000), coarse(1010));
        assert_ne!(coarse(1000), coarse(1300));
    }
}
