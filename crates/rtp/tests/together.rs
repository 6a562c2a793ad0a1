//! Changes of several sides at once: who gets which place, and what is left when one of them gets none.

#![allow(clippy::unwrap_used)] // a test that unwraps fails as it should

mod common;

use std::hash::RandomState;
use std::time::Instant;

use common::{at, rtp, s};
use rtp::{Dropped, EndpointId, Learn, NoPort, PortId, Remote, Settings, Signalled, Streams, Verdict};

const NAT: &str = "198.51.100.1";
const FAR: &str = "192.0.2.2:5000";

fn signalled(address: &str) -> Signalled {
    common::signalled(address, Learn::Never)
}

fn behind(said: &str) -> Signalled {
    Signalled { learn: Learn::From(NAT.parse().unwrap()), ..signalled(said) }
}

struct Bench {
    streams: Streams<RandomState>,
    now: Instant,
    far: u16,
}

impl Bench {
    fn new(ports: usize) -> Self {
        let streams = Streams::new(ports, Settings::default(), RandomState::new());
        Bench { streams, now: Instant::now(), far: 5_000 }
    }

    fn open(&mut self, port: u32, signalled: Signalled) -> Result<EndpointId, NoPort> {
        self.streams.open(self.now, &[PortId(port)], NAT.parse().unwrap(), signalled)
    }

    /// One side of a call to somebody far away, on port 0.
    fn side(&mut self, said: Signalled) -> EndpointId {
        let far = Signalled {
            remote: Remote::At(format!("192.0.2.2:{}", self.far).parse().unwrap()),
            ..signalled(FAR)
        };
        self.far += 2;
        let (side, far) = (self.open(0, said).unwrap(), self.open(0, far).unwrap());
        self.streams.join(side, far);
        side
    }

    /// Two streams of one phone behind a NAT, both heard on port 0.
    fn audio_and_video(&mut self) -> (EndpointId, EndpointId) {
        let audio = self.side(behind("10.0.0.9:4000"));
        self.hear("198.51.100.1:61000", 1);
        let video = self.side(behind("10.0.0.9:4002"));
        self.hear("198.51.100.1:61002", 2);
        (audio, video)
    }

    fn packet(&mut self, from: &str, ssrc: u32, sequence: u16) -> Verdict {
        self.streams.packet(self.now, PortId(0), false, at(from), &rtp(ssrc, sequence))
    }

    /// Two packets, which is enough to be latched.
    fn hear(&mut self, from: &str, ssrc: u32) -> Verdict {
        self.packet(from, ssrc, 1);
        self.packet(from, ssrc, 2)
    }
}

fn forwarded(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Forward { .. })
}

#[test]
fn of_two_that_wait_anew_on_one_port_the_second_is_told_to_go_elsewhere() {
    let mut bench = Bench::new(2);
    let (audio, video) = bench.audio_and_video();
    let moved = vec![(audio, behind("10.0.0.77:4000")), (video, behind("10.0.0.77:4002"))];
    assert_eq!(bench.streams.signal_all(bench.now, moved), [video]);
    assert!(forwarded(bench.hear("198.51.100.1:62000", 3)));
    assert_eq!(bench.streams.source(audio), Some(at("198.51.100.1:62000")));
    bench.open(1, behind("10.0.0.77:4002")).unwrap();
    bench.streams.close(bench.now, video);
}

#[test]
fn a_change_that_fails_leaves_everything_as_it_was() {
    let mut bench = Bench::new(2);
    let (audio, video) = bench.audio_and_video();
    let untold = bench.open(1, Signalled { untold: true, ..behind("10.0.0.9:4004") }).unwrap();
    let before = bench.streams.sizes();
    let (now, other) = (bench.now, "203.0.113.9".parse().unwrap());
    let failed: Result<(), NoPort> = bench.streams.all_or_nothing(|streams| {
        streams.open(now, &[PortId(0)], other, signalled("203.0.113.9:4000"))?;
        let moved = vec![
            (untold, behind("10.0.0.9:4004")),
            (audio, behind("10.0.0.77:4000")),
            (video, behind("10.0.0.77:4002")),
        ];
        assert_eq!(streams.signal_all(now, moved), [video]);
        Err(NoPort)
    });
    assert_eq!((failed, bench.streams.sizes()), (Err(NoPort), before));
    assert!(forwarded(bench.packet("198.51.100.1:61000", 1, 3)));
    assert!(forwarded(bench.packet("198.51.100.1:61002", 2, 3)));
    assert_eq!(bench.hear("198.51.100.1:62000", 3), Verdict::Drop(Dropped::Elsewhere), "nobody waits");
    for id in [audio, video, untold] {
        assert!(bench.streams.close(bench.now, id).is_some());
    }
}

#[test]
fn two_streams_of_a_port_may_change_places() {
    let mut bench = Bench::new(1);
    let (one, two) = (bench.side(signalled("192.0.2.1:4000")), bench.side(signalled("192.0.2.1:4002")));
    assert!(
        forwarded(bench.packet("192.0.2.1:4000", 1, 1)) && forwarded(bench.packet("192.0.2.1:4002", 2, 1))
    );
    let moved = vec![(one, signalled("192.0.2.1:4002")), (two, signalled("192.0.2.1:4004"))];
    assert_eq!(bench.streams.signal_all(bench.now, moved), []);
    assert!(forwarded(bench.packet("192.0.2.1:4002", 1, 2)));
    assert_eq!(bench.packet("192.0.2.1:4002", 2, 2), Verdict::Drop(Dropped::Former), "sent before it moved");
    assert!(forwarded(bench.packet("192.0.2.1:4004", 2, 2)));
    assert_eq!(bench.streams.counters(one).unwrap().reception.packets(), 2);
}

#[test]
fn one_that_stays_takes_no_place_from_one_that_moves() {
    let mut bench = Bench::new(1);
    let (audio, video) = bench.audio_and_video();
    bench.now += s(60);
    // A long hold ends: audio says the same, so it might be learned once more; video is somewhere else.
    let again = vec![(audio, behind("10.0.0.9:4000")), (video, behind("10.0.0.9:4008"))];
    assert_eq!(bench.streams.signal_all(bench.now, again), []);
    assert!(forwarded(bench.hear("198.51.100.1:61008", 2)));
    assert_eq!(bench.streams.source(video), Some(at("198.51.100.1:61008")));
    assert!(forwarded(bench.packet("198.51.100.1:61000", 1, 3)));
}

/// A stream of a phone with a public address has ended, and one that may be learned has its triple back.
fn taken_back(bench: &mut Bench, signalled: Signalled) -> EndpointId {
    let first = bench.side(public());
    assert!(forwarded(bench.packet("198.51.100.1:4000", 1, 1)));
    bench.streams.close(bench.now, first);
    bench.side(signalled)
}

fn public() -> Signalled {
    signalled("198.51.100.1:4000")
}

#[test]
fn a_place_that_was_not_needed_after_all_still_remembers_who_ended_there() {
    let mut bench = Bench::new(1);
    taken_back(&mut bench, behind("198.51.100.1:4000"));
    // It is heard from elsewhere, and the next one waits.
    assert!(forwarded(bench.hear("198.51.100.1:61000", 2)));
    let next = bench.side(behind("10.0.0.9:4000"));
    bench.packet("198.51.100.1:4000", 1, 2);
    assert_eq!(bench.packet("198.51.100.1:4000", 1, 3), Verdict::Drop(Dropped::Former));
    assert_eq!(bench.streams.source(next), None);
    bench.now += s(31);
    bench.streams.tick(bench.now, |_| {});
    assert!(forwarded(bench.hear("198.51.100.1:4000", 5)), "not for ever");
}

#[test]
fn a_barred_ssrc_outlives_a_change_that_fails_and_a_description_that_says_the_same() {
    let mut bench = Bench::new(1);
    let untold = taken_back(&mut bench, Signalled { untold: true, ..behind("198.51.100.1:4000") });
    let now = bench.now;
    for _ in 0..2 {
        let failed: Result<(), NoPort> = bench.streams.all_or_nothing(|streams| {
            streams.signal(now, untold, behind("198.51.100.1:4000"))?;
            Err(NoPort)
        });
        assert_eq!(failed, Err(NoPort));
        assert_eq!(bench.packet("198.51.100.1:4000", 1, 2), Verdict::Drop(Dropped::Former));
    }
    bench.streams.signal(now, untold, behind("198.51.100.1:4000")).unwrap();
    assert_eq!(bench.packet("198.51.100.1:4000", 1, 3), Verdict::Drop(Dropped::Former));
    // No longer learned, but at the same address.
    bench.streams.signal(now, untold, public()).unwrap();
    assert_eq!(bench.packet("198.51.100.1:4000", 1, 4), Verdict::Drop(Dropped::Former));
    assert!(forwarded(bench.packet("198.51.100.1:4000", 7, 1)));
}
