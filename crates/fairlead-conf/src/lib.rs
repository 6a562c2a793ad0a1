//! sip.conf to peers and settings, with diagnostics that name file and line.
//!
//! [`read`] reads a file and what it includes through a [`Loader`] that the caller hands in; nothing here opens a
//! file. Only broken syntax is an error ([`Broken`]); an option that is unknown, misspelt, wrong in value or not
//! yet honoured is a warning, and everything else holds.

mod comment;
mod diagnostic;
mod grammar;
mod include;
mod sip_conf;

pub use diagnostic::{Broken, Diagnostic, Severity};
pub use grammar::{Line, Section, sections};
pub use include::{Loader, Text, matches, no_includes};
pub use sip_conf::{SipConf, read, read_text};
