//! Questions of a signaling shard to the registrar, and the answers.
//!
//! Many travel on one stream, in batches, with an [`AskRef`] each. Every one has a deadline and an
//! [`IdempotencyKey`]: asked again, of whichever registrar, it acts once and answers the same.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::binding::{BindingKey, Qualify};
use crate::checkpoint::CheckpointRecord;
use crate::flow::{Flow, Hop};
use crate::id::{CallRef, PodRef, UnixMillis};
use crate::peer::{EffectiveNat, RtpSource};

/// Pairs an answer with its question, within one asker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AskRef(pub u64);

/// A hash over method, branch, Call-ID, CSeq and source of the request that led to the question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IdempotencyKey(pub u128);

/// A question with what the stream needs to carry it.
#[derive(Clone, Debug, PartialEq)]
pub struct Envelope {
    /// Names it.
    pub id: AskRef,
    /// Makes it act once.
    pub key: IdempotencyKey,
    /// How long the asker waits, counted from sending.
    pub deadline: Duration,
    /// The question.
    pub ask: Ask,
}

/// What can be asked.
#[derive(Clone, Debug, PartialEq)]
pub enum Ask {
    /// A REGISTER with credentials (or from a source that needs none).
    Register(Box<RegisterRequest>),
    /// May this request come in, who is it, and where does it go?
    Admit(Box<AdmitRequest>),
    /// Who holds the call that began with this Call-ID and From-tag? (a CANCEL without a transaction)
    Owner {
        /// Call-ID of the request.
        call_id: String,
        /// Its From-tag.
        from_tag: String,
    },
    /// The call that began with this is confirmed or gone: its first request need not be remembered.
    Disown {
        /// Call-ID of the first INVITE.
        call_id: String,
        /// Its From-tag.
        from_tag: String,
        /// Whose entry it is.
        call: CallRef,
    },
    /// Where is this binding now? Asked before an in-dialog request to a registered phone.
    Locate {
        /// The peer.
        peer: String,
        /// The contact.
        key: BindingKey,
    },
    /// This leg's call slots are free again.
    Release {
        /// The call that held them.
        call: CallRef,
    },
    /// Take one more slot, for the callee whom the call reaches now.
    Occupy {
        /// The call.
        call: CallRef,
        /// The peer whose limit counts.
        peer: String,
    },
    /// Ringing, up or held: what `sip show inuse` counts.
    Usage {
        /// The call.
        call: CallRef,
        /// The peer.
        peer: String,
        /// What it does now.
        usage: Usage,
    },
    /// An established call as it is now, or `record: None` when it is over.
    Checkpoint {
        /// The call.
        call: CallRef,
        /// Its state.
        record: Option<CheckpointRecord>,
    },
    /// What qualify found.
    Qualified {
        /// The peer.
        peer: String,
        /// The contact; `None` for a static peer's address.
        key: Option<BindingKey>,
        /// The result.
        result: Qualify,
    },
    /// Which contacts this pod has to qualify (those whose flow it owns, and its share of static peers).
    QualifyList,
    /// A packet with the transport and source of somebody's flow came here.
    MoveFlow {
        /// As this pod sees it.
        flow: Flow,
    },
    /// Answer a challenge that was sent to us (static peers only, one realm, for requests we began).
    AnswerChallenge(Box<ChallengeToAnswer>),
}

impl Ask {
    /// The kind of question, as metrics and traces name it.
    pub const fn word(&self) -> &'static str {
        match self {
            Ask::Register(_) => "register",
            Ask::Admit(_) => "admit",
            Ask::Owner { .. } => "owner",
            Ask::Disown { .. } => "disown",
            Ask::Locate { .. } => "locate",
            Ask::Release { .. } => "release",
            Ask::Occupy { .. } => "occupy",
            Ask::Usage { .. } => "usage",
            Ask::Checkpoint { .. } => "checkpoint",
            Ask::Qualified { .. } => "qualified",
            Ask::QualifyList => "qualify_list",
            Ask::MoveFlow { .. } => "move_flow",
            Ask::AnswerChallenge(_) => "answer_challenge",
        }
    }
}

/// Credentials as a request carried them, not judged yet.
#[derive(Clone, Debug, PartialEq)]
pub struct Credentials {
    /// The values of all Authorization and Proxy-Authorization headers, as received.
    pub values: Vec<String>,
    /// The method.
    pub method: String,
    /// The Request-URI, as received.
    pub uri: String,
}

/// A REGISTER, read and checked for form (RFC 3261 §10.3).
#[derive(Clone, Debug, PartialEq)]
pub struct RegisterRequest {
    /// User part of the To URI, unescaped; the name of the peer.
    pub user: String,
    /// Host of the To URI.
    pub host: String,
    /// What is to be changed.
    pub contacts: Contacts,
    /// The Expires header, seconds.
    pub expires: Option<u32>,
    /// Path values, topmost first.
    pub path: Vec<String>,
    /// Call-ID.
    pub call_id: String,
    /// CSeq number.
    pub cseq: u32,
    /// User-Agent, empty when absent.
    pub user_agent: String,
    /// The flow it came by.
    pub flow: Flow,
    /// Whether the top Via names another address than the packet came from (the auto values of `nat`).
    pub via_differs: bool,
    /// Whether the top Via asked for `rport`.
    pub asked_rport: bool,
    /// Whether the request offers `path` in Supported.
    pub supports_path: bool,
    /// Credentials, if any.
    pub credentials: Option<Credentials>,
    /// When the shard received it, by its own clock; only for traces.
    pub received_at: UnixMillis,
}

/// The Contact headers of a REGISTER.
#[derive(Clone, Debug, PartialEq)]
pub enum Contacts {
    /// None: a query.
    Query,
    /// `*`: remove all.
    Star,
    /// These.
    List(Vec<ContactChange>),
}

/// One Contact of a REGISTER.
#[derive(Clone, Debug, PartialEq)]
pub struct ContactChange {
    /// The URI inside the brackets.
    pub uri: String,
    /// The whole value without its `expires` parameter.
    pub value: String,
    /// Its own `expires` parameter, seconds.
    pub expires: Option<u32>,
    /// Its `q` in thousandths.
    pub q: Option<u16>,
    /// `+sip.instance` without quotes.
    pub instance: Option<String>,
    /// `reg-id`.
    pub reg_id: Option<u32>,
}

/// A request that wants in: the first INVITE of a call, or another request out of dialog that needs an identity.
#[derive(Clone, Debug, PartialEq)]
pub struct AdmitRequest {
    /// The method.
    pub method: String,
    /// Under which name the call will run here, and its slots.
    pub call: CallRef,
    /// Call-ID, From-tag, CSeq and branch: one first request has one owner.
    pub call_id: String,
    /// From-tag.
    pub from_tag: String,
    /// CSeq number.
    pub cseq: u32,
    /// Branch of the top Via.
    pub branch: String,
    /// The flow it came by.
    pub flow: Flow,
    /// Whether the top Via names another address than the packet came from.
    pub via_differs: bool,
    /// User part of From, unescaped.
    pub from_user: String,
    /// Host of From.
    pub from_host: String,
    /// Display name of From, unquoted.
    pub from_display: String,
    /// User part of the Request-URI, unescaped.
    pub target_user: String,
    /// Host of the Request-URI.
    pub target_host: String,
    /// Credentials, if any.
    pub credentials: Option<Credentials>,
}

/// A challenge that came back for a request of ours.
#[derive(Clone, Debug, PartialEq)]
pub struct ChallengeToAnswer {
    /// The static peer the request went to.
    pub peer: String,
    /// The values of all WWW-Authenticate (or Proxy-Authenticate) headers of the response.
    pub challenges: Vec<String>,
    /// The method of our request.
    pub method: String,
    /// Its Request-URI.
    pub uri: String,
    /// Client nonce to use, 16 hexadecimal digits.
    pub cnonce: String,
    /// How often this nonce has been used with this one, from 1.
    pub nc: u32,
}

/// An answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// REGISTER succeeded.
    Registered(Registered),
    /// Credentials are missing, wrong in form or old: challenge (again).
    Challenge {
        /// The digest held but its nonce is used up or too old (RFC 7616 §3.3).
        stale: bool,
    },
    /// No, with the status to send.
    Refused(Refusal),
    /// Come in.
    Admitted(Box<Admitted>),
    /// That call is another pod's: pass the message on.
    Owned {
        /// Whose.
        pod: PodRef,
        /// Its call.
        call: CallRef,
    },
    /// Nobody has it.
    NotOwned,
    /// Where a binding is now; `None` when it is gone.
    Located(Option<Hop>),
    /// Contacts to qualify.
    QualifyList(Vec<QualifyTarget>),
    /// The header value that answers a challenge, and the name of the header it goes into.
    ChallengeAnswered {
        /// Value of Authorization or Proxy-Authorization.
        value: String,
    },
    /// Nothing to say but that it was done.
    Done,
}

/// A refusal with all that its response needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refusal {
    /// SIP status, 400 to 699.
    pub status: u16,
    /// Reason phrase.
    pub phrase: String,
    /// Retry-After, seconds.
    pub retry_after: Option<u32>,
    /// Min-Expires, seconds (423).
    pub min_expires: Option<u32>,
}

impl Refusal {
    /// A refusal without further headers.
    pub fn new(status: u16, phrase: impl Into<String>) -> Self {
        Refusal { status, phrase: phrase.into(), retry_after: None, min_expires: None }
    }
}

/// What the 200 of a REGISTER says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Registered {
    /// Every contact that is bound now: its value as its phone sent it and the seconds it has left.
    pub contacts: Vec<(String, u32)>,
    /// The Path to be echoed, when it is in use.
    pub path: Vec<String>,
    /// Whether the peer is qualified: the pod asks for its list again.
    pub qualify: bool,
}

/// A request that came in, and where it goes.
#[derive(Clone, Debug, PartialEq)]
pub struct Admitted {
    /// Who is calling.
    pub caller: LegPolicy,
    /// The caller's binding by whose flow the request came, to find its flow again; `None` for who is not registered.
    pub binding: Option<BindingKey>,
    /// Whom to try, in order; never empty for an INVITE.
    pub targets: Vec<Target>,
}

/// What one leg of a call is treated by: the part of a peer that signaling needs. Holds no secret.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LegPolicy {
    /// Name of the peer, or `None` for a guest.
    pub peer: Option<String>,
    /// The NAT settings in effect.
    pub nat: EffectiveNat,
    /// Where RTP may come from.
    pub rtp_source: RtpSource,
    /// Hang up after this long without RTP; 0 never. Seconds.
    pub rtp_timeout: u32,
    /// The same while on hold.
    pub rtp_hold_timeout: u32,
    /// `"name" <number>` to show for this peer when it calls; empty parts are taken from its From.
    pub caller_name: String,
    /// Number of the caller id.
    pub caller_number: String,
    /// User part of From when we call it (`fromuser`).
    pub from_user: Option<String>,
    /// Host of From when we call it (`fromdomain`).
    pub from_domain: Option<String>,
    /// Whether it is a static peer whose challenges the registrar may answer.
    pub answers_challenges: bool,
    /// End the call after this long; 0 never. Seconds.
    pub max_duration: u32,
    /// T1 for requests to it, milliseconds.
    pub t1_ms: u32,
    /// Its calls are not counted: it needs no slot, and nobody is told what it does.
    #[serde(default)]
    pub uncounted: bool,
}

/// One contact to try.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Target {
    /// How its leg is treated.
    pub policy: LegPolicy,
    /// The Request-URI.
    pub uri: String,
    /// Route headers to put in front (the Path of its registration), topmost first.
    pub route: Vec<String>,
    /// Where the INVITE goes.
    pub hop: Hop,
    /// The binding, to find its flow again; `None` for a static peer.
    pub binding: Option<BindingKey>,
    /// How long it may ring before the next contact is tried. Seconds.
    pub ring_time: u32,
}

/// What a leg does, as `sip show inuse` counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Usage {
    /// Being called.
    Ringing,
    /// In a call.
    Up,
    /// In a call that it, or the other side, holds.
    OnHold,
}

/// One contact that this pod qualifies.
#[derive(Clone, Debug, PartialEq)]
pub struct QualifyTarget {
    /// The peer.
    pub peer: String,
    /// The contact; `None` for a static peer.
    pub key: Option<BindingKey>,
    /// Request-URI of the OPTIONS.
    pub uri: String,
    /// Route headers.
    pub route: Vec<String>,
    /// Where it goes.
    pub hop: Hop,
    /// Answers within this are `OK`, milliseconds.
    pub limit_ms: u32,
    /// Interval while reachable, seconds.
    pub every: u32,
    /// What is known.
    pub last: Qualify,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskFailed {
    /// No registrar could be asked.
    #[error("no registrar can be reached")]
    Unreachable,
    /// None answered in time.
    #[error("the registrar did not answer in time")]
    Deadline,
    /// The registrar sheds load.
    #[error("the registrar is overloaded")]
    Overloaded,
    /// The registrar does not know this question (an older release).
    #[error("the registrar does not know this question")]
    Unknown,
}
