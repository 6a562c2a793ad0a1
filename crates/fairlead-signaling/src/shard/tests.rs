//! The loop with a machine that does one thing: what is asked of it to send, to whom, and what it hears of it.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fairlead_core::input::{Identity, Input, Network, Now, SendFailed};
use fairlead_core::output::{Output, SendRef, SendTo};
use fairlead_model::channel::{Bridge, Channel};
use fairlead_model::flow::{Flow, Transport};
use fairlead_model::id::PodRef;
use fairlead_runtime::health::Health;
use prometheus_client::registry::Registry;
use sip_net::connection::{ConnectionNames, Dialer};
use sip_net::limits::{ConnectionLimits, Door};
use sip_net::udp::UdpSocket;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::{Inlets, Links, Listening, Shard};
use crate::machine::Machine;
use crate::mesh::Mesh;
use crate::metrics::{Metrics, ShardMetrics};
use crate::news::{Handed, News, Reply, ShardDoor};
use crate::resolver::Resolver;

const BYE: Bytes = Bytes::from_static(b"BYE sip:a SIP/2.0\r\n\r\n");

/// Sends a BYE at once to each address of its list, and tells what it hears.
struct Sender {
    born: Instant,
    outputs: VecDeque<Output>,
    heard: mpsc::UnboundedSender<Input>,
}

impl Machine for Sender {
    fn handle(&mut self, input: Input, _: Now) {
        self.heard.send(input).unwrap();
    }

    fn handle_timeout(&mut self, _: Now) {}

    fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// At once while there is something to be done.
    fn poll_timeout(&self) -> Option<Instant> {
        (!self.outputs.is_empty()).then_some(self.born)
    }

    fn channels(&self) -> Vec<Channel> {
        Vec::new()
    }

    fn bridges(&self) -> Vec<Bridge> {
        Vec::new()
    }

    fn open(&self) -> fairlead_core::Open {
        fairlead_core::Open::default()
    }
}

struct Bench {
    heard: mpsc::UnboundedReceiver<Input>,
    door: ShardDoor,
    udp: SocketAddr,
}

impl Bench {
    fn new(sends: Vec<(u64, SendTo)>) -> Self {
        let send = |(number, to)| Output::Send { send: SendRef(number), to, message: BYE, report: true };
        Bench::wanting(sends.into_iter().map(send).collect())
    }

    fn wanting(outputs: VecDeque<Output>) -> Self {
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let socket = UdpSocket::bind(any, 1 << 16).unwrap();
        let udp = socket.local();
        let network = |transport, bind| Network {
            name: String::new(),
            transport,
            bind,
            advertised: ("127.0.0.1".to_owned(), udp.port()),
            told: false,
            awaits: false,
            routed: false,
        };
        let networks = vec![network(Transport::Udp, udp), network(Transport::Tcp, any)];
        let identity = Identity { pod: PodRef(1), shard: 0, shards: 1, networks };
        let (tell, heard) = mpsc::unbounded_channel();
        let machine = Sender { born: Instant::now(), outputs, heard: tell };
        let (handed, handed_in) = mpsc::channel(8);
        let (news, news_in) = mpsc::channel(8);
        let (events, connections) = mpsc::channel(8);
        let door = ShardDoor { handed, news };
        let (asks, _) = mpsc::channel(1);
        let (orders, _) = mpsc::channel(1);
        let limits = ConnectionLimits { connect: Duration::from_millis(500), ..ConnectionLimits::default() };
        let shard = Shard::new(
            machine,
            identity,
            vec![Listening { socket }],
            Dialer {
                pod: PodRef(1),
                shard: 0,
                names: ConnectionNames::default(),
                door: Door::new(limits),
                events,
            },
            Links {
                shards: vec![door.clone()],
                asks,
                orders,
                mesh: Mesh::default(),
                resolver: Resolver::new(tokio::runtime::Handle::current(), 1),
            },
            Inlets { handed: handed_in, news: news_in, connections },
            ShardMetrics::new(Metrics::register(&mut Registry::default())),
            Health::new().heartbeat("shard", Duration::from_secs(1)),
            Arc::new(AtomicUsize::new(0)),
            Arc::default(),
            false,
        );
        // It has its keys as far as the loop is concerned.
        tokio::spawn(Shard { deaf_until: None, ..shard }.run());
        Bench { heard, door, udp }
    }

    async fn sent(&mut self) -> (u64, Option<SendFailed>, Option<Flow>) {
        loop {
            match timeout(Duration::from_secs(5), self.heard.recv()).await.unwrap().unwrap() {
                Input::Sent { send, failed, flow } => return (send.0, failed, flow),
                Input::Closed { .. } => {}
                other => panic!("{other:?}"),
            }
        }
    }
}

fn to(network: usize, remote: SocketAddr) -> SendTo {
    SendTo::Address { network, remote }
}

#[tokio::test]
async fn one_connection_is_opened_for_all_that_goes_to_an_address() {
    let trunk = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = trunk.local_addr().unwrap();
    let mut bench = Bench::new(vec![(1, to(1, address)), (2, to(1, address))]);
    let (mut stream, from) = trunk.accept().await.unwrap();
    let mut both = vec![0; BYE.len() * 2];
    timeout(Duration::from_secs(5), stream.read_exact(&mut both)).await.unwrap().unwrap();
    let (one, two) = (bench.sent().await, bench.sent().await);
    assert_eq!((one.0, one.1, two.0, two.1), (1, None, 2, None));
    assert_eq!(one.2, two.2);
    assert_eq!(one.2.unwrap().local, from);

    // By its flow, as later requests of the dialog do.
    let handed = Handed::Send { message: BYE, flow: one.2.unwrap(), reply: Reply::Nobody };
    bench.door.hand(handed).unwrap();
    timeout(Duration::from_secs(5), stream.read_exact(&mut both[..BYE.len()])).await.unwrap().unwrap();
}

#[tokio::test]
async fn what_waits_for_a_connection_that_cannot_be_opened_has_not_left() {
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let mut bench = Bench::new(vec![(1, to(1, gone)), (2, to(1, gone))]);
    assert_eq!(bench.sent().await, (1, Some(SendFailed::ConnectionGone), None));
    assert_eq!(bench.sent().await, (2, Some(SendFailed::ConnectionGone), None));
}

#[tokio::test]
async fn a_datagram_tells_by_which_flow_it_left() {
    let phone = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let remote = phone.local_addr().unwrap();
    let mut bench =
        Bench::new(vec![(1, to(0, remote)), (2, to(0, "[::1]:9".parse().unwrap())), (3, to(7, remote))]);
    let flow = Flow { pod: PodRef(1), transport: Transport::Udp, local: bench.udp, remote, connection: None };
    assert_eq!(bench.sent().await, (1, None, Some(flow)));
    assert_eq!(bench.sent().await.1, Some(SendFailed::Socket));
    assert_eq!(bench.sent().await, (3, Some(SendFailed::Socket), None));
    assert_eq!(phone.recv_from(&mut [0; 64]).await.unwrap().1, bench.udp);
}

#[tokio::test]
async fn what_is_to_leave_by_a_pod_that_is_not_there_has_not_left() {
    let flow = Flow {
        pod: PodRef(2),
        transport: Transport::Udp,
        local: "127.0.0.1:5060".parse().unwrap(),
        remote: "127.0.0.1:5062".parse().unwrap(),
        connection: None,
    };
    let mut bench = Bench::new(vec![(1, SendTo::Flow(flow))]);
    assert_eq!(bench.sent().await, (1, Some(SendFailed::NoSuchFlow), Some(flow)));
}

/// Each is told once, whoever it was for; what came by mesh is not sent round.
#[tokio::test]
async fn what_is_passed_on_to_who_is_not_there_was_not_taken() {
    let flow = |pod| Flow {
        pod: PodRef(pod),
        transport: Transport::Udp,
        local: "127.0.0.1:5060".parse().unwrap(),
        remote: "127.0.0.1:5062".parse().unwrap(),
        connection: None,
    };
    let pass = |number, pod, shard, from| Output::Forward {
        pod: PodRef(pod),
        shard,
        message: BYE,
        flow: flow(from),
        report: Some(SendRef(number)),
    };
    let wanted = VecDeque::from([pass(1, 2, None, 1), pass(2, 2, None, 3), pass(3, 1, Some(7), 1)]);
    let mut bench = Bench::wanting(wanted);
    for number in 1..=3 {
        assert_eq!(bench.sent().await, (number, Some(SendFailed::NoSuchFlow), None));
    }
}

#[tokio::test]
async fn news_reach_the_machine_and_stop_ends_the_loop() {
    let mut bench = Bench::new(Vec::new());
    bench.door.tell(News::Drain).await;
    assert!(matches!(bench.heard.recv().await, Some(Input::Drain)));
    bench.door.tell(News::Stop).await;
    assert!(timeout(Duration::from_secs(5), bench.heard.recv()).await.unwrap().is_none());
}
