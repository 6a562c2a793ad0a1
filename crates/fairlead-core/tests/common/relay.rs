//! A relay that only remembers.

use super::*;

/// A relay that rewrites nothing but `o=` and remembers who has a session.
#[derive(Default)]
pub struct Relay {
    pub sessions: HashSet<SessionRef>,
    pub orders: Vec<&'static str>,
    pub full: bool,
    /// Sides that every offer came from, with what it said.
    pub seen: Vec<(fairlead_model::id::Side, Bytes)>,
    /// How both sides were to be served, A and B.
    pub sides: Vec<(SideMedia, SideMedia)>,
}

pub const RELAY: PodRef = PodRef(0xee);

impl Relay {
    pub fn carry_out(&mut self, order: RelayOrder) -> Result<RelayReply, RelayRefused> {
        match order {
            RelayOrder::Offer(order) => {
                self.orders.push("offer");
                if self.full {
                    return Err(RelayRefused::NoPort);
                }
                if !order.sdp.starts_with(b"v=0") {
                    return Err(RelayRefused::BadDescription("no description".to_owned()));
                }
                self.sessions.insert(order.session);
                self.seen.push((order.from, order.sdp.clone()));
                self.sides.push((order.a.clone(), order.b.clone()));
                Ok(described(&order.sdp))
            }
            RelayOrder::Answer(order) => {
                self.orders.push("answer");
                self.sides.push((order.a.clone(), order.b.clone()));
                self.seen.push((order.from, order.sdp.clone()));
                if !self.sessions.contains(&order.session) {
                    return Err(RelayRefused::UnknownSession);
                }
                Ok(described(&order.sdp))
            }
            RelayOrder::Withdraw(_) => {
                self.orders.push("withdraw");
                Ok(RelayReply::Done { missing: Vec::new() })
            }
            RelayOrder::Delete(session) => {
                self.orders.push("delete");
                self.sessions.remove(&session);
                Ok(RelayReply::Statistics(SessionStatistics { streams: Vec::new(), duration_ms: 1 }))
            }
            RelayOrder::Query(_) => Ok(RelayReply::Statistics(SessionStatistics::default())),
            RelayOrder::Renew(list) => {
                self.orders.push("renew");
                let missing = list.into_iter().filter(|session| !self.sessions.contains(session)).collect();
                Ok(RelayReply::Done { missing })
            }
        }
    }
}

fn described(sdp: &Bytes) -> RelayReply {
    let text = String::from_utf8_lossy(sdp);
    let hold = text.contains("a=sendonly") || text.contains("a=inactive");
    let lines: Vec<String> =
        text.split("\r\n")
            .map(|line| {
                if line.starts_with("o=") { "o=- 0 0 IN IP4 203.0.113.9".to_owned() } else { line.to_owned() }
            })
            .collect();
    RelayReply::Described(Described {
        relay: RELAY,
        sdp: Bytes::from(lines.join("\r\n")),
        narrowed: 0,
        hold,
        formats: vec!["ulaw".to_owned()],
    })
}
