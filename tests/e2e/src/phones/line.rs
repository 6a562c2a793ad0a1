//! One phone: a SIP socket, an RTP socket and a task that serves both.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use fairlead_testkit::{CallState, Heard, Incoming, Node, Packet, Phone};
use sip_wire::Method;
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, oneshot};
use tokio::time::MissedTickBehavior;

use super::audio::{Audio, destination};
use super::words::{Answer, Counted, NewPhone, Tell};

type Order = (Tell, oneshot::Sender<Answer>);

/// Phones behind NAT say something this often, so that their binding stays (RFC 5626 §4.4.1). Real ones do it each 15 to 30 s;
/// a test has less time.
const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// How to speak to a phone.
#[derive(Clone)]
pub struct Line {
    orders: mpsc::Sender<Order>,
}

/// The phone itself.
struct Running {
    phone: Phone,
    sip: UdpSocket,
    rtp: UdpSocket,
    /// Where its SIP goes.
    edge: SocketAddr,
    /// Whom the sockets have sent to.
    invited: HashSet<SocketAddr>,
    uninvited: u64,
    audio: Audio,
    keeps_alive: bool,
    /// Whether the user wants to speak.
    speaking: bool,
    /// The call that RTP belongs to, and where it goes.
    call: Option<usize>,
    relay: Option<SocketAddr>,
    waiting: Option<Waiting>,
    last_status: Option<u16>,
    heard: usize,
}

/// An order that is answered when something has come.
struct Waiting {
    what: What,
    since: Instant,
    answer: oneshot::Sender<Answer>,
}

enum What {
    Registration,
    Call(usize),
    Response(Method),
}

impl Line {
    /// Plugs a phone in.
    pub async fn open(new: &NewPhone, salt: &str) -> anyhow::Result<Self> {
        let ip = match new.ip {
            Some(ip) => ip,
            None => own_address(new.edge).await?,
        };
        let (sip, rtp) = (UdpSocket::bind((ip, 0)).await?, UdpSocket::bind((ip, 0)).await?);
        let mut phone =
            Phone::new(&new.name, &new.password, sip.local_addr()?, new.edge, &new.edge.ip().to_string())
                .salted(salt)
                .with_sdp(description(rtp.local_addr()?, "sendrecv"))
                .incoming(Incoming::Answer(Duration::from_millis(200)));
        phone.set_edge(new.edge);
        let mut hasher = DefaultHasher::new();
        (salt, &new.name).hash(&mut hasher);
        let (orders, incoming) = mpsc::channel(16);
        let running = Running {
            phone,
            sip,
            rtp,
            edge: new.edge,
            invited: HashSet::new(),
            uninvited: 0,
            audio: Audio::new(hasher.finish()),
            keeps_alive: new.keeps_alive,
            speaking: true,
            call: None,
            relay: None,
            waiting: None,
            last_status: None,
            heard: 0,
        };
        tokio::spawn(running.run(incoming));
        Ok(Line { orders })
    }

    /// Tells the phone something and waits for what comes of it.
    pub async fn tell(&self, tell: Tell) -> anyhow::Result<Answer> {
        let (answer, answered) = oneshot::channel();
        self.orders.send((tell, answer)).await.map_err(|_| anyhow::anyhow!("the phone is gone"))?;
        Ok(answered.await?)
    }
}

impl Running {
    async fn run(mut self, mut orders: mpsc::Receiver<Order>) {
        let mut tick = tokio::time::interval(Duration::from_millis(20));
        tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut alive = tokio::time::interval(KEEP_ALIVE);
        alive.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut sip, mut rtp) = (vec![0; 65_536], vec![0; 2_048]);
        loop {
            let speaks = self.speaking && self.relay.is_some();
            let due = self.phone.poll_timeout().map(tokio::time::Instant::from_std);
            let sleep = tokio::time::sleep_until(
                due.unwrap_or_else(|| tokio::time::Instant::now() + Duration::from_secs(3600)),
            );
            tokio::select! {
                order = orders.recv() => match order {
                    Some((tell, answer)) => self.order(tell, answer),
                    None => return,
                },
                Ok((length, from)) = self.sip.recv_from(&mut sip) => {
                    if self.is_invited(from) {
                        let to = self.phone.address();
                        self.phone.handle_packet(Packet { from, to, bytes: sip[..length].to_vec().into() }, Instant::now());
                    }
                }
                Ok((length, from)) = self.rtp.recv_from(&mut rtp) => {
                    if self.is_invited(from) {
                        self.audio.hear(&rtp[..length], Instant::now());
                    }
                    continue;
                }
                _ = tick.tick(), if speaks => self.speak().await,
                // Only who has spoken to the edge keeps that open.
                _ = alive.tick(), if self.keeps_alive && self.invited.contains(&self.edge) => {
                    // One that is lost is followed by another.
                    let _ = self.sip.send_to(b"\r\n\r\n", self.edge).await;
                }
                () = sleep, if due.is_some() => self.phone.handle_timeout(Instant::now()),
            }
            if !speaks {
                tick.reset();
            }
            self.send().await;
            self.look();
        }
    }

    fn is_invited(&mut self, from: SocketAddr) -> bool {
        let invited = self.invited.contains(&from);
        self.uninvited += u64::from(!invited);
        invited
    }

    async fn speak(&mut self) {
        if let Some(relay) = self.relay {
            self.invited.insert(relay);
            // A full socket buffer or a port that is closed for a moment is a lost packet, which is what is counted.
            let _ = self.rtp.send_to(&self.audio.next(), relay).await;
        }
    }

    async fn send(&mut self) {
        while let Some(packet) = self.phone.poll_packet(Instant::now()) {
            self.invited.insert(packet.to);
            let _ = self.sip.send_to(&packet.bytes, packet.to).await;
        }
    }

    fn order(&mut self, tell: Tell, answer: oneshot::Sender<Answer>) {
        let now = Instant::now();
        let what = match tell {
            Tell::Register(expires) => {
                self.phone.register(expires, now);
                What::Registration
            }
            Tell::Call(user) => {
                self.speaking = true;
                What::Call(self.phone.call(&user, now))
            }
            Tell::Direction(direction) => {
                let Some(call) = self.call else {
                    return reply(answer, Answer::Error("there is no call".to_owned()));
                };
                let Some(sdp) = self.turn(&direction) else {
                    return reply(answer, Answer::Error("there is no socket".to_owned()));
                };
                self.phone.reinvite(call, sdp, now);
                What::Response(Method::Invite)
            }
            Tell::HangUp => {
                let Some(call) = self.call else {
                    return reply(answer, Answer::Error("there is no call".to_owned()));
                };
                self.phone.hang_up(call, now);
                What::Response(Method::Bye)
            }
            Tell::Expect(direction) => {
                self.turn(&direction);
                return reply(answer, Answer::Done);
            }
            Tell::Answering(ms) => {
                self.phone.set_incoming(Incoming::Answer(Duration::from_millis(ms)));
                return reply(answer, Answer::Done);
            }
            Tell::Chapter(chapter) => {
                self.audio.begin(chapter);
                return reply(answer, Answer::Done);
            }
            Tell::Hush => {
                self.speaking = false;
                return reply(answer, Answer::Done);
            }
            Tell::Edge(edge) => {
                self.phone.set_edge(edge);
                self.edge = edge;
                return reply(answer, Answer::Done);
            }
            Tell::Refusal => return reply(answer, Answer::Head(self.refusal())),
            Tell::Count(chapter) => return reply(answer, Answer::Counted(self.count(chapter))),
        };
        self.heard = self.phone.heard().len();
        self.waiting = Some(Waiting { what, since: now, answer });
    }

    /// Changes the direction of its own description.
    fn turn(&mut self, direction: &str) -> Option<String> {
        let sdp = description(self.rtp.local_addr().ok()?, direction);
        self.phone.set_sdp(sdp.clone());
        self.speaking = direction == "sendrecv";
        Some(sdp)
    }

    /// What has changed: the call, where RTP goes, and whether somebody waits for that.
    fn look(&mut self) {
        let current = self.phone.calls().iter().rposition(|call| !call.is_over());
        if current != self.call && current.is_some() {
            self.audio.renew();
            self.speaking = true;
        }
        let up = current
            .and_then(|number| self.phone.calls().get(number))
            .filter(|call| call.state == CallState::Up);
        self.relay = up.and_then(|call| destination(&call.their_sdp));
        self.call = current;
        if let Some(status) = self.waiting.as_ref().and_then(|waiting| self.outcome(waiting))
            && let Some(waiting) = self.waiting.take()
        {
            self.last_status = Some(status);
            reply(waiting.answer, Answer::Status { status, ms: waiting.since.elapsed().as_millis() as u64 });
        }
    }

    fn outcome(&self, waiting: &Waiting) -> Option<u16> {
        match &waiting.what {
            What::Registration => self.phone.registered(),
            What::Call(number) => match self.phone.calls().get(*number)?.state {
                CallState::Up => Some(200),
                CallState::Ended { status } => Some(status.unwrap_or(0)),
                CallState::Calling | CallState::Ringing => None,
            },
            What::Response(method) => {
                self.phone.heard().get(self.heard..)?.iter().find_map(|heard| match heard {
                    Heard::Response(of, status)
                        if of == method && *status >= 200 && *status != 401 && *status != 407 =>
                    {
                        Some(*status)
                    }
                    Heard::NoAnswer(of) if of == method => Some(408),
                    _ => None,
                })
            }
        }
    }

    /// The head of the last response that refused something for good; empty when there is none.
    fn refusal(&self) -> String {
        let refuses = |status: Option<u16>| {
            status.is_some_and(|status| status >= 300 && status != 401 && status != 407)
        };
        let last = self.phone.messages().iter().rev().find(|message| refuses(message.status()));
        last.map(|message| {
            String::from_utf8_lossy(message.bytes()).split("\r\n\r\n").next().unwrap_or_default().to_owned()
        })
        .unwrap_or_default()
    }

    fn count(&self, chapter: u32) -> Counted {
        let figures = self.audio.chapter(chapter);
        Counted {
            sent: figures.sent,
            heard: figures.heard,
            doubled: figures.doubled,
            longest_gap_ms: figures.longest_gap_ms,
            foreign: figures.foreign,
            uninvited: self.uninvited,
            live: self.phone.live_calls(),
            ended: self.phone.calls().len() - self.phone.live_calls(),
            relay: self.relay,
            last_status: self.last_status,
        }
    }
}

/// Nobody waits any more when the test has given up.
fn reply(to: oneshot::Sender<Answer>, answer: Answer) {
    let _ = to.send(answer);
}

fn description(rtp: SocketAddr, direction: &str) -> String {
    let (kind, ip, port) = (if rtp.is_ipv4() { "IP4" } else { "IP6" }, rtp.ip(), rtp.port());
    format!(
        "v=0\r\no=- 1 1 IN {kind} {ip}\r\ns=-\r\nc=IN {kind} {ip}\r\nt=0 0\r\nm=audio {port} RTP/AVP 0\r\n\
         a=rtpmap:0 PCMU/8000\r\na=ptime:20\r\na={direction}\r\n"
    )
}

/// The address that the edge is reached from.
async fn own_address(edge: SocketAddr) -> anyhow::Result<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await?;
    socket.connect(edge).await?;
    Ok(socket.local_addr()?.ip())
}
