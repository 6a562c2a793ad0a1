//! The one table of operations. Words, REST and OpenAPI are read off it; gRPC's methods name its rows.
//!
//! To add an operation: a variant of [`Operation`], a row in [`TABLE`], an answer in [`crate::engine`], a layout in
//! [`crate::table`].

mod permission;
mod rows;

use std::collections::BTreeMap;

use fairlead_model::operator::PruneSelector;

pub use permission::{GROUP, Needs, Permission, RESOURCE};
pub use rows::TABLE;

/// What an operator can ask for or do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// `sip show peers [like RE]`
    ShowPeers {
        /// Only names that this matches.
        like: Option<String>,
    },
    /// `sip show peer NAME [load]`
    ShowPeer {
        /// The name.
        name: String,
        /// Look into the store too.
        load: bool,
    },
    /// `sip show users [like RE]`
    ShowUsers {
        /// Only names that this matches.
        like: Option<String>,
    },
    /// `sip show user NAME [load]`
    ShowUser {
        /// The name.
        name: String,
        /// Look into the store too.
        load: bool,
    },
    /// `sip show channels`
    ShowChannels,
    /// `sip show channel PREFIX`
    ShowChannel {
        /// How its Call-ID begins.
        prefix: String,
    },
    /// `sip show channelstats`
    ShowChannelStats,
    /// `sip show bridged`
    ShowBridged,
    /// `sip show inuse [all]`
    ShowInUse {
        /// Also peers without a limit.
        all: bool,
    },
    /// `sip prune realtime …`
    PruneRealtime(PruneSelector),
    /// `sip unregister NAME`
    Unregister {
        /// The name.
        name: String,
    },
    /// `sip qualify peer NAME [load]`
    QualifyPeer {
        /// The name.
        name: String,
        /// Look into the store too.
        load: bool,
    },
    /// `sip show pods`
    ShowPods,
    /// `fairlead reindex`
    Reindex,
    /// `sip address`
    Address,
    /// `sip doctor`
    Doctor,
}

/// Values by the name of their parameter, as REST carries them.
pub type Arguments = BTreeMap<&'static str, String>;

/// How REST asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// It only looks.
    Get,
    /// It changes something.
    Post,
}

/// Where a parameter stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the path.
    Path,
    /// In the query, text.
    Text,
    /// In the query, `true` or `false`.
    Switch,
}

/// One parameter of a row.
#[derive(Clone, Copy, Debug)]
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// Where it stands.
    pub place: Place,
    /// What it does.
    pub about: &'static str,
}

/// What a row is answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answers {
    /// Pages of entries; the name of the field that holds them.
    List(&'static str),
    /// One message.
    One,
}

/// One row.
#[derive(Debug)]
pub struct Row {
    /// Name of the gRPC method and `operationId`.
    pub id: &'static str,
    /// The words that select it, after `sip`.
    pub words: &'static str,
    /// `Usage: …` as chan_sip prints it, all lines.
    pub usage: &'static str,
    /// One line for the list of commands.
    pub summary: &'static str,
    /// What whoever asks has to be allowed to.
    pub needs: Needs,
    /// How REST asks.
    pub verb: Verb,
    /// Where REST asks.
    pub path: &'static str,
    /// What may be said with it; lists take `limit` and `cursor` besides.
    pub parameters: &'static [Parameter],
    /// Its answer.
    pub answers: Answers,
    /// The operation from the words after its own; `None` prints the usage.
    pub from_words: fn(&[&str]) -> Option<Operation>,
    /// The operation from REST's arguments; the text says what is wrong.
    pub from_arguments: fn(&Arguments) -> Result<Operation, &'static str>,
}

impl Operation {
    /// Its row's words.
    pub const fn words(&self) -> &'static str {
        match self {
            Operation::ShowPeers { .. } => "show peers",
            Operation::ShowPeer { .. } => "show peer",
            Operation::ShowUsers { .. } => "show users",
            Operation::ShowUser { .. } => "show user",
            Operation::ShowChannels => "show channels",
            Operation::ShowChannel { .. } => "show channel",
            Operation::ShowChannelStats => "show channelstats",
            Operation::ShowBridged => "show bridged",
            Operation::ShowInUse { .. } => "show inuse",
            Operation::PruneRealtime(_) => "prune realtime",
            Operation::Unregister { .. } => "unregister",
            Operation::QualifyPeer { .. } => "qualify peer",
            Operation::ShowPods => "show pods",
            Operation::Reindex => "reindex",
            Operation::Address => "address",
            Operation::Doctor => "doctor",
        }
    }

    /// Its row.
    pub fn row(&self) -> Option<&'static Row> {
        TABLE.iter().find(|row| row.words == self.words())
    }

    /// What REST has to be told: the reverse of [`Row::from_arguments`].
    pub fn arguments(&self) -> Arguments {
        let mut said = Arguments::new();
        match self {
            Operation::ShowPeers { like } | Operation::ShowUsers { like } => {
                said.extend(like.clone().map(|like| ("like", like)));
            }
            Operation::ShowPeer { name, load }
            | Operation::ShowUser { name, load }
            | Operation::QualifyPeer { name, load } => {
                said.insert("name", name.clone());
                said.extend(load.then(|| ("load", "true".to_owned())));
            }
            Operation::ShowChannel { prefix } => {
                said.insert("prefix", prefix.clone());
            }
            Operation::ShowInUse { all } => said.extend(all.then(|| ("all", "true".to_owned()))),
            Operation::PruneRealtime(PruneSelector::All) => said.extend([("all", "true".to_owned())]),
            Operation::PruneRealtime(PruneSelector::Name(name)) => said.extend([("name", name.clone())]),
            Operation::PruneRealtime(PruneSelector::Like(like)) => said.extend([("like", like.clone())]),
            Operation::Unregister { name } => said.extend([("name", name.clone())]),
            Operation::ShowChannels
            | Operation::ShowChannelStats
            | Operation::ShowBridged
            | Operation::ShowPods
            | Operation::Reindex
            | Operation::Address
            | Operation::Doctor => {}
        }
        said
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples() -> Vec<Operation> {
        let (name, like) = (|| "al/ice".to_owned(), || "^2.0$".to_owned());
        vec![
            Operation::ShowPeers { like: None },
            Operation::ShowPeers { like: Some(like()) },
            Operation::ShowPeer { name: name(), load: true },
            Operation::ShowUsers { like: Some(like()) },
            Operation::ShowUser { name: name(), load: false },
            Operation::ShowChannels,
            Operation::ShowChannel { prefix: "94a9".to_owned() },
            Operation::ShowChannelStats,
            Operation::ShowBridged,
            Operation::ShowInUse { all: true },
            Operation::PruneRealtime(PruneSelector::All),
            Operation::PruneRealtime(PruneSelector::Name(name())),
            Operation::PruneRealtime(PruneSelector::Like(like())),
            Operation::Unregister { name: name() },
            Operation::QualifyPeer { name: name(), load: true },
            Operation::ShowPods,
            Operation::Reindex,
            Operation::Address,
            Operation::Doctor,
        ]
    }

    #[test]
    fn what_rest_is_told_means_the_same_operation_again() {
        for operation in samples() {
            let row = operation.row().unwrap();
            assert_eq!((row.from_arguments)(&operation.arguments()), Ok(operation.clone()));
        }
        let words: std::collections::BTreeSet<_> = samples().iter().map(Operation::words).collect();
        assert_eq!(words.len(), TABLE.len(), "every row has a sample");
    }

    #[test]
    fn arguments_that_make_no_sense_are_refused() {
        let row = |words: &str| TABLE.iter().find(|row| row.words == words).unwrap();
        let given =
            |pairs: &[(&'static str, &str)]| pairs.iter().map(|(k, v)| (*k, (*v).to_owned())).collect();
        assert!((row("show peers").from_arguments)(&given(&[("like", "[")])).is_err());
        assert!((row("show inuse").from_arguments)(&given(&[("all", "maybe")])).is_err());
        assert!((row("prune realtime").from_arguments)(&given(&[])).is_err());
        assert!((row("prune realtime").from_arguments)(&given(&[("all", "true"), ("name", "x")])).is_err());
    }
}
