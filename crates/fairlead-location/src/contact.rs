//! When two contacts are one: `+sip.instance` with `reg-id`, else the URI, and for peers reached by their flow
//! the URI together with the flow's remote address.

use fairlead_model::ask::ContactChange;
use fairlead_model::binding::{Binding, BindingKey};
use fairlead_model::flow::Flow;
use sip_wire::Uri;

/// How the contacts of one REGISTER are told apart.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Identity<'a> {
    /// The flow of the request.
    pub flow: &'a Flow,
    /// Its Call-ID.
    pub call_id: &'a str,
    /// force_rport is in effect: phones behind different NATs may use one private URI.
    pub by_remote: bool,
}

impl Identity<'_> {
    /// Whether this contact of the request is that binding.
    ///
    /// By URI and remote address, one phone would become two bindings when its NAT gives it a new port. Two signs
    /// show that it is the same phone nevertheless: the same Call-ID (RFC 3261 §10.2: one per boot), or the same
    /// `+sip.instance`.
    pub fn is(&self, contact: &ContactChange, uri: &Uri, binding: &Binding) -> bool {
        if let (Some(instance), Some(reg_id)) = (&contact.instance, contact.reg_id) {
            // RFC 5626 §6: with both, the URI does not matter.
            return binding.reg_id == Some(reg_id) && binding.instance.as_ref() == Some(instance);
        }
        if binding.reg_id.is_some() && binding.instance.is_some() {
            return false;
        }
        if !same_contact(uri, &binding.uri) {
            return false;
        }
        let same_instance = contact.instance.is_some() && contact.instance == binding.instance;
        let same_place =
            binding.flow.remote == self.flow.remote && binding.flow.transport == self.flow.transport;
        !self.by_remote || same_place || same_instance || binding.call_id == self.call_id
    }

    /// The key of a contact that is bound now for the first time.
    pub fn key(&self, contact: &ContactChange) -> BindingKey {
        BindingKey(match (&contact.instance, contact.reg_id) {
            (Some(instance), Some(reg_id)) => format!("instance {instance} {reg_id}"),
            _ if self.by_remote => {
                format!("flow {}:{} {}", self.flow.transport, self.flow.remote, contact.uri)
            }
            _ => format!("uri {}", contact.uri),
        })
    }
}

/// Whether two Contact URIs are equivalent (RFC 3261 §19.1.4).
pub fn same_contact(uri: &Uri, other: &str) -> bool {
    uri.as_str() == other || Uri::parse(other).is_ok_and(|other| uri.equivalent(&other))
}
