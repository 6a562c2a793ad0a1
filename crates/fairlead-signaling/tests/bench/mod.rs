//! A pod on the loopback, with a registrar and phones that do as they are told.
#![allow(dead_code)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use fairlead_model::ask::{
    Admitted, Answer, Ask, AskFailed, AskRef, Contacts, Envelope, IdempotencyKey, Refusal, RegisterRequest,
    Registered, Target,
};
use fairlead_model::flow::Transport;
use fairlead_model::id::{PodRef, UnixMillis};
use fairlead_model::member::{Briefing, Member, MintKey, NonceKey, Role};
use fairlead_model::peer::General;
use fairlead_proto::link::{Down, RegistrarPort, Up};
use fairlead_runtime::common::Handles;
use fairlead_runtime::drain::Drain;
use fairlead_runtime::health::Health;
use fairlead_runtime::identity::Identity;
use fairlead_runtime::metrics::Metrics;
use fairlead_signaling::{Config, Listener, Relays, RemoteRelays, Signaling};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::{broadcast, mpsc};
use tokio::time::timeout;

/// A registrar in this process: whoever registers from a trusted source is taken in.
#[derive(Clone)]
pub struct Registrar(Arc<Inner>);

impl std::ops::Deref for Registrar {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

pub struct Inner {
    pub asked: Mutex<Vec<Ask>>,
    pub keys: Mutex<Vec<IdempotencyKey>>,
    pub members: Mutex<Vec<Member>>,
    /// `traceparent`s that came with questions.
    pub traces: Mutex<Vec<String>>,
    /// Where every admitted INVITE goes; without one it is refused.
    pub target: Mutex<Option<Target>>,
    pub streams: AtomicUsize,
    /// Takes questions and answers none.
    pub deaf: AtomicBool,
    /// So many questions for a new call are answered as by one whose store is away.
    pub storeless: AtomicUsize,
    /// Ends its streams and takes no new ones.
    pub gone: AtomicBool,
    /// What briefings say of the surroundings.
    pub surroundings: Mutex<fairlead_model::surroundings::Surroundings>,
    changed: broadcast::Sender<()>,
    version: AtomicUsize,
}

impl Registrar {
    pub fn new() -> Self {
        Registrar(Arc::new(Inner {
            asked: Mutex::default(),
            keys: Mutex::default(),
            members: Mutex::default(),
            traces: Mutex::default(),
            target: Mutex::default(),
            streams: AtomicUsize::new(0),
            deaf: AtomicBool::new(false),
            storeless: AtomicUsize::new(0),
            gone: AtomicBool::new(false),
            surroundings: Mutex::default(),
            changed: broadcast::channel(16).0,
            version: AtomicUsize::new(0),
        }))
    }

    fn take(&self, asks: Vec<Envelope>) -> Vec<(AskRef, Result<Answer, AskFailed>)> {
        let answer = |envelope: Envelope| {
            let answer = self.answer(&envelope.ask);
            self.keys.lock().push(envelope.key);
            self.asked.lock().push(envelope.ask);
            (envelope.id, answer)
        };
        asks.into_iter().map(answer).collect()
    }

    pub fn briefing(&self) -> Briefing {
        Briefing {
            version: self.version.fetch_add(1, Ordering::SeqCst) as u64 + 1,
            mint_keys: vec![MintKey { version: b'a', key: [1; 16] }],
            nonce_keys: vec![NonceKey { id: 1, epoch: 1, key: [2; 32] }],
            members: self.members.lock().clone(),
            general: General { realm: "edge".to_owned(), ..General::default() },
            trusted: vec!["127.0.0.0/8".parse().unwrap()],
            surroundings: self.surroundings.lock().clone(),
        }
    }

    pub fn changed(&self) {
        let _ = self.changed.send(());
    }

    pub fn leave(&self) {
        self.gone.store(true, Ordering::SeqCst);
        self.changed();
    }

    pub fn registers(&self) -> usize {
        self.asked.lock().iter().filter(|ask| matches!(ask, Ask::Register(_))).count()
    }

    fn answer(&self, ask: &Ask) -> Result<Answer, AskFailed> {
        let left = |left: usize| left.checked_sub(1);
        if matches!(ask, Ask::Admit(_) | Ask::Occupy { .. })
            && self.storeless.fetch_update(Ordering::SeqCst, Ordering::SeqCst, left).is_ok()
        {
            return Err(AskFailed::Unreachable);
        }
        Ok(match ask {
            Ask::Register(register) => Answer::Registered(registered(register)),
            Ask::Admit(_) => match self.target.lock().clone() {
                Some(target) => Answer::Admitted(Box::new(Admitted {
                    caller: target.policy.clone(),
                    binding: None,
                    targets: vec![target],
                })),
                None => Answer::Refused(Refusal::new(404, "Not Found")),
            },
            Ask::Owner { .. } => Answer::NotOwned,
            Ask::Locate { .. } => Answer::Located(None),
            Ask::QualifyList => Answer::QualifyList(Vec::new()),
            _ => Answer::Done,
        })
    }
}

fn registered(register: &RegisterRequest) -> Registered {
    let contacts = match &register.contacts {
        Contacts::List(list) => list.iter().map(|contact| (contact.value.clone(), 60)).collect(),
        _ => Vec::new(),
    };
    Registered { contacts, path: Vec::new(), qualify: false }
}

#[async_trait::async_trait]
impl RegistrarPort for Registrar {
    async fn attach(
        &self,
        who: Member,
        mut up: mpsc::Receiver<Up>,
    ) -> Result<mpsc::Receiver<Down>, AskFailed> {
        if self.gone.load(Ordering::SeqCst) {
            return Err(AskFailed::Unreachable);
        }
        self.streams.fetch_add(1, Ordering::SeqCst);
        {
            let mut members = self.members.lock();
            members.retain(|member| member.pod != who.pod);
            members.push(who);
        }
        let (down, from_us) = mpsc::channel(64);
        let mut changed = self.changed.subscribe();
        down.send(Down::Briefed(Arc::new(self.briefing()))).await.unwrap();
        self.changed();
        let this = self.clone();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    next = up.recv() => match next {
                        None => return,
                        Some(Up::Asks(asks)) => {
                            let answers = this.take(asks);
                            if !this.deaf.load(Ordering::SeqCst)
                                && down.send(Down::Answers(answers)).await.is_err()
                            {
                                return;
                            }
                        }
                        Some(Up::Traces(list)) => {
                            this.traces.lock().extend(list.into_iter().map(|(_, traceparent)| traceparent));
                        }
                        Some(Up::Beat { .. }) => {}
                    },
                    _ = changed.recv() => {
                        if this.gone.load(Ordering::SeqCst) {
                            return;
                        }
                        if down.send(Down::Briefed(Arc::new(this.briefing()))).await.is_err() {
                            return;
                        }
                    }
                }
            }
        });
        Ok(from_us)
    }
}

/// A pod that runs.
pub struct Pod {
    pub signaling: Signaling,
    pub udp: SocketAddr,
    pub tcp: SocketAddr,
    pub drain: Drain,
    pub metrics: Metrics,
}

impl Pod {
    pub async fn start(registrar: Arc<dyn RegistrarPort>, shards: u8) -> Self {
        Self::with(registrar, shards, |_| {}).await
    }

    pub async fn with(
        registrar: Arc<dyn RegistrarPort>,
        shards: u8,
        change: impl FnOnce(&mut Config),
    ) -> Self {
        Self::with_relays(registrar, shards, Arc::new(RemoteRelays::default()), change).await
    }

    pub async fn with_relays(
        registrar: Arc<dyn RegistrarPort>,
        shards: u8,
        relays: Arc<dyn Relays>,
        change: impl FnOnce(&mut Config),
    ) -> Self {
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let mut config = Config::new(
            vec![Listener::new(Transport::Udp, any), Listener::new(Transport::Tcp, any)],
            Some(any),
        );
        config.shards = shards;
        change(&mut config);
        let metrics = Metrics::new("signaling");
        let handles = Handles {
            who: Identity::new(Role::Signaling, Some("pod")),
            metrics: metrics.clone(),
            health: Health::new(),
            drain: Drain::new(),
        };
        let (health, drain) = (handles.health.clone(), handles.drain.clone());
        let signaling = Signaling::start(config, registrar, relays, handles).await.unwrap();
        eventually("the pod is ready", || health.not_ready().is_empty()).await;
        let (udp, tcp) = (signaling.bound()[0].1, signaling.bound()[1].1);
        Pod { signaling, udp, tcp, drain, metrics }
    }

    pub async fn stop(self) {
        self.drain.start();
        let live = self.signaling.live_counter();
        assert!(self.drain.finish(Duration::from_secs(1), || live.load(Ordering::Relaxed)).await);
    }

    /// The sum of all samples of a metric whose labels contain `labels`.
    pub fn count(&self, name: &str, labels: &str) -> f64 {
        let text = self.metrics.encode().unwrap();
        text.lines()
            .filter(|line| line.starts_with(name) && line.contains(labels))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    }
}

pub async fn eventually(what: &str, is_so: impl Fn() -> bool) {
    for _ in 0..500 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("not in time: {what}");
}

/// A REGISTER without credentials.
pub fn register(transport: &str, from: SocketAddr, call_id: &str, cseq: u32) -> String {
    format!(
        "REGISTER sip:edge SIP/2.0\r\nVia: SIP/2.0/{transport} {from};branch=z9hG4bK{call_id}x{cseq};rport\r\n\
         Max-Forwards: 70\r\nFrom: <sip:ann@edge>;tag=f{call_id}\r\nTo: <sip:ann@edge>\r\nCall-ID: {call_id}\r\n\
         CSeq: {cseq} REGISTER\r\nContact: <sip:ann@{from}>\r\nExpires: 60\r\nContent-Length: 0\r\n\r\n"
    )
}

/// An OPTIONS out of any dialog.
pub fn options(transport: &str, from: SocketAddr, call_id: &str) -> String {
    format!(
        "OPTIONS sip:edge SIP/2.0\r\nVia: SIP/2.0/{transport} {from};branch=z9hG4bK{call_id};rport\r\n\
         Max-Forwards: 70\r\nFrom: <sip:ann@edge>;tag=f{call_id}\r\nTo: <sip:edge>\r\nCall-ID: {call_id}\r\n\
         CSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
    )
}

pub async fn udp_phone() -> UdpSocket {
    UdpSocket::bind("127.0.0.1:0").await.unwrap()
}

/// The next datagram, as text.
pub async fn heard(phone: &UdpSocket) -> String {
    let mut buffer = vec![0; 65_536];
    let length =
        timeout(Duration::from_secs(5), phone.recv(&mut buffer)).await.expect("a datagram in time").unwrap();
    String::from_utf8(buffer[..length].to_vec()).unwrap()
}

/// The next message without a body from a stream, as text.
pub async fn read(phone: &mut TcpStream) -> String {
    let mut text = Vec::new();
    let whole = async {
        while !text.ends_with(b"\r\n\r\n") {
            text.push(phone.read_u8().await.unwrap());
        }
    };
    timeout(Duration::from_secs(5), whole).await.expect("a message in time");
    String::from_utf8(text).unwrap()
}

pub async fn write(phone: &mut TcpStream, text: &str) {
    phone.write_all(text.as_bytes()).await.unwrap();
}

#[allow(unused)]
pub fn member(role: Role, grpc: SocketAddr) -> Member {
    let pod = PodRef(rand::random::<u64>() & PodRef::MAX);
    Member::started(pod, "other", role, grpc, UnixMillis(1))
}
