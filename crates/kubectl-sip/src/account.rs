//! As whom admin is asked: three ServiceAccounts that the chart makes, by what they may.

use fairlead_admin::operation::{Needs, Operation};

/// One of them, from the least to the most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Account {
    /// Looks.
    Viewer,
    /// Looks, unregisters and qualifies.
    Agent,
    /// Does everything.
    Admin,
}

impl Account {
    /// All, from the least to the most.
    pub const ALL: [Account; 3] = [Account::Viewer, Account::Agent, Account::Admin];

    /// By the end of its name.
    pub fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|account| account.word() == word)
    }

    /// The end of its name.
    pub const fn word(self) -> &'static str {
        match self {
            Account::Viewer => "viewer",
            Account::Agent => "agent",
            Account::Admin => "admin",
        }
    }

    /// The least that may do this, as the chart's Roles say.
    pub fn least_for(operation: &Operation) -> Self {
        match operation.permission().map(|permission| permission.needs) {
            Some(Needs { verb: "get" | "list", .. }) => Account::Viewer,
            Some(Needs::UNREGISTER | Needs::QUALIFY) => Account::Agent,
            _ => Account::Admin,
        }
    }
}

#[cfg(test)]
mod tests {
    use fairlead_admin::operation::TABLE;

    use super::*;

    #[test]
    fn the_least_that_may_is_asked_for() {
        let of = |words: &str| {
            let words: Vec<_> = words.split(' ').collect();
            match fairlead_admin::words::parse(&words) {
                fairlead_admin::words::Meaning::Do(operation) => Account::least_for(&operation),
                other => unreachable!("{other:?}"),
            }
        };
        for line in ["show peers", "show peer ann", "show channels", "show pods", "address", "doctor"] {
            assert_eq!(of(line), Account::Viewer, "{line}");
        }
        for line in ["unregister ann", "qualify peer ann"] {
            assert_eq!(of(line), Account::Agent, "{line}");
        }
        for line in ["prune realtime all", "reindex"] {
            assert_eq!(of(line), Account::Admin, "{line}");
        }
        assert!(TABLE.iter().all(|row| !row.needs.verb.is_empty()));
    }
}
