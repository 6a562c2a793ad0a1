//! Routing: who sent a request, whether it needs credentials, and whom it reaches.
//!
//! [`sender`] finds the peer a request comes from by chan_sip's rules; [`StaticAddresses`] is the table it looks
//! addresses up in; [`trusted`] tells pods from where somebody may come without credentials. [`targets`] says whom
//! a dialled name reaches and how, [`way`] how one binding is reached now, [`qualify`] what is asked of whom.
//! Nothing here reads a clock or a store.

mod addresses;
mod qualify;
mod sender;
mod targets;
mod trusted;
mod way;

#[cfg(test)]
mod bench;

pub use addresses::StaticAddresses;
pub use qualify::{qualify_binding, qualify_static};
pub use sender::{Matched, Sender, name_to_look_up, sender};
pub use targets::{Callee, Dialled, is_full, targets};
pub use trusted::trusted;
pub use way::{binding_way, contact_uri, static_uri, static_way};
