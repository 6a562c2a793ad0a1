//! How bindings end without a REGISTER.

use fairlead_model::binding::{Binding, BindingKey};
use fairlead_model::flow::Flow;
use fairlead_model::id::UnixMillis;
use fairlead_model::peer::{GeneralFull, RuntimeColumns};

use crate::columns::runtime_columns;

/// Bindings that are to be removed, and what remains.
#[derive(Clone, Debug, PartialEq)]
pub struct Ending {
    /// These go. Empty: nothing is to be done.
    pub removed: Vec<Binding>,
    /// These stay.
    pub left: Vec<Binding>,
    /// What the peer's row says then.
    pub columns: RuntimeColumns,
}

impl Ending {
    fn where_(
        bindings: &[Binding],
        general: &GeneralFull,
        now: UnixMillis,
        goes: impl Fn(&Binding) -> bool,
    ) -> Ending {
        let (removed, left): (Vec<_>, Vec<_>) = bindings.iter().cloned().partition(goes);
        let columns = runtime_columns(&left, general, now);
        Ending { removed, left, columns }
    }

    /// Whether the peer had contacts and has none now (`PeerStatus: Unregistered`).
    pub fn is_unregistered(&self) -> bool {
        !self.removed.is_empty() && self.left.is_empty()
    }
}

/// Those whose time is over.
pub fn expired(bindings: &[Binding], general: &GeneralFull, now: UnixMillis) -> Ending {
    Ending::where_(bindings, general, now, |binding| binding.expires_at <= now)
}

/// Those that lived on a connection that closed. A binding that a newer flow took over in the meantime stays,
/// as does one without a connection.
pub fn closed(bindings: &[Binding], flow: &Flow, general: &GeneralFull, now: UnixMillis) -> Ending {
    Ending::where_(bindings, general, now, |binding| {
        flow.connection.is_some()
            && binding.flow.connection == flow.connection
            && binding.flow.pod == flow.pod
            && binding.flow.transport == flow.transport
    })
}

/// Those that the operator takes away: one contact, or all.
pub fn unregistered(
    bindings: &[Binding],
    which: Option<&BindingKey>,
    general: &GeneralFull,
    now: UnixMillis,
) -> Ending {
    Ending::where_(bindings, general, now, |binding| which.is_none_or(|key| binding.key == *key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::{NOW, binding};
    use fairlead_model::flow::Transport;
    use fairlead_model::id::ConnectionRef;

    fn keys(bindings: &[Binding]) -> Vec<&str> {
        bindings.iter().map(|binding| binding.key.0.as_str()).collect()
    }

    fn on_connection(key: &str, number: u64) -> Binding {
        let mut binding = binding(key);
        binding.flow.transport = Transport::Tcp;
        binding.flow.connection = Some(ConnectionRef(number));
        binding
    }

    #[test]
    fn time_ends_them_one_by_one() {
        let over = Binding { expires_at: NOW, ..binding("over") };
        let ending = expired(&[over, binding("live")], &GeneralFull::default(), NOW);
        assert_eq!((keys(&ending.removed), keys(&ending.left)), (vec!["over"], vec!["live"]));
        assert!(!ending.is_unregistered());
        assert_eq!(ending.columns.ipaddr, "192.0.2.7");
    }

    #[test]
    fn a_closing_connection_never_removes_what_a_newer_flow_owns() {
        let bindings = [on_connection("old", 4), on_connection("new", 5), binding("udp")];
        let ending = closed(&bindings, &bindings[0].flow, &GeneralFull::default(), NOW);
        assert_eq!(keys(&ending.removed), ["old"]);
        let udp = closed(&bindings, &bindings[2].flow, &GeneralFull::default(), NOW);
        assert_eq!(keys(&udp.removed), [""; 0], "a datagram's flow does not close");
    }

    #[test]
    fn the_operator_takes_one_or_all() {
        let bindings = [binding("a"), binding("b")];
        let one = unregistered(&bindings, Some(&BindingKey("b".to_owned())), &GeneralFull::default(), NOW);
        assert_eq!(keys(&one.removed), ["b"]);
        let all = unregistered(&bindings, None, &GeneralFull::default(), NOW);
        assert!(all.is_unregistered());
        assert_eq!(all.columns, RuntimeColumns::default());
        assert!(!unregistered(&[], None, &GeneralFull::default(), NOW).is_unregistered());
    }
}
