//! Which relay is asked, in which order, and who hears of what.

use fairlead_model::id::{AttemptRef, CallRef, ShardRef, Side, UnixMillis};
use fairlead_model::peer::General;
use fairlead_model::relay::{Described, SdpOrder, SessionStatistics, SideMedia};
use parking_lot::Mutex;
use prometheus_client::registry::Registry;

use super::*;

/// A relay that does as it is told and writes down what it was asked.
struct Desk {
    pod: PodRef,
    refuses: Mutex<Option<RelayRefused>>,
    silent: std::sync::atomic::AtomicBool,
    slow: Duration,
    asked: Arc<Mutex<Vec<(PodRef, &'static str)>>>,
    tell: Mutex<Option<mpsc::Sender<RelayEvent>>>,
}

#[async_trait::async_trait]
impl RelayPort for Desk {
    async fn order(&self, order: RelayOrder) -> Result<RelayReply, RelayRefused> {
        self.asked.lock().push((self.pod, word(&order)));
        if self.silent.load(std::sync::atomic::Ordering::SeqCst) && !matches!(order, RelayOrder::Delete(_)) {
            std::future::pending::<()>().await;
        }
        if let Some(refused) = self.refuses.lock().clone() {
            return Err(refused);
        }
        if matches!(order, RelayOrder::Offer(_)) {
            tokio::time::sleep(self.slow).await;
        }
        self.asked.lock().push((self.pod, "done"));
        Ok(match order {
            RelayOrder::Offer(order) | RelayOrder::Answer(order) => RelayReply::Described(Described {
                relay: self.pod,
                sdp: order.sdp,
                narrowed: 0,
                hold: false,
                formats: Vec::new(),
            }),
            RelayOrder::Delete(_) | RelayOrder::Query(_) => {
                RelayReply::Statistics(SessionStatistics::default())
            }
            _ => RelayReply::Done { missing: Vec::new() },
        })
    }

    async fn watch(&self) -> Result<mpsc::Receiver<RelayEvent>, RelayRefused> {
        let (tell, events) = mpsc::channel(4);
        *self.tell.lock() = Some(tell);
        Ok(events)
    }
}

struct Desks(Vec<Arc<Desk>>);

impl Relays for Desks {
    fn relay(&self, member: &Member) -> Arc<dyn RelayPort> {
        self.0.iter().find(|desk| desk.pod == member.pod).unwrap().clone()
    }
}

struct Bench {
    desks: Vec<Arc<Desk>>,
    orders: mpsc::Sender<OrderJob>,
    news: Vec<mpsc::Receiver<News>>,
    asked: Arc<Mutex<Vec<(PodRef, &'static str)>>>,
    briefings: watch::Sender<Option<Arc<Briefing>>>,
    stopping: CancellationToken,
}

impl Bench {
    /// Relays 1, 2, … with these loads.
    fn new(loads: &[u32]) -> Self {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let pods = || (1..).map(PodRef).zip(loads);
        let desk = |pod| {
            let (refuses, tell) = (Mutex::new(None), Mutex::new(None));
            let silent = Default::default();
            Arc::new(Desk {
                pod,
                refuses,
                silent,
                slow: Duration::from_millis(30),
                asked: asked.clone(),
                tell,
            })
        };
        let desks: Vec<_> = pods().map(|(pod, _)| desk(pod)).collect();
        let member = |(pod, load): (PodRef, &u32)| Member {
            pod,
            name: format!("media-{}", pod.0),
            role: Role::Media,
            grpc: "127.0.0.1:1".parse().unwrap(),
            started: UnixMillis(0),
            seen: UnixMillis(0),
            draining: false,
            load: *load,
            version: String::new(),
        };
        let briefing = Briefing {
            version: 1,
            mint_keys: Vec::new(),
            nonce_keys: Vec::new(),
            members: pods().map(member).collect(),
            general: General::default(),
            trusted: Vec::new(),
            surroundings: Default::default(),
        };
        let (briefings, briefed) = watch::channel(Some(Arc::new(briefing)));
        let (mut doors, mut news) = (Vec::new(), Vec::new());
        for _ in 0..2 {
            let (handed, _) = mpsc::channel(1);
            let (tell, told) = mpsc::channel(64);
            doors.push(ShardDoor { handed, news: tell });
            news.push(told);
        }
        let (orders, ordered) = mpsc::channel(64);
        let stopping = CancellationToken::new();
        let link = MediaLink {
            relays: Arc::new(Desks(desks.clone())),
            orders: ordered,
            doors,
            briefings: briefed,
            stopping: stopping.clone(),
            metrics: Metrics::register(&mut Registry::default()),
            most: 64,
        };
        tokio::spawn(link.run());
        Bench { desks, orders, news, asked, briefings, stopping }
    }

    fn refuse(&self, relay: usize, refused: RelayRefused) {
        *self.desks[relay - 1].refuses.lock() = Some(refused);
    }

    async fn give(&self, number: u64, relay: Option<PodRef>, what: RelayOrder) {
        let job = OrderJob { shard: 1, order: OrderRef(number), relay, what, span: Span::none() };
        self.orders.send(job).await.unwrap();
    }

    async fn reply(&mut self) -> (u64, Result<RelayReply, RelayRefused>) {
        match tokio::time::timeout(PATIENCE + Duration::from_secs(2), self.news[1].recv())
            .await
            .unwrap()
            .unwrap()
        {
            News::Relayed { order, reply, .. } => (order.0, reply),
            other => panic!("{other:?}"),
        }
    }

    async fn relay_of(&mut self, number: u64) -> Result<u64, RelayRefused> {
        self.give(number, None, offer(number)).await;
        self.reply().await.1.map(|reply| match reply {
            RelayReply::Described(described) => described.relay.0,
            other => panic!("{other:?}"),
        })
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.stopping.cancel();
    }
}

fn session(number: u64) -> SessionRef {
    let call = CallRef { pod: PodRef(9), shard: ShardRef(1), number };
    SessionRef { call, attempt: AttemptRef(0) }
}

fn offer(number: u64) -> RelayOrder {
    let side = || SideMedia {
        network: String::new(),
        signalling: "192.0.2.1".parse().unwrap(),
        comedia: false,
        source: Default::default(),
        rtp_timeout: 0,
        rtp_hold_timeout: 0,
        ipv6: false,
    };
    let (session, sdp) = (session(number), "v=0".into());
    RelayOrder::Offer(Box::new(SdpOrder { session, from: Side::A, sdp, a: side(), b: side() }))
}

#[tokio::test]
async fn the_relay_with_the_lowest_name_takes_a_step_and_what_was_just_put_there_counts() {
    let mut bench = Bench::new(&[30, 3]);
    let mut relays = Vec::new();
    for number in 0..4 {
        relays.push(bench.relay_of(number).await.unwrap());
    }
    assert_eq!(relays, [1, 1, 2, 2]);
}

#[tokio::test]
async fn a_relay_that_does_not_answer_loses_the_offer_to_the_next_and_is_asked_last_for_a_while() {
    let mut bench = Bench::new(&[0, 0]);
    bench.desks[0].silent.store(true, std::sync::atomic::Ordering::SeqCst);
    let began = Instant::now();
    assert_eq!(bench.relay_of(1).await, Ok(2));
    assert!(began.elapsed() < Duration::from_secs(2));
    let again = Instant::now();
    assert_eq!(bench.relay_of(2).await, Ok(2));
    assert!(again.elapsed() < TRY_LIMIT, "it was not asked first again");
    // It may have opened the session all the same.
    assert!(bench.asked.lock().contains(&(PodRef(1), "delete")));
}

#[tokio::test]
async fn a_relay_without_a_port_is_passed_over_before_anybody_hears_of_it() {
    let mut bench = Bench::new(&[1, 33, 65]);
    bench.refuse(1, RelayRefused::NoPort);
    bench.refuse(2, RelayRefused::Unreachable);
    assert_eq!(bench.relay_of(1).await, Ok(3));
    bench.refuse(3, RelayRefused::Busy);
    assert!(matches!(bench.relay_of(2).await, Err(RelayRefused::NoPort | RelayRefused::Busy)));
}

#[tokio::test]
async fn a_description_that_cannot_be_relayed_is_not_tried_elsewhere() {
    let mut bench = Bench::new(&[1, 2]);
    let refused = RelayRefused::BadDescription("no m= line".to_owned());
    bench.refuse(1, refused.clone());
    assert_eq!(bench.relay_of(1).await, Err(refused));
    assert_eq!(bench.asked.lock().len(), 1);
}

#[tokio::test]
async fn without_any_relay_an_offer_is_unreachable_after_a_while() {
    let began = Instant::now();
    assert_eq!(Bench::new(&[]).relay_of(1).await, Err(RelayRefused::Unreachable));
    assert!(began.elapsed() + AGAIN * 2 > PATIENCE, "{:?}", began.elapsed());
}

#[tokio::test]
async fn an_offer_waits_for_a_relay_while_one_drains_and_the_other_is_not_known_yet() {
    let mut bench = Bench::new(&[0, 0]);
    let both = bench.briefings.borrow().clone().unwrap();
    let mut one = (*both).clone();
    one.members.truncate(1);
    bench.briefings.send(Some(Arc::new(one))).unwrap();
    // It drains, and nobody has said so yet.
    bench.refuse(1, RelayRefused::Busy);
    bench.give(1, None, offer(1)).await;
    tokio::time::sleep(AGAIN * 2).await;
    bench.briefings.send(Some(both)).unwrap();
    let (number, reply) = bench.reply().await;
    assert_eq!(number, 1);
    assert!(matches!(reply, Ok(RelayReply::Described(described)) if described.relay == PodRef(2)));
}

#[tokio::test]
async fn an_offer_waits_for_a_port_that_becomes_free() {
    let mut bench = Bench::new(&[0]);
    bench.refuse(1, RelayRefused::NoPort);
    bench.give(1, None, offer(1)).await;
    tokio::time::sleep(AGAIN * 2).await;
    *bench.desks[0].refuses.lock() = None;
    assert!(
        matches!(bench.reply().await.1, Ok(RelayReply::Described(described)) if described.relay == PodRef(1))
    );
}

#[tokio::test]
async fn an_answer_waits_for_a_port_of_the_relay_that_has_the_session() {
    let mut bench = Bench::new(&[0, 0]);
    let relay = Some(PodRef(2));
    let RelayOrder::Offer(order) = offer(1) else { unreachable!() };
    bench.refuse(2, RelayRefused::NoPort);
    bench.give(1, relay, RelayOrder::Answer(order.clone())).await;
    tokio::time::sleep(AGAIN * 2).await;
    *bench.desks[1].refuses.lock() = None;
    assert!(
        matches!(bench.reply().await.1, Ok(RelayReply::Described(described)) if described.relay == PodRef(2))
    );
    // A relay that cannot be reached any more has lost the session.
    bench.refuse(2, RelayRefused::Unreachable);
    let began = Instant::now();
    bench.give(2, relay, RelayOrder::Answer(order)).await;
    assert_eq!(bench.reply().await.1, Err(RelayRefused::Unreachable));
    assert!(began.elapsed() < AGAIN);
}

#[tokio::test]
async fn an_offer_whose_call_is_over_waits_no_longer() {
    let mut bench = Bench::new(&[]);
    let began = Instant::now();
    bench.give(1, None, offer(1)).await;
    bench.give(2, None, RelayOrder::Delete(session(1))).await;
    assert_eq!((bench.reply().await.0, bench.reply().await.0), (1, 2));
    assert!(began.elapsed() < Duration::from_secs(1));
}

#[tokio::test]
async fn orders_of_one_session_are_carried_out_one_after_the_other_and_those_of_others_beside_them() {
    let mut bench = Bench::new(&[0]);
    let relay = Some(PodRef(1));
    bench.give(1, relay, offer(1)).await;
    bench.give(2, relay, RelayOrder::Delete(session(1))).await;
    bench.give(3, relay, RelayOrder::Query(session(2))).await;
    let replies = [bench.reply().await.0, bench.reply().await.0, bench.reply().await.0];
    assert_eq!(replies, [3, 1, 2]);
    let words: Vec<_> = bench.asked.lock().iter().map(|(_, word)| *word).collect();
    assert_eq!(words, ["offer", "query", "done", "done", "delete", "done"]);
}

#[tokio::test]
async fn an_event_goes_to_the_shard_whose_session_it_is_else_to_all() {
    let mut bench = Bench::new(&[0]);
    bench.relay_of(1).await.unwrap();
    let tell = loop {
        if let Some(tell) = bench.desks[0].tell.lock().clone() {
            break tell;
        }
        tokio::task::yield_now().await;
    };
    tell.send(RelayEvent::Abandoned { session: session(1) }).await.unwrap();
    tell.send(RelayEvent::Abandoned { session: session(2) }).await.unwrap();
    let mut heard = |shard: usize| {
        let news = &mut bench.news[shard];
        let mut sessions = Vec::new();
        while let Ok(News::RelayEvent(RelayEvent::Abandoned { session })) = news.try_recv() {
            sessions.push(session.call.number);
        }
        sessions
    };
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!((heard(0), heard(1)), (vec![2], vec![1, 2]));
}
