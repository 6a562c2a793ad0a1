use fairlead_model::binding::{Qualify, QualifyState};
use fairlead_model::operator::{ContactView, PeerAddress};

use super::*;
use crate::crd::SipPeerSpec;

struct Scene {
    planner: StatusPlanner,
    now: Instant,
    wall: Timestamp,
    writes: Vec<Write>,
}

fn key(name: &str) -> Key {
    Key { namespace: "sip".to_owned(), name: name.to_owned() }
}

/// A phone that is registered; `None` for no answer to OPTIONS.
fn phone(name: &str, rtt_ms: Option<u32>) -> PeerView {
    let state = if rtt_ms.is_some() { QualifyState::Ok } else { QualifyState::Unreachable };
    let qualify = Qualify { state, rtt_ms: rtt_ms.unwrap_or(0), ..Qualify::default() };
    let address = PeerAddress { host: "192.0.2.7".to_owned(), port: 5060 };
    let contact = ContactView {
        uri: format!("sip:{name}@192.0.2.7:5060"),
        address: address.clone(),
        transport: "UDP".to_owned(),
        qualify,
        ..ContactView::default()
    };
    PeerView {
        name: name.to_owned(),
        username: name.to_owned(),
        address: Some(address),
        dynamic: true,
        monitored: true,
        qualify,
        contacts: vec![contact],
        ..PeerView::default()
    }
}

fn away(name: &str) -> PeerView {
    PeerView { name: name.to_owned(), dynamic: true, monitored: true, ..PeerView::default() }
}

impl Scene {
    fn new(rate: u32) -> Self {
        let now = Instant::now();
        let mut planner = StatusPlanner::new(rate, now);
        planner.telling();
        planner.all_told(now);
        Scene { planner, now, wall: Timestamp::from_second(1_800_000_000).unwrap(), writes: Vec::new() }
    }

    /// An object that is served.
    fn served(&mut self, name: &str) {
        let view = View::unregistered(name, &SipPeerSpec::default());
        self.planner.object(self.now, &key(name), name, name, view, None);
        self.planner.verdict(self.now, &key(name), 1, Verdict::Ready);
    }

    fn tell(&mut self, peer: PeerView) {
        self.planner.peer(self.now, self.wall, &peer);
    }

    fn runs(&mut self, time: Duration) -> &[Write] {
        let end = self.now + time;
        self.writes.clear();
        loop {
            while let Some(write) = self.planner.next(self.now, self.wall) {
                self.planner.written(self.now, &write, Outcome::Written);
                self.writes.push(write);
            }
            let wake = self
                .planner
                .wake()
                .unwrap_or(end)
                .clamp(self.now + Duration::from_millis(1), end.max(self.now + Duration::from_millis(1)));
            if wake > end {
                break;
            }
            self.wall += wake.saturating_duration_since(self.now);
            self.now = wake;
            if self.now >= end {
                break;
            }
        }
        self.now = self.now.max(end);
        &self.writes
    }

    fn seconds(&mut self, seconds: u64) -> usize {
        self.runs(Duration::from_secs(seconds)).len()
    }
}

fn condition(status: &SipPeerStatus, kind: &str) -> (String, String) {
    let condition = status.conditions.iter().find(|condition| condition.type_ == kind).unwrap();
    (condition.status.clone(), condition.reason.clone())
}

#[test]
fn a_new_object_is_told_within_a_second_that_it_is_served() {
    let mut scene = Scene::new(5);
    scene.served("ann");
    let writes = scene.runs(Duration::from_secs(1));
    assert_eq!(writes.len(), 1);
    let status = &writes[0].status;
    assert_eq!(condition(status, "Ready"), ("True".to_owned(), "Served".to_owned()));
    assert_eq!(condition(status, "Registered"), ("False".to_owned(), "NotRegistered".to_owned()));
    let row = status.row.as_ref().unwrap();
    assert_eq!((row.host.as_str(), row.dynamic.as_str(), row.port), ("(Unspecified)", "D", 0));
    assert_eq!(row.status, "Unmonitored");
}

#[test]
fn what_says_no_more_is_not_written() {
    let mut scene = Scene::new(5);
    scene.served("ann");
    scene.tell(phone("ann", Some(40)));
    assert_eq!(scene.seconds(5), 1);
    let writes = scene.writes.clone();
    assert_eq!(writes[0].status.row.as_ref().unwrap().status, "OK (40 ms)");
    for latency in [41, 60, 30, 79] {
        scene.tell(phone("ann", Some(latency)));
        assert_eq!(scene.seconds(5), 0, "{latency} ms");
    }
    scene.tell(phone("ann", Some(80)));
    assert_eq!(scene.seconds(5), 1, "doubled");
    scene.tell(phone("ann", Some(40)));
    assert_eq!(scene.seconds(5), 1, "halved");
    scene.tell(phone("ann", Some(3)));
    scene.seconds(5);
    scene.tell(phone("ann", Some(9)));
    assert_eq!(scene.seconds(5), 0, "both are as good as 10 ms");
}

#[test]
fn what_is_back_before_it_was_written_is_not_written() {
    let mut scene = Scene::new(5);
    scene.served("ann");
    scene.tell(phone("ann", Some(40)));
    scene.seconds(5);
    scene.tell(phone("ann", None));
    scene.tell(phone("ann", Some(40)));
    assert_eq!(scene.seconds(5), 0);
}

#[test]
fn since_is_when_it_came_to_stand_so_and_not_when_it_was_written() {
    let mut scene = Scene::new(5);
    scene.served("ann");
    scene.tell(phone("ann", Some(40)));
    let since = scene.wall;
    scene.seconds(10);
    scene.tell(phone("ann", Some(100)));
    let writes = scene.runs(Duration::from_secs(5)).to_vec();
    assert_eq!(writes[0].status.since.as_ref().unwrap().0, since);
    assert!(writes[0].status.observed_at.as_ref().unwrap().0 > since);
    scene.tell(phone("ann", None));
    let lost = scene.wall;
    let writes = scene.runs(Duration::from_secs(5)).to_vec();
    assert_eq!(writes[0].status.since.as_ref().unwrap().0, lost);
    assert_eq!(
        condition(&writes[0].status, "Registered").0,
        "True",
        "a phone that does not answer is registered"
    );
}

#[test]
fn losses_go_before_news_before_changes() {
    let mut scene = Scene::new(1);
    for name in ["ann", "ben", "cid", "dan"] {
        scene.served(name);
    }
    for name in ["ann", "ben", "cid"] {
        scene.tell(phone(name, Some(40)));
    }
    scene.seconds(20);
    scene.tell(phone("ann", Some(90)));
    let mut moved = phone("ben", Some(40));
    moved.contacts[0].address.port = 40_000;
    scene.tell(moved);
    scene.tell(phone("dan", Some(40)));
    scene.tell(away("cid"));
    let order: Vec<String> =
        scene.runs(Duration::from_secs(10)).iter().map(|write| write.key.name.clone()).collect();
    assert_eq!(order, ["cid", "dan", "ben", "ann"]);
}

#[test]
fn a_storm_is_written_at_five_a_second_and_its_losses_at_once() {
    let mut scene = Scene::new(5);
    for number in 0..10_000 {
        scene.served(&number.to_string());
    }
    let mut writes = 0;
    let mut seed = 7_u64;
    for second in 0..120_u64 {
        for _ in 0..200 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let number = (seed >> 33) % 10_000;
            scene.tell(phone(&number.to_string(), Some(u32::try_from(seed >> 60).unwrap() + 20)));
        }
        writes += scene.seconds(1);
        if second == 60 {
            // A phone that was written as registered is lost in the middle of it.
            let registered = |write: &&Write| condition(&write.status, "Registered").0 == "True";
            let known = scene.writes.iter().find(registered).map(|write| write.key.name.clone());
            let name = known.unwrap();
            scene.tell(away(&name));
            let lost = scene.runs(Duration::from_secs(1)).iter().any(|write| write.key.name == name);
            writes += scene.writes.len();
            assert!(lost, "a loss waits for nobody");
        }
    }
    assert!((590..=610).contains(&writes), "{writes}");
}

#[test]
fn no_second_has_more_than_five_writes_also_after_a_long_rest() {
    let mut scene = Scene::new(5);
    scene.seconds(3600);
    for number in 0..200 {
        scene.served(&number.to_string());
    }
    let mut at = Vec::new();
    for _ in 0..4_500 {
        let writes = scene.runs(Duration::from_millis(10)).len();
        at.extend(std::iter::repeat_n(scene.now, writes));
    }
    assert_eq!(at.len(), 200);
    let whole = at[199].saturating_duration_since(at[0]);
    assert!((39..=40).contains(&whole.as_secs()), "200 new objects are told in {whole:?}");
    for six in at.windows(6) {
        // Each was seen up to ten milliseconds late.
        let apart = six[5].saturating_duration_since(six[0]);
        assert!(apart >= Duration::from_millis(990), "{apart:?}");
    }
}

#[test]
fn what_a_release_that_is_gone_said_is_taken_back_first_and_nothing_else_is_doubted() {
    let mut scene = Scene::new(1);
    scene.served("ann");
    let ready = scene.runs(Duration::from_secs(5))[0].status.clone();
    scene = Scene::new(1);
    let view = View::unregistered("ann", &SipPeerSpec::default());
    scene.planner.object(scene.now, &key("ann"), "ann", "ann", view.clone(), Some(ready));
    scene.planner.object(scene.now, &key("new"), "new", "new", view, None);
    scene.planner.verdict(scene.now, &key("new"), 1, Verdict::NotYet);
    assert_eq!(scene.seconds(5), 0, "a new object was never called ready");
    for name in ["ben", "cid"] {
        scene.served(name);
    }
    scene.planner.verdict(scene.now, &key("ann"), 1, Verdict::NotYet);
    let writes = scene.runs(Duration::from_secs(2)).to_vec();
    assert_eq!(writes[0].key, key("ann"));
    assert_eq!(condition(&writes[0].status, "Ready"), ("False".to_owned(), "NotServedYet".to_owned()));
    scene.seconds(5);
    scene.planner.verdict(scene.now, &key("ann"), 1, Verdict::Ready);
    let writes = scene.runs(Duration::from_secs(2)).to_vec();
    assert_eq!(condition(&writes[0].status, "Ready"), ("True".to_owned(), "Served".to_owned()));
}

#[test]
fn what_is_served_before_it_could_be_taken_back_stays_ready() {
    let mut scene = Scene::new(5);
    scene.served("ann");
    let ready = scene.runs(Duration::from_secs(5))[0].status.clone();
    scene = Scene::new(5);
    let view = View::unregistered("ann", &SipPeerSpec::default());
    scene.planner.object(scene.now, &key("ann"), "ann", "ann", view, Some(ready));
    scene.planner.verdict(scene.now, &key("ann"), 1, Verdict::NotYet);
    scene.planner.verdict(scene.now, &key("ann"), 1, Verdict::Ready);
    assert_eq!(scene.seconds(5), 0);
}

#[test]
fn registering_again_without_a_change_writes_nothing_however_often() {
    let mut scene = Scene::new(5);
    for number in 0..100 {
        scene.served(&number.to_string());
        scene.tell(phone(&number.to_string(), Some(40)));
    }
    scene.seconds(60);
    for _ in 0..1000 {
        for number in 0..100 {
            scene.tell(phone(&number.to_string(), Some(45)));
        }
    }
    assert_eq!(scene.seconds(60), 0);
}

#[test]
fn a_restart_writes_nothing_where_nothing_changed() {
    let mut scene = Scene::new(5);
    scene.served("ann");
    scene.tell(phone("ann", Some(40)));
    let status = scene.runs(Duration::from_secs(5))[0].status.clone();
    let mut planner = StatusPlanner::new(5, scene.now);
    let view = View::unregistered("ann", &SipPeerSpec::default());
    planner.object(scene.now, &key("ann"), "ann", "ann", view, Some(status));
    planner.verdict(scene.now, &key("ann"), 1, Verdict::Ready);
    scene.planner = planner;
    assert_eq!(scene.seconds(5), 0, "before registrars have told how it is");
    scene.planner.telling();
    scene.tell(phone("ann", Some(40)));
    scene.planner.all_told(scene.now);
    assert_eq!(scene.seconds(5), 0);
}

#[test]
fn a_stream_that_begins_again_without_a_peer_says_that_it_has_no_contact() {
    let mut scene = Scene::new(5);
    scene.served("ann");
    scene.tell(phone("ann", Some(40)));
    scene.seconds(5);
    scene.planner.telling();
    assert_eq!(scene.seconds(5), 0);
    scene.planner.all_told(scene.now);
    let writes = scene.runs(Duration::from_secs(1));
    assert_eq!(condition(&writes[0].status, "Registered").0, "False");
}

#[test]
fn who_does_not_have_the_name_is_told_nothing_of_its_peer() {
    let mut scene = Scene::new(5);
    scene.served("ann");
    let view = View::unregistered("ann", &SipPeerSpec::default());
    scene.planner.object(scene.now, &key("other"), "u2", "ann", view, None);
    let taken = Verdict::NameTaken("sip/ann has claimed ann before".to_owned());
    scene.planner.verdict(scene.now, &key("other"), 1, taken);
    scene.tell(phone("ann", Some(40)));
    let writes = scene.runs(Duration::from_secs(5));
    let other = writes.iter().find(|write| write.key == key("other")).unwrap();
    assert_eq!(condition(&other.status, "Ready"), ("False".to_owned(), "NameTaken".to_owned()));
    assert!(other.status.row.is_none() && other.status.contacts.is_empty());
    let ann = writes.iter().rfind(|write| write.key == key("ann")).unwrap();
    assert_eq!(ann.status.contacts.len(), 1);
}

#[test]
fn a_write_that_failed_is_tried_again_with_what_is_true_then() {
    let mut scene = Scene::new(5);
    scene.served("ann");
    scene.now += Duration::from_secs(1);
    let write = scene.planner.next(scene.now, scene.wall).unwrap();
    scene.planner.written(scene.now, &write, Outcome::Failed);
    assert_eq!(scene.planner.next(scene.now, scene.wall), None);
    scene.tell(phone("ann", Some(40)));
    let writes = scene.runs(Duration::from_secs(7));
    assert_eq!((writes.len(), writes[0].status.contacts.len()), (1, 1));
}

#[test]
fn statuses_that_are_refused_do_not_use_up_the_cap() {
    let mut scene = Scene::new(5);
    for number in 0..25 {
        scene.served(&format!("refused-{number}"));
    }
    let (mut tries, mut late_tries) = (0, 0);
    for second in 0..900 {
        for _ in 0..10 {
            while let Some(write) = scene.planner.next(scene.now, scene.wall) {
                scene.planner.written(scene.now, &write, Outcome::Refused);
                tries += 1;
                late_tries += usize::from(second >= 600);
            }
            scene.now += Duration::from_millis(100);
        }
    }
    assert!(tries < 25 * 11, "{tries}");
    assert!((25..=50).contains(&late_tries), "each is tried again every five minutes: {late_tries}");
}

#[test]
fn a_status_that_was_refused_is_tried_in_steps_again_after_one_that_was_taken() {
    let mut scene = Scene::new(5);
    scene.served("ann");
    let mut pauses = Vec::new();
    for outcome in [Outcome::Refused, Outcome::Refused, Outcome::Written, Outcome::Refused, Outcome::Failed] {
        scene.now += Duration::from_secs(400);
        let mut write = scene.planner.next(scene.now, scene.wall);
        if write.is_none() {
            scene.now += Duration::from_secs(1);
            write = scene.planner.next(scene.now, scene.wall);
        }
        let write = write.unwrap();
        scene.planner.written(scene.now, &write, outcome);
        pauses.push(scene.planner.wake().map(|at| at.duration_since(scene.now).as_secs()));
        scene.tell(phone("ann", Some(50 << pauses.len())));
    }
    assert_eq!(pauses, [Some(5), Some(10), None, Some(5), Some(5)]);
}
