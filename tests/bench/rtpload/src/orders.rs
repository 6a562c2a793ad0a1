//! Calls for the load: ordered from a relay, or read from a file.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use bytes::Bytes;
use fairlead_model::id::{AttemptRef, CallRef, PodRef, ShardRef, Side};
use fairlead_model::member::Role;
use fairlead_model::peer::RtpSource;
use fairlead_model::relay::{Described, RelayOrder, RelayReply, SdpOrder, SessionRef, SideMedia};
use fairlead_proto::client::{RelayClient, connection};
use fairlead_proto::link::RelayPort;
use fairlead_proto::tls::PodTls;
use fairlead_proto::trace::TraceHooks;

use crate::Streams;
use crate::load::Call;

/// Sessions of a relay.
pub struct Ordered {
    relay: Arc<dyn RelayPort>,
    sessions: Vec<SessionRef>,
}

/// A relay elsewhere. Must be called inside a tokio runtime.
pub fn elsewhere(at: SocketAddr) -> Arc<dyn RelayPort> {
    Arc::new(RelayClient::new(connection(at, &PodTls::off(), Role::Media), TraceHooks::default()))
}

/// Orders the calls, each offered and answered.
pub async fn order(relay: Arc<dyn RelayPort>, streams: &Streams) -> anyhow::Result<(Ordered, Vec<Call>)> {
    let pod = PodRef::from_random(u64::from(std::process::id()) << 16);
    let (mut sessions, mut calls) = (Vec::new(), Vec::new());
    for number in 0..streams.calls {
        let (a, b) = streams.phones(number)?;
        let call = CallRef { pod, shard: ShardRef(0), number: number as u64 + 1 };
        let session = SessionRef { call, attempt: AttemptRef(0) };
        sessions.push(session);
        let sides = (side(a.local_addr()?.ip()), side(b.local_addr()?.ip()));
        let order =
            |from, sdp| Box::new(SdpOrder { session, from, sdp, a: sides.0.clone(), b: sides.1.clone() });
        let offered = relay.order(RelayOrder::Offer(order(Side::A, describe(a.local_addr()?)))).await;
        let for_b = address(described(offered)?)?;
        let answered = relay.order(RelayOrder::Answer(order(Side::B, describe(b.local_addr()?)))).await;
        let for_a = address(described(answered)?)?;
        a.connect(for_a)?;
        b.connect(for_b)?;
        calls.push(Call { a, b });
    }
    Ok((Ordered { relay, sessions }, calls))
}

impl Ordered {
    /// Ends the calls and prints what the relay says of them.
    pub async fn delete(self) -> anyhow::Result<()> {
        let (mut received, mut sent, mut lost, mut dropped, mut jitter) = (0, 0, 0, 0, 0);
        for session in self.sessions {
            let RelayReply::Statistics(statistics) = self.relay.order(RelayOrder::Delete(session)).await?
            else {
                bail!("the relay had lost a session");
            };
            for stream in statistics.streams {
                received += stream.packets;
                sent += stream.sent;
                lost += stream.lost;
                dropped += stream.dropped;
                jitter = jitter.max(stream.jitter_us);
            }
        }
        println!(
            "relay says: received={received} sent={sent} lost={lost} dropped={dropped} worst_jitter_us={jitter}"
        );
        Ok(())
    }
}

fn side(signalling: IpAddr) -> SideMedia {
    SideMedia {
        network: String::new(),
        signalling,
        comedia: false,
        source: RtpSource::Signalled,
        rtp_timeout: 0,
        rtp_hold_timeout: 0,
        ipv6: signalling.is_ipv6(),
    }
}

fn describe(at: SocketAddr) -> Bytes {
    let family = if at.is_ipv4() { "IP4" } else { "IP6" };
    let (ip, port) = (at.ip(), at.port());
    format!(
        "v=0\r\no=- 1 1 IN {family} {ip}\r\ns=-\r\nc=IN {family} {ip}\r\nt=0 0\r\nm=audio {port} RTP/AVP 0\r\n\
         a=rtpmap:0 PCMU/8000\r\na=ptime:20\r\n"
    )
    .into()
}

fn described(reply: Result<RelayReply, fairlead_model::relay::RelayRefused>) -> anyhow::Result<Described> {
    match reply.context("the relay refused")? {
        RelayReply::Described(described) => Ok(described),
        other => bail!("the relay replied {other:?}"),
    }
}

fn address(described: Described) -> anyhow::Result<SocketAddr> {
    let description = sdp::Description::parse(&described.sdp)?;
    description.streams().first().and_then(sdp::Stream::rtp).context("no audio in the relay's description")
}

/// Sets up and ends as many calls, some at a time; no RTP.
pub async fn churn(relay: Arc<dyn RelayPort>, streams: &Streams) -> anyhow::Result<()> {
    const AT_ONCE: usize = 50;
    let mut left = streams.calls;
    while left > 0 {
        let some = Streams { calls: left.min(AT_ONCE), ..*streams };
        let (ordered, _) = order(relay.clone(), &some).await?;
        for session in ordered.sessions {
            ordered.relay.order(RelayOrder::Delete(session)).await?;
        }
        left -= some.calls;
    }
    Ok(())
}

/// Reads `a_ip a_port relay_ip relay_port b_ip b_port relay_ip relay_port` lines.
pub fn read(map: &Path) -> anyhow::Result<Vec<Call>> {
    let text = std::fs::read_to_string(map).with_context(|| format!("could not read {}", map.display()))?;
    let mut calls = Vec::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [a, a_port, at_a, at_a_port, b, b_port, at_b, at_b_port] = words[..] else {
            bail!("not a call: {line}");
        };
        let address = |ip: &str, port: &str| -> anyhow::Result<SocketAddr> {
            Ok(SocketAddr::new(ip.parse()?, port.parse()?))
        };
        let (one, other) = (UdpSocket::bind(address(a, a_port)?)?, UdpSocket::bind(address(b, b_port)?)?);
        one.connect(address(at_a, at_a_port)?)?;
        other.connect(address(at_b, at_b_port)?)?;
        calls.push(Call { a: one, b: other });
    }
    Ok(calls)
}
