//! What is said between the tests and the phones.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

/// A line to the phones.
#[derive(Debug, Serialize, Deserialize)]
pub struct Request {
    /// Comes back with the answer; answers come in any order.
    pub id: u64,
    /// What is wanted.
    pub ask: Ask,
}

/// A line from the phones.
#[derive(Debug, Serialize, Deserialize)]
pub struct Reply {
    /// That of the request.
    pub id: u64,
    /// What came of it.
    pub answer: Answer,
}

/// What the phones can be asked.
#[derive(Debug, Serialize, Deserialize)]
pub enum Ask {
    /// Plug in a phone. One of the same name is unplugged.
    Add(NewPhone),
    /// End every call, whatever comes of it: a test has failed and another begins.
    HangUpAll,
    /// Something of one phone.
    To {
        /// Its name.
        name: String,
        /// What.
        tell: Tell,
    },
}

/// A phone.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NewPhone {
    /// SIP name.
    pub name: String,
    /// Password.
    pub password: String,
    /// Where it sends SIP.
    pub edge: SocketAddr,
    /// Its own address; unspecified: the one that the edge is reached from.
    pub ip: Option<IpAddr>,
    /// Whether it keeps its NAT binding open; one that registers again and again need not.
    pub keeps_alive: bool,
}

/// What one phone can be told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Tell {
    /// Register for so many seconds (0: unregister); answered with the final status.
    Register(u32),
    /// Call somebody; answered when the call is up or refused. RTP goes out from then on.
    Call(String),
    /// Answer calls after so many milliseconds, with RTP.
    Answering(u64),
    /// Re-INVITE with this direction (`inactive`, `sendrecv`); RTP goes out only with `sendrecv`.
    Direction(String),
    /// Be `inactive` or `sendrecv` oneself when the other side re-INVITEs, and now.
    Expect(String),
    /// Begin to count anew: what is sent from now on bears this number.
    Chapter(u32),
    /// Stop sending RTP, the call goes on.
    Hush,
    /// BYE.
    HangUp,
    /// What was sent and heard in this chapter, and where things are.
    Count(u32),
    /// Send SIP to another address from now on.
    Edge(SocketAddr),
    /// The head of the last final response that was no 2xx and no challenge.
    Refusal,
}

/// What came of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Answer {
    /// It is done.
    Done,
    /// The final status (408 when none came) and how long it took.
    Status {
        /// Status code.
        status: u16,
        /// Milliseconds.
        ms: u64,
    },
    /// Figures of a phone.
    Counted(Counted),
    /// The head of a message.
    Head(String),
    /// It could not be done.
    Error(String),
}

/// Figures of one phone in one chapter.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Counted {
    /// RTP packets sent.
    pub sent: u64,
    /// Different packets heard that the other phone sent in this chapter.
    pub heard: u64,
    /// Packets heard more than once.
    pub doubled: u64,
    /// The longest time between two packets heard, in milliseconds.
    pub longest_gap_ms: u64,
    /// RTP packets of this chapter that were nothing of ours (keep-alives and comfort noise of a relay).
    pub foreign: u64,
    /// Packets dropped since the phone was plugged in because it never sent to their source.
    pub uninvited: u64,
    /// Calls that are up or ringing.
    pub live: usize,
    /// Calls that ended by a BYE of the other side or a refusal.
    pub ended: usize,
    /// Where RTP goes.
    pub relay: Option<SocketAddr>,
    /// Status of the last re-INVITE or BYE.
    pub last_status: Option<u16>,
}
