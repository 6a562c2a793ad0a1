//! Years of an edge in milliseconds.

use super::*;

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;
const GRACE: Duration = Duration::from_secs(900);
const LEAF: Duration = Duration::from_secs(90 * 24 * 3600);
const CA: Duration = Duration::from_secs(730 * 24 * 3600);

/// The Secrets of an edge, and an operator that looks at them now and then.
struct Edge {
    now: i64,
    made: u32,
    existing: Existing,
    /// What each pod has mounted, and since when the Secret is newer.
    pods: BTreeMap<Role, Leaf>,
    done: Vec<Action>,
}

impl Edge {
    fn installed() -> Self {
        let certificates = Certificates {
            authorities: Found::Missing,
            is_foreign: false,
            leaves: BTreeMap::new(),
            salvaged: None,
            grace: GRACE,
        };
        let existing = Existing {
            certificates: Some(certificates),
            admin_token: Some(Found::Missing),
            redis_password: Some(Found::Missing),
        };
        let mut edge =
            Edge { now: 1_800_000_000, made: 0, existing, pods: BTreeMap::new(), done: Vec::new() };
        edge.look();
        edge.mount();
        edge.done.clear();
        edge
    }

    fn certificates(&mut self) -> &mut Certificates {
        self.existing.certificates.as_mut().unwrap()
    }

    fn authorities(&mut self) -> &mut Authorities {
        match &mut self.certificates().authorities {
            Found::Good(authorities) => authorities,
            other => panic!("{other:?}"),
        }
    }

    fn leaf(&mut self, role: Role) -> &mut Leaf {
        match self.certificates().leaves.get_mut(&role) {
            Some(Found::Good(leaf)) => leaf,
            other => panic!("{other:?}"),
        }
    }

    /// Plans and acts until nothing is left, as the operator does.
    fn look(&mut self) {
        for _ in 0..8 {
            let actions = plan(self.now, &self.existing);
            if actions.is_empty() {
                return;
            }
            for action in actions {
                self.act(&action);
                self.done.push(action);
            }
        }
        panic!("it does not come to rest: {:?}", self.done);
    }

    fn act(&mut self, action: &Action) {
        let now = self.now;
        self.made += 1;
        let mut id = [0; 32];
        id[..4].copy_from_slice(&self.made.to_be_bytes());
        let new = Authority { id, life: Life::starting(now, CA), signs: true };
        match action {
            Action::AdminToken { .. } => self.existing.admin_token = Some(Found::Good(())),
            Action::RedisPassword { .. } => self.existing.redis_password = Some(Found::Good(())),
            Action::CreateAuthority { .. } => {
                let fresh = Authorities { current: new, next: None, previous: None, settled: None };
                self.certificates().authorities = Found::Good(fresh);
            }
            Action::FollowLostAuthority { lost, .. } => {
                let lost = Authority { id: *lost, life: Life { from: 0, until: i64::MAX }, signs: false };
                let fresh = Authorities { current: lost, next: Some(new), previous: None, settled: None };
                self.certificates().authorities = Found::Good(fresh);
            }
            Action::MakeNext => {
                self.authorities().next = Some(new);
                self.authorities().settled = None;
            }
            Action::Settle => self.authorities().settled = Some(now),
            Action::Promote => {
                let authorities = self.authorities();
                authorities.previous = Some(authorities.current.id);
                authorities.current = authorities.next.take().unwrap();
                authorities.settled = None;
            }
            Action::ForgetPrevious => {
                self.authorities().previous = None;
                self.authorities().settled = None;
            }
            Action::Issue { role, by, .. } => {
                let trusts = self.authorities().trusted();
                let leaf =
                    Leaf { signed_by: Some(*by), life: Life::starting(now, LEAF), named: true, trusts };
                self.certificates().leaves.insert(*role, Found::Good(leaf));
            }
            Action::Trust { role } => {
                let trusts = self.authorities().trusted();
                self.leaf(*role).trusts = trusts;
            }
        }
    }

    /// Kubelets bring what is in the Secrets into the pods.
    fn mount(&mut self) {
        for role in ROLES {
            let leaf = self.leaf(role).clone();
            self.pods.insert(role, leaf);
        }
    }

    /// Every pod takes every other one's certificate.
    fn is_at_peace(&self) -> bool {
        let takes = |one: &Leaf, other: &Leaf| {
            other.signed_by.is_some_and(|by| one.trusts.contains(&by)) && other.life.until > self.now
        };
        self.pods.values().all(|one| self.pods.values().all(|other| takes(one, other)))
    }

    /// Time goes by: the operator looks every so often, and what it writes is in the pods up to `late` later, in one
    /// role after the other. Whenever anything changes, every pod must take every other.
    fn live(&mut self, lasts: i64, every: i64, late: i64) {
        let end = self.now + lasts;
        let mut brought: BTreeMap<(i64, Role), Leaf> = BTreeMap::new();
        let mut written = self.pods.clone();
        let mut next_look = self.now + every;
        while self.now < end {
            match brought.first_key_value().map(|(at, _)| *at) {
                Some((at, role)) if at <= next_look => {
                    self.now = at;
                    let leaf = brought.remove(&(at, role)).unwrap();
                    self.pods.insert(role, leaf);
                }
                _ => {
                    self.now = next_look;
                    next_look += every;
                    self.look();
                    for (index, role) in (1..).zip(ROLES) {
                        let leaf = self.leaf(role).clone();
                        if written.get(&role) != Some(&leaf) {
                            brought.insert((self.now + late * index / 5, role), leaf.clone());
                            written.insert(role, leaf);
                        }
                    }
                }
            }
            assert!(self.is_at_peace(), "at {} after {:?}", self.now, self.done.last());
        }
    }

    fn count(&self, of: impl Fn(&Action) -> bool) -> usize {
        self.done.iter().filter(|action| of(action)).count()
    }
}

#[test]
fn an_installation_gets_all_it_needs_once() {
    let mut edge = Edge::installed();
    assert_eq!(edge.existing.admin_token, Some(Found::Good(())));
    assert_eq!(edge.existing.redis_password, Some(Found::Good(())));
    assert!(edge.is_at_peace());
    edge.look();
    assert_eq!(edge.done, []);
}

#[test]
fn what_is_not_made_here_is_left_alone() {
    assert_eq!(plan(0, &Existing::default()), []);
    let token = Existing { admin_token: Some(Found::Missing), ..Existing::default() };
    assert_eq!(plan(0, &token), [Action::AdminToken { broken: None }]);
}

#[test]
fn a_certificate_is_renewed_at_two_thirds_of_its_life() {
    let mut edge = Edge::installed();
    edge.now += 60 * DAY - 1;
    edge.look();
    assert_eq!(edge.done, []);
    edge.now += 1;
    edge.look();
    assert_eq!(edge.count(|action| matches!(action, Action::Issue { why: Why::Due, .. })), ROLES.len());
    assert_eq!(edge.done.len(), ROLES.len());
}

#[test]
fn over_ten_years_no_two_pods_ever_distrust_each_other() {
    let mut edge = Edge::installed();
    // The operator looks rarely, kubelets are as late as is allowed for.
    edge.live(3650 * DAY, 6 * HOUR, 600);
    let promoted = edge.count(|action| matches!(action, Action::Promote));
    assert_eq!(promoted, 7, "every 486 days");
    assert_eq!(edge.count(|action| matches!(action, Action::ForgetPrevious)), promoted);
    assert_eq!(
        edge.count(|action| matches!(action, Action::AdminToken { .. } | Action::RedisPassword { .. })),
        0
    );
}

#[test]
fn a_replacement_waits_for_kubelets_between_its_steps() {
    let mut edge = Edge::installed();
    edge.authorities().current.life.until = edge.now + DAY;
    edge.now += 16 * HOUR - 60;
    // Seen every ten seconds, brought into pods up to ten minutes later, role by role.
    edge.live(2 * HOUR, 10, 600);
    let steps: Vec<_> = edge
        .done
        .iter()
        .filter(|action| !matches!(action, Action::Trust { .. } | Action::Issue { .. }))
        .cloned()
        .collect();
    assert_eq!(
        steps,
        [Action::MakeNext, Action::Settle, Action::Promote, Action::Settle, Action::ForgetPrevious],
        "{:?}",
        edge.done
    );
    assert_eq!(edge.count(|action| matches!(action, Action::Issue { why: Why::Moves, .. })), ROLES.len());
}

#[test]
fn grace_begins_when_every_secret_is_written_not_before() {
    let mut edge = Edge::installed();
    edge.authorities().current.life.until = edge.now + DAY;
    edge.now += 16 * HOUR;
    let [Action::MakeNext] = plan(edge.now, &edge.existing)[..] else { panic!("no next one") };
    edge.act(&Action::MakeNext);
    // The operator is gone before it has told anybody, for longer than the grace time.
    edge.now += HOUR;
    let planned = plan(edge.now, &edge.existing);
    assert_eq!(planned, ROLES.map(|role| Action::Trust { role }));
}

#[test]
fn a_lost_authority_is_followed_by_another_in_peace() {
    let mut edge = Edge::installed();
    let lost = edge.authorities().current.id;
    edge.certificates().authorities = Found::Missing;
    edge.certificates().salvaged = Some(lost);
    edge.live(2 * HOUR, 10, 600);
    assert_eq!(edge.done.first(), Some(&Action::FollowLostAuthority { lost, broken: None }));
    assert_eq!(edge.authorities().previous, None);
    assert_ne!(edge.authorities().current.id, lost);
}

#[test]
fn a_lost_certificate_is_made_at_once_also_while_the_authority_is_lost() {
    let mut edge = Edge::installed();
    let lost = edge.authorities().current.id;
    edge.certificates().authorities = Found::Broken("x".to_owned());
    edge.certificates().salvaged = Some(lost);
    edge.certificates().leaves.remove(&Role::Media);
    edge.look();
    let by = edge.authorities().next.unwrap().id;
    assert!(
        edge.done.contains(&Action::Issue { role: Role::Media, by, why: Why::Missing }),
        "{:?}",
        edge.done
    );
}

#[test]
fn what_is_broken_is_made_good_and_nothing_else_is_touched() {
    let mut edge = Edge::installed();
    let broken = Why::Broken("y".to_owned());
    edge.certificates().leaves.insert(Role::Admin, Found::Broken("y".to_owned()));
    edge.leaf(Role::Media).named = false;
    edge.leaf(Role::Registrar).signed_by = None;
    edge.leaf(Role::Signaling).life.until = edge.now;
    edge.existing.admin_token = Some(Found::Broken("z".to_owned()));
    edge.look();
    assert_eq!(edge.done.len(), 5, "{:?}", edge.done);
    assert!(edge.done.contains(&Action::AdminToken { broken: Some("z".to_owned()) }));
    assert!(
        edge.count(|action| matches!(action, Action::Issue { role: Role::Admin, why, .. } if *why == broken))
            == 1
    );
    assert!(edge.is_at_peace());
}

#[test]
fn an_authority_that_expired_while_nobody_looked_is_made_anew() {
    let mut edge = Edge::installed();
    edge.now += 800 * DAY;
    edge.look();
    let [Action::CreateAuthority { broken: Some(_) }, rest @ ..] = &edge.done[..] else {
        panic!("{:?}", edge.done)
    };
    assert_eq!(rest.len(), ROLES.len());
}

#[test]
fn short_lives_are_renewed_too() {
    let life = Life::starting(1000, Duration::from_secs(30));
    assert!(!life.is_due(1019));
    assert!(life.is_due(1020));
    assert!(Life { from: 5, until: 5 }.is_due(400));
}
