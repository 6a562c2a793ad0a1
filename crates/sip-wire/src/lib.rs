//! SIP messages as bytes: framing, indexing, reading, editing and writing (RFC 3261 section 7, 25).
//!
//! [`Message::parse`] (a datagram) and [`StreamFramer`] (a stream) find the lines of a message in one pass and copy
//! nothing; readers such as [`Message::from`], [`Message::top_via`] or [`Message::contacts`] read a value when somebody
//! asks. [`RequestWriter`], [`ResponseWriter`] and [`Editor`] write. Nothing here panics on what a peer sends.

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
