//! What whoever asks has to be allowed to, in Kubernetes' words: `create sippeers.fairlead.dev/prune in namespace sip`.

use std::fmt;

use super::Operation;
use fairlead_model::operator::PruneSelector;

/// The API group that permissions are given in.
pub const GROUP: &str = "fairlead.dev";

/// The resource that permissions are given on. Its subresources `channels`, `prune`, `unregister` and `qualify` exist
/// for permissions alone.
pub const RESOURCE: &str = "sippeers";

/// What a row needs: a verb on `sippeers` or on a subresource of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Needs {
    /// `get`, `list`, `create`.
    pub verb: &'static str,
    /// Empty for `sippeers` itself.
    pub subresource: &'static str,
}

impl Needs {
    /// To list peers and what is no single one.
    pub const LIST: Needs = Needs { verb: "list", subresource: "" };
    /// To see all of one peer.
    pub const GET: Needs = Needs { verb: "get", subresource: "" };
    /// To see who speaks with whom.
    pub const CHANNELS: Needs = Needs { verb: "list", subresource: "channels" };
    /// To make registrars forget what they have read.
    pub const PRUNE: Needs = Needs { verb: "create", subresource: "prune" };
    /// To end a registration.
    pub const UNREGISTER: Needs = Needs { verb: "create", subresource: "unregister" };
    /// To send OPTIONS.
    pub const QUALIFY: Needs = Needs { verb: "create", subresource: "qualify" };
}

/// What one operation needs, with the peer it is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Permission {
    /// What its row needs.
    pub needs: Needs,
    /// The SIP name of the peer, which a rule may name in its `resourceNames`; empty when it is about no single one.
    pub name: String,
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Needs { verb, subresource } = self.needs;
        write!(f, "{verb} {RESOURCE}.{GROUP}")?;
        if subresource.is_empty() { Ok(()) } else { write!(f, "/{subresource}") }
    }
}

impl Operation {
    /// What whoever asks for it has to be allowed to; `None` would be an operation without a row.
    pub fn permission(&self) -> Option<Permission> {
        let name = match self {
            Operation::ShowPeer { name, .. }
            | Operation::ShowUser { name, .. }
            | Operation::Unregister { name }
            | Operation::QualifyPeer { name, .. }
            | Operation::PruneRealtime(PruneSelector::Name(name)) => name.clone(),
            _ => String::new(),
        };
        self.row().map(|row| Permission { needs: row.needs, name })
    }
}

#[cfg(test)]
mod tests {
    use super::super::TABLE;
    use super::*;

    #[test]
    fn what_changes_something_needs_more_than_looking() {
        for row in TABLE {
            let looks = matches!(row.needs.verb, "get" | "list");
            assert_eq!(looks, row.verb == super::super::Verb::Get, "{}", row.words);
        }
    }

    #[test]
    fn a_permission_is_written_as_a_rule_would_give_it() {
        let of = |operation: Operation| operation.permission().unwrap();
        let unregister = of(Operation::Unregister { name: "ann".to_owned() });
        assert_eq!(unregister.to_string(), "create sippeers.fairlead.dev/unregister");
        assert_eq!(unregister.name, "ann");
        assert_eq!(of(Operation::ShowPeers { like: None }).to_string(), "list sippeers.fairlead.dev");
        let one = of(Operation::PruneRealtime(PruneSelector::Name("ann".to_owned())));
        assert_eq!((one.needs, one.name.as_str()), (Needs::PRUNE, "ann"));
        assert_eq!(of(Operation::PruneRealtime(PruneSelector::All)).name, "");
    }
}
