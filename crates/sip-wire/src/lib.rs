//! SIP messages as bytes: framing, indexing, reading, editing and writing (RFC 3261 section 7, 25).
//!
//! [`Message::parse`] (a datagram) and [`StreamFramer`] (a stream) find the lines of a message in one pass and copy
//! nothing; readers such as [`Message::from`], [`Message::top_via`] or [`Message::contacts`] read a value when somebody
//! asks. [`RequestWriter`], [`ResponseWriter`] and [`Editor`] write. Nothing here panics on what a peer sends.
//!
//! ```
//! use sip_wire::{Header, Message};
//!
//! let octets = "OPTIONS sip:bob@example.com SIP/2.0\r\nv: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\n\
//!     f: <sip:alice@example.com>;tag=a1\r\nt: <sip:bob@example.com>\r\ni: 42\r\nCSeq: 1 OPTIONS\r\n\r\n";
//! let request = Message::parse(octets.into())?;
//! request.check_mandatory()?;
//! assert_eq!(request.from_tag(), Some("a1"));
//! assert_eq!(request.top_via()?.branch.as_deref(), Some("z9hG4bK1"));
//!
//! let response = request.response(200, "OK").to_tag("b2").header(Header::Allow, "OPTIONS").finish();
//! assert!(response.starts_with(b"SIP/2.0 200 OK\r\nv: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\n"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod auth_params;
mod check;
mod convert;
mod editor;
mod framer;
mod header;
mod index;
mod limits;
mod malformed;
mod message;
mod method;
mod name_addr;
pub mod params;
mod read;
mod response;
mod scan;
mod status;
mod text;
mod uri;
mod uri_compare;
mod via;
mod writer;

pub use convert::NotInRsip;
pub use editor::Editor;
pub use framer::{Frame, StreamFramer};
pub use header::Header;
pub use limits::{Limits, MAX_VALUES};
pub use malformed::{Malformed, MalformedReason};
pub use message::{Message, is_keep_alive};
pub use method::Method;
pub use name_addr::{BadNameAddr, NameAddr, NameAddrView};
pub use params::{AuthParams, Params, quote, unquote};
pub use read::{CSeq, Contacts};
pub use response::ResponseWriter;
pub use scan::ListValues;
pub use status::default_reason;
pub use text::Text;
pub use uri::{BadUri, Uri, escape_user, unescape};
pub use via::{BadVia, Via, ViaView};
pub use writer::RequestWriter;
