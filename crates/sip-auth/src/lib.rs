//! Digest authentication of SIP: challenges, nonces, verification and answers (RFC 8760, RFC 7616, RFC 2617,
//! RFC 3261 §22).
//!
//! Pure: random bits are handed in, keys are handed in, nothing asks a clock.
//!
//! * Who challenges: [`Challenger::challenge`] gives the header values, [`Challenger::check_nonce`] says whether a
//!   nonce is one of ours.
//! * Who knows secrets: [`Credentials::pick`] reads the answer, [`verify`] judges it, [`NonceUse`] counts.
//! * Who is challenged: [`answer`].

mod algorithm;
mod answer;
mod challenge;
mod credentials;
mod digest;
mod nonce;
mod nonce_use;
mod secret;
mod verify;

pub use algorithm::Algorithm;
pub use answer::{Answer, Answering, CannotAnswer, answer};
pub use challenge::{Challenge, Challenger, Place};
pub use credentials::{BadCredentials, Credentials, Qop};
pub use nonce::{NonceId, NonceKey, NonceKeys, NonceState};
pub use nonce_use::{NonceUse, Use};
pub use secret::{Secret, ha1};
pub use verify::{Expected, Rejected, verify};
