//! A registrar with peers, and pods that ask it as signaling does.
#![allow(dead_code)]

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use fairlead_model::ask::*;
use fairlead_model::flow::{Flow, Transport};
use fairlead_model::id::{CallRef, PodRef, ShardRef, UnixMillis};
use fairlead_model::member::{Briefing, Member, Role};
use fairlead_model::peer::{GeneralFull, Host, Peer, Secret};
use fairlead_proto::link::{Down, RegistrarPort, Up};
use fairlead_registrar::{Registrar, RegistrarConfig};
use fairlead_store::Store;
use prometheus_client::registry::Registry;
use sip_auth::{Algorithm, Answering, Challenger, NonceKeys};
use tokio::sync::mpsc;

pub const REALM: &str = "lab";

pub fn member(pod: u64, role: Role) -> Member {
    let (name, grpc) = (format!("{}-{pod}", role.word()), "127.0.0.1:1".parse().unwrap());
    Member {
        seen: UnixMillis(0),
        version: "test".to_owned(),
        ..Member::started(PodRef(pod), name, role, grpc, UnixMillis(1))
    }
}

pub fn general() -> GeneralFull {
    GeneralFull { realm: REALM.to_owned(), allow_guest: false, ..GeneralFull::default() }
}

/// A phone's peer of this name; its secret is `pw` and the name.
pub fn phone(name: &str) -> Peer {
    Peer { secret: Some(Secret::new(format!("pw{name}"))), ..Peer::named(name, &general().defaults) }
}

pub fn trunk(name: &str, host: &str) -> Peer {
    Peer { host: Host::Static(host.to_owned()), port: Some(5080), ..Peer::named(name, &general().defaults) }
}

pub fn registrar(store: Arc<dyn Store>, number: u64, peers: Vec<Peer>) -> Arc<Registrar> {
    let config = RegistrarConfig {
        lease: Duration::from_secs(3),
        ..RegistrarConfig::new(member(number, Role::Registrar))
    };
    Registrar::new(store, config, general(), peers, &mut Registry::default())
}

/// One beside an operator role.
pub fn registrar_that_awaits_peers(store: Arc<dyn Store>, number: u64, peers: Vec<Peer>) -> Arc<Registrar> {
    let config =
        RegistrarConfig { await_peers: true, ..RegistrarConfig::new(member(number, Role::Registrar)) };
    Registrar::new(store, config, general(), peers, &mut Registry::default())
}

/// Waits until something holds, ten seconds at most.
pub async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    for _ in 0..200 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{what}");
}

/// A signaling pod on a registrar's stream.
pub struct Pod {
    pub pod: PodRef,
    up: mpsc::Sender<Up>,
    down: mpsc::Receiver<Down>,
    pub briefing: Arc<Briefing>,
    pub requalify: u32,
    next: u64,
    waiting: HashMap<AskRef, Result<Answer, AskFailed>>,
    random: u64,
}

impl Pod {
    pub async fn attach(registrar: &Arc<Registrar>, number: u64) -> Self {
        let (up, from_us) = mpsc::channel(16);
        let mut down = registrar.attach(member(number, Role::Signaling), from_us).await.expect("it attaches");
        let Some(Down::Briefed(briefing)) = down.recv().await else { panic!("the briefing comes first") };
        Pod {
            pod: PodRef(number),
            up,
            down,
            briefing,
            requalify: 0,
            next: 0,
            waiting: HashMap::new(),
            random: number << 32,
        }
    }

    /// Like [`Pod::attach`]; `None` when it is refused.
    pub async fn try_attach(registrar: &Arc<Registrar>, number: u64) -> Option<()> {
        let (_up, from_us) = mpsc::channel(16);
        registrar.attach(member(number, Role::Signaling), from_us).await.ok().map(drop)
    }

    /// Whether the registrar ends the stream within a few seconds.
    pub async fn ends(&mut self) -> bool {
        let ended = async { while self.down.recv().await.is_some() {} };
        tokio::time::timeout(Duration::from_secs(5), ended).await.is_ok()
    }

    pub async fn beat(&self) {
        self.up.send(Up::Beat { load: 0, draining: false }).await.unwrap();
    }

    /// Asks one thing.
    pub async fn ask(&mut self, key: u128, ask: Ask) -> Result<Answer, AskFailed> {
        self.ask_all(vec![(key, ask)]).await.remove(0)
    }

    /// Asks many at once; answers in their order.
    pub async fn ask_all(&mut self, asks: Vec<(u128, Ask)>) -> Vec<Result<Answer, AskFailed>> {
        let envelopes: Vec<Envelope> = asks
            .into_iter()
            .map(|(key, ask)| {
                self.next += 1;
                let deadline = Duration::from_secs(5);
                Envelope { id: AskRef(self.next), key: IdempotencyKey(key), deadline, ask }
            })
            .collect();
        let ids: Vec<AskRef> = envelopes.iter().map(|envelope| envelope.id).collect();
        self.up.send(Up::Asks(envelopes)).await.unwrap();
        while !ids.iter().all(|id| self.waiting.contains_key(id)) {
            self.take_one().await;
        }
        ids.iter().map(|id| self.waiting.remove(id).unwrap()).collect()
    }

    /// Takes what comes down for this long.
    pub async fn idle(&mut self, time: Duration) {
        let _ = tokio::time::timeout(time, async {
            loop {
                self.take_one().await;
            }
        })
        .await;
    }

    async fn take_one(&mut self) {
        match self.down.recv().await.expect("the stream goes on") {
            Down::Answers(answers) => self.waiting.extend(answers),
            Down::Briefed(briefing) => self.briefing = briefing,
            Down::Requalify => self.requalify += 1,
        }
    }

    fn challenger(&self) -> Challenger {
        let keys =
            self.briefing.nonce_keys.iter().map(|key| sip_auth::NonceKey::new(key.id, key.epoch, &key.key));
        Challenger::new(REALM, &[Algorithm::Md5], NonceKeys::new(keys.collect()))
    }

    /// A challenge as this pod sends it.
    pub fn challenge(&mut self) -> String {
        self.random += 1;
        self.challenger().challenge(self.random, false).remove(0)
    }

    /// A phone's flow to this pod.
    pub fn flow(&self, remote: &str) -> Flow {
        Flow {
            pod: self.pod,
            transport: Transport::Udp,
            local: "192.0.2.1:5060".parse().unwrap(),
            remote: remote.parse().unwrap(),
            connection: None,
        }
    }
}

pub fn answer(challenge: &str, user: &str, secret: &str, method: &str, uri: &str, nc: u32) -> Credentials {
    let value = sip_auth::answer(&Answering {
        challenges: &[challenge],
        realm: None,
        user,
        secret: sip_auth::Secret::Password(secret),
        method,
        uri,
        cnonce: "0123456789abcdef",
        nc,
        allowed: &Algorithm::ALL,
    })
    .unwrap()
    .value;
    Credentials { values: vec![value], method: method.to_owned(), uri: uri.to_owned() }
}

/// A REGISTER of one contact.
pub fn register(flow: Flow, user: &str, cseq: u32, credentials: Option<Credentials>) -> RegisterRequest {
    let uri = format!("sip:{user}@{}", flow.remote);
    RegisterRequest {
        user: user.to_owned(),
        host: "lab".to_owned(),
        contacts: Contacts::List(vec![ContactChange {
            value: format!("<{uri}>"),
            uri,
            expires: None,
            q: None,
            instance: None,
            reg_id: None,
        }]),
        expires: Some(300),
        path: Vec::new(),
        call_id: format!("reg-{user}"),
        cseq,
        user_agent: "phone".to_owned(),
        flow,
        via_differs: true,
        asked_rport: true,
        supports_path: false,
        credentials,
        received_at: UnixMillis(0),
    }
}

pub fn invite(
    pod: &Pod,
    number: u64,
    flow: Flow,
    from: &str,
    to: &str,
    credentials: Option<Credentials>,
) -> AdmitRequest {
    AdmitRequest {
        method: "INVITE".to_owned(),
        call: CallRef { pod: pod.pod, shard: ShardRef(0), number },
        call_id: format!("call-{from}-{to}"),
        from_tag: "ft".to_owned(),
        cseq: 2,
        branch: "z9hG4bKx".to_owned(),
        flow,
        via_differs: true,
        from_user: from.to_owned(),
        from_host: "lab".to_owned(),
        from_display: String::new(),
        target_user: to.to_owned(),
        target_host: "lab".to_owned(),
        credentials,
    }
}

impl Pod {
    /// Registers a phone with a fresh challenge, as it does at its first REGISTER.
    pub async fn registers(&mut self, user: &str, remote: &str, cseq: u32) -> Result<Answer, AskFailed> {
        let challenge = self.challenge();
        let credentials = answer(&challenge, user, &format!("pw{user}"), "REGISTER", "sip:lab", 1);
        let request = register(self.flow(remote), user, cseq, Some(credentials));
        let key =
            u128::from(cseq) << 64 | user.bytes().fold(7, |sum, b| sum * 31 + u128::from(b)) & 0xffff_ffff;
        self.ask(key, Ask::Register(Box::new(request))).await
    }

    /// The same with a Call-ID of its own.
    pub async fn registers_as(
        &mut self,
        user: &str,
        remote: &str,
        call_id: &str,
        cseq: u32,
    ) -> Result<Answer, AskFailed> {
        let challenge = self.challenge();
        let credentials = answer(&challenge, user, &format!("pw{user}"), "REGISTER", "sip:lab", 1);
        let mut request = register(self.flow(remote), user, cseq, Some(credentials));
        request.call_id = call_id.to_owned();
        let key =
            u128::from(cseq) << 64 | call_id.bytes().fold(9, |sum, b| sum * 31 + u128::from(b)) & 0xffff_ffff;
        self.ask(key, Ask::Register(Box::new(request))).await
    }

    /// Calls with a fresh challenge.
    pub async fn calls(&mut self, number: u64, from: (&str, &str), to: &str) -> Result<Answer, AskFailed> {
        let challenge = self.challenge();
        let (user, remote) = from;
        let uri = format!("sip:{to}@lab");
        let credentials = answer(&challenge, user, &format!("pw{user}"), "INVITE", &uri, 1);
        let request = invite(self, number, self.flow(remote), user, to, Some(credentials));
        self.ask(u128::from(number), Ask::Admit(Box::new(request))).await
    }
}

pub fn contacts(answer: &Result<Answer, AskFailed>) -> Vec<String> {
    match answer {
        Ok(Answer::Registered(registered)) => {
            registered.contacts.iter().map(|(value, _)| value.clone()).collect()
        }
        other => panic!("a 200 was wanted: {other:?}"),
    }
}

pub fn status(answer: &Result<Answer, AskFailed>) -> u16 {
    match answer {
        Ok(Answer::Refused(refusal)) => refusal.status,
        other => panic!("a refusal was wanted: {other:?}"),
    }
}

pub fn targets(answer: &Result<Answer, AskFailed>) -> Vec<String> {
    match answer {
        Ok(Answer::Admitted(admitted)) => admitted.targets.iter().map(|target| target.uri.clone()).collect(),
        other => panic!("it was to be let in: {other:?}"),
    }
}
