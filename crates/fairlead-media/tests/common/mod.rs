//! A relay on loopback and phones that speak to it.

#![allow(dead_code, clippy::unwrap_used, clippy::panic)] // each test file uses its part; a test that unwraps fails as it should

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use bytes::Bytes;
use fairlead_media::{Config, Network, Place, Relay};
use fairlead_model::id::{AttemptRef, CallRef, PodRef, ShardRef, Side};
use fairlead_model::peer::RtpSource;
use fairlead_model::relay::{
    Described, RelayOrder, RelayRefused, RelayReply, SdpOrder, SessionRef, SessionStatistics, SideMedia,
};
use fairlead_model::surroundings::MediaAddress;
use fairlead_proto::link::RelayPort;
use prometheus_client::registry::Registry;

pub const POD: PodRef = PodRef(0xfa1);

/// A relay on an address of loopback of its own, so that tests do not take each other's ports.
pub struct Scene {
    pub relay: Relay,
    pub registry: Registry,
    next: u64,
}

pub fn at(address: &str) -> SocketAddr {
    address.parse().unwrap()
}

/// An address that a relay is told at run time.
pub fn told(address: &str, destinations: &[&str]) -> MediaAddress {
    MediaAddress {
        pod: "relay-7".to_owned(),
        network: String::new(),
        address: address.parse().unwrap(),
        destinations: destinations.iter().map(|net| net.parse().unwrap()).collect(),
    }
}

pub fn config(bind: &str, first: u16, ports: u16) -> Config {
    let bind: IpAddr = bind.parse().unwrap();
    let mut network = Network { name: String::new(), v4: None, v6: None };
    match bind {
        IpAddr::V4(bind) => network.v4 = Some(Place { bind, advertise: None }),
        IpAddr::V6(bind) => network.v6 = Some(Place { bind, advertise: None }),
    }
    Config { networks: vec![network], ..Config::new(POD, first..=first + ports - 1) }
}

impl Scene {
    pub fn new(config: &Config) -> Self {
        let mut registry = Registry::default();
        let relay = Relay::start(config, &mut registry).unwrap();
        Scene { relay, registry, next: 1 }
    }

    pub fn session(&mut self) -> SessionRef {
        self.next += 1;
        let call = CallRef { pod: POD, shard: ShardRef(0), number: self.next };
        SessionRef { call, attempt: AttemptRef(0) }
    }

    pub async fn order(&self, order: RelayOrder) -> Result<RelayReply, RelayRefused> {
        self.relay.order(order).await
    }

    pub async fn offer(&self, order: SdpOrder) -> Result<Described, RelayRefused> {
        match self.order(RelayOrder::Offer(Box::new(order))).await? {
            RelayReply::Described(described) => Ok(described),
            other => panic!("{other:?}"),
        }
    }

    pub async fn answer(&self, order: SdpOrder) -> Result<Described, RelayRefused> {
        match self.order(RelayOrder::Answer(Box::new(order))).await? {
            RelayReply::Described(described) => Ok(described),
            other => panic!("{other:?}"),
        }
    }

    pub async fn delete(&self, session: SessionRef) -> Option<SessionStatistics> {
        match self.order(RelayOrder::Delete(session)).await.unwrap() {
            RelayReply::Statistics(statistics) => Some(statistics),
            _ => None,
        }
    }

    pub async fn query(&self, session: SessionRef) -> SessionStatistics {
        match self.order(RelayOrder::Query(session)).await.unwrap() {
            RelayReply::Statistics(statistics) => statistics,
            other => panic!("{other:?}"),
        }
    }

    /// A call from one phone to another, answered; the relay's addresses for A and for B.
    pub async fn call(
        &mut self,
        a: &Phone,
        b: &Phone,
    ) -> Result<(SessionRef, SocketAddr, SocketAddr), RelayRefused> {
        let session = self.session();
        let for_b = self.offer(order(session, Side::A, &a.sdp(), a, b)).await?;
        let for_a = self.answer(order(session, Side::B, &b.sdp(), a, b)).await?;
        Ok((session, audio_of(&for_a.sdp), audio_of(&for_b.sdp)))
    }

    pub fn metric(&self, line: &str) -> u64 {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).unwrap();
        let found =
            text.lines().find_map(|found| found.strip_prefix(line).and_then(|rest| rest.strip_prefix(' ')));
        found.and_then(|value| value.parse().ok()).unwrap_or(0)
    }
}

/// A phone on an address and port of its own.
pub struct Phone {
    pub socket: UdpSocket,
    pub media: SideMedia,
    /// Where it says that it is.
    pub says: SocketAddr,
    pub ssrc: u32,
    pub sequence: u16,
}

impl Phone {
    pub fn new(bind: &str) -> Self {
        let socket = UdpSocket::bind(bind).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        let says = socket.local_addr().unwrap();
        let media = SideMedia {
            network: String::new(),
            signalling: says.ip(),
            comedia: false,
            source: RtpSource::Signalling,
            rtp_timeout: 0,
            rtp_hold_timeout: 0,
            ipv6: says.is_ipv6(),
        };
        let ssrc = u32::from(says.port()) << 8 | 7;
        Phone { socket, media, says, ssrc, sequence: 0 }
    }

    /// It says a private address; what comes from it comes from elsewhere.
    pub fn behind_nat(bind: &str) -> Self {
        let mut phone = Self::new(bind);
        phone.says = at("10.9.8.7:4000");
        phone.media.comedia = true;
        phone
    }

    pub fn sdp(&self) -> Bytes {
        sdp(self.says, "")
    }

    pub fn packet(&mut self) -> Vec<u8> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut packet = vec![0x80, 0];
        packet.extend(self.sequence.to_be_bytes());
        packet.extend((u32::from(self.sequence) * 160).to_be_bytes());
        packet.extend(self.ssrc.to_be_bytes());
        packet.resize(172, 0xd5);
        packet
    }

    pub fn send(&mut self, to: SocketAddr) {
        let packet = self.packet();
        self.socket.send_to(&packet, to).unwrap();
    }

    /// The SSRC and sequence number of the next packet, and where it came from.
    pub fn hear(&self) -> Option<(u32, u16, SocketAddr)> {
        let mut buffer = [0; 2048];
        let (length, from) = self.socket.recv_from(&mut buffer).ok()?;
        assert!(length == 172, "{length}");
        let ssrc = u32::from_be_bytes(buffer[8..12].try_into().unwrap());
        Some((ssrc, u16::from_be_bytes([buffer[2], buffer[3]]), from))
    }

    /// Nothing comes within a while.
    pub fn hears_nothing(&self) -> bool {
        self.socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let heard = self.socket.recv_from(&mut [0; 2048]);
        self.socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        heard.is_err()
    }
}

pub fn sdp(address: SocketAddr, more: &str) -> Bytes {
    let family = if address.is_ipv4() { "IP4" } else { "IP6" };
    let (ip, port) = (address.ip(), address.port());
    Bytes::from(format!(
        "v=0\r\no=- 1 1 IN {family} {ip}\r\ns=-\r\nc=IN {family} {ip}\r\nt=0 0\r\nm=audio {port} RTP/AVP 0 101\r\n\
         a=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\n{more}"
    ))
}

pub fn order(session: SessionRef, from: Side, sdp: &Bytes, a: &Phone, b: &Phone) -> SdpOrder {
    SdpOrder { session, from, sdp: sdp.clone(), a: a.media.clone(), b: b.media.clone() }
}

/// Where a description wants the audio.
pub fn audio_of(body: &[u8]) -> SocketAddr {
    sdp::Description::parse(body).unwrap().streams()[0].rtp().unwrap()
}

/// Waits until it is so.
pub async fn until(mut so: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(5);
    while !so() {
        assert!(Instant::now() < end, "it did not become so");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
