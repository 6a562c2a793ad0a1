//! What a description says of its streams, as far as a relay cares.

use std::net::{IpAddr, SocketAddr};

use fairlead_model::peer::RtpSource;
use fairlead_model::relay::{RelayRefused, SideMedia};
use rtp::{Learn, Payloads, Remote, Signalled};
use sdp::{Description, Direction, Format, Host, Profile};

use super::{MAX_STREAMS, bad};
use crate::ports::Places;

/// What a description says of a stream, as far as a relay cares.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    pub used: bool,
    pub secure: bool,
    pub remote: Remote,
    pub own: bool,
    pub not: Option<u16>,
    pub rtcp: Option<SocketAddr>,
    pub mux: bool,
    pub direction: Direction,
    pub payloads: Vec<(u8, u32)>,
}

impl Facts {
    /// It as an end of a stream wants it.
    pub fn signalled(&self, media: &SideMedia, payloads: &[(u8, u32)], mux: bool) -> Signalled {
        let learn = match (media.comedia, media.source) {
            (false, _) | (true, RtpSource::Signalled) => Learn::Never,
            (true, RtpSource::Signalling) => Learn::From(media.signalling.to_canonical()),
            (true, RtpSource::Any) => Learn::Anywhere,
        };
        Signalled {
            remote: self.remote,
            rtcp: self.rtcp.filter(|_| !mux),
            mux,
            // A port of this relay is where it is said to be.
            learn: if self.own { Learn::Never } else { learn },
            payloads: payloads.iter().copied().collect::<Payloads>(),
            untold: false,
            secure: self.secure,
            own: self.own,
            party: None,
        }
    }
}

/// Reads the streams of a description.
pub(super) fn facts(description: &Description<'_>, places: &Places) -> Result<Vec<Facts>, RelayRefused> {
    if description.streams().len() > MAX_STREAMS {
        return Err(bad(format!("the description has more than {MAX_STREAMS} streams")));
    }
    description
        .streams()
        .iter()
        .enumerate()
        .map(|(index, stream)| {
            let mut facts = Facts {
                used: !stream.is_refused() && stream.profile() != Profile::Other,
                secure: stream.profile() == Profile::Secure,
                remote: Remote::Unknown,
                own: false,
                not: None,
                rtcp: None,
                mux: stream.rtcp_mux(),
                direction: stream.direction(),
                payloads: stream.rtp_formats().iter().map(clock).collect(),
            };
            if !facts.used {
                return Ok(facts);
            }
            let address = match stream.connection().map(|connection| connection.host) {
                None => return Err(bad(format!("stream {index} has no c= line"))),
                Some(Host::Other(_)) => {
                    return Err(bad(format!("the address of stream {index} is no IP address")));
                }
                Some(Host::Address(address)) => address,
            };
            if address.is_multicast() || address == IpAddr::V4(std::net::Ipv4Addr::BROADCAST) {
                return Err(bad(format!("the address of stream {index} is not that of one host")));
            }
            if address.is_unspecified() {
                facts.remote = Remote::Zero;
                return Ok(facts);
            }
            let said = SocketAddr::new(address, stream.port);
            let (remote, own) = places.reach(said);
            facts.remote = Remote::At(remote);
            facts.own = own;
            facts.not = own.then_some(stream.port);
            facts.rtcp = stream
                .rtcp()
                .filter(|rtcp| {
                    rtcp.is_ipv4() == said.is_ipv4()
                        && !rtcp.ip().is_unspecified()
                        && !rtcp.ip().is_multicast()
                })
                .map(|rtcp| places.reach(rtcp).0);
            Ok(facts)
        })
        .collect()
}

/// Payload type and clock; keys pressed keep their time stamp while they are down (RFC 4733 §2.3), so it tells nothing.
fn clock(format: &Format<'_>) -> (u8, u32) {
    (format.payload, if format.is_event() { 0 } else { format.rate })
}

/// IPv6 or not, of all streams that have an address.
pub(super) fn family(facts: &[Facts]) -> Result<Option<bool>, RelayRefused> {
    let mut families = facts.iter().filter_map(|facts| match facts.remote {
        Remote::At(address) => Some(address.is_ipv6()),
        Remote::Unknown | Remote::Zero => None,
    });
    let first = families.next();
    if families.any(|family| Some(family) != first) {
        return Err(bad("the streams have addresses of both families"));
    }
    Ok(first)
}
