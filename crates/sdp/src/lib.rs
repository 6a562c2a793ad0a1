//! Session descriptions: reading them, the rules of offer and answer, and rewriting for a relay
//! (RFC 8866, RFC 3264).
//!
//! A [`Description`] borrows the body it was read from and keeps every line as received, so what is not
//! rewritten on purpose leaves byte for byte. [`Rewrite`] says what changes on the way through a relay,
//! [`narrow`] holds an answer to its offer, [`stamp_origin`] writes our session id and version.
//!
//! ```
//! let body = b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n\
//!     m=audio 4000 RTP/AVP 0\r\na=sendonly\r\n";
//! let description = sdp::Description::parse(body)?;
//! assert_eq!(description.formats(), ["ulaw"]);
//! assert!(description.is_hold());
//! # Ok::<(), sdp::Malformed>(())
//! ```

mod address;
mod codec;
mod description;
mod direction;
mod line;
mod malformed;
pub mod narrow;
mod origin;
mod rewrite;

pub use address::{Connection, Host};
pub use codec::Format;
pub use description::{Description, MAX_BYTES, MAX_STREAMS, Profile, Stream};
pub use direction::Direction;
pub use line::Line;
pub use malformed::Malformed;
pub use origin::{Origin, stamp_origin};
pub use rewrite::{Rewrite, StreamRewrite};
