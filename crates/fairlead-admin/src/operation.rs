//! The one table of operations. Words, REST and OpenAPI are read off it; gRPC's methods name its rows.
//!
//! To add an operation: a variant of [`Operation`], a row in [`TABLE`], an answer in [`crate::engine`], a layout in
//! [`crate::table`].

use std::collections::BTreeMap;

use fairlead_model::operator::PruneSelector;

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

const LIKE: Parameter = Parameter {
    name: "like",
    place: Place::Text,
    about: "Only names that this regular expression matches somewhere.",
};
const NAME: Parameter = Parameter { name: "name", place: Place::Path, about: "The name." };
const LOAD: Parameter = Parameter {
    name: "load",
    place: Place::Switch,
    about: "Look into the store for a realtime peer that nobody holds.",
};

/// Every operation.
pub static TABLE: &[Row] = &[
    Row {
        id: "ListPeers",
        words: "show peers",
        usage: "Usage: sip show peers [like <pattern>]\n       Lists all known SIP peers.\n       Optional regular expression pattern is used to filter the peer list.\n",
        summary: "List defined SIP peers",
        verb: Verb::Get,
        path: "/v1/peers",
        parameters: &[LIKE],
        answers: Answers::List("peers"),
        from_words: |words| Some(Operation::ShowPeers { like: like(words)? }),
        from_arguments: |given| Ok(Operation::ShowPeers { like: pattern(given)? }),
    },
    Row {
        id: "GetPeer",
        words: "show peer",
        usage: "Usage: sip show peer <name> [load]\n       Shows all details on one SIP peer and the current status.\n       Option \"load\" forces lookup of peer in realtime storage.\n",
        summary: "Show details on specific SIP peer",
        verb: Verb::Get,
        path: "/v1/peers/{name}",
        parameters: &[NAME, LOAD],
        answers: Answers::One,
        from_words: |words| name_and_load(words).map(|(name, load)| Operation::ShowPeer { name, load }),
        from_arguments: |given| {
            Ok(Operation::ShowPeer { name: text(given, "name")?, load: switch(given, "load")? })
        },
    },
    Row {
        id: "ListUsers",
        words: "show users",
        usage: "Usage: sip show users [like <pattern>]\n       Lists all known SIP users.\n       Optional regular expression pattern is used to filter the user list.\n",
        summary: "List defined SIP users",
        verb: Verb::Get,
        path: "/v1/users",
        parameters: &[LIKE],
        answers: Answers::List("users"),
        from_words: |words| Some(Operation::ShowUsers { like: like(words)? }),
        from_arguments: |given| Ok(Operation::ShowUsers { like: pattern(given)? }),
    },
    Row {
        id: "GetUser",
        words: "show user",
        usage: "Usage: sip show user <name> [load]\n       Shows all details on one SIP user and the current status.\n       Option \"load\" forces lookup of peer in realtime storage.\n",
        summary: "Show details on specific SIP user",
        verb: Verb::Get,
        path: "/v1/users/{name}",
        parameters: &[NAME, LOAD],
        answers: Answers::One,
        from_words: |words| name_and_load(words).map(|(name, load)| Operation::ShowUser { name, load }),
        from_arguments: |given| {
            Ok(Operation::ShowUser { name: text(given, "name")?, load: switch(given, "load")? })
        },
    },
    Row {
        id: "ListChannels",
        words: "show channels",
        usage: "Usage: sip show channels\n       Lists all currently active SIP calls (dialogs).\n",
        summary: "List active SIP channels",
        verb: Verb::Get,
        path: "/v1/channels",
        parameters: &[Parameter {
            name: "prefix",
            place: Place::Text,
            about: "Only Call-IDs that begin with this, upper or lower case.",
        }],
        answers: Answers::List("channels"),
        from_words: |words| words.is_empty().then_some(Operation::ShowChannels),
        from_arguments: |given| {
            Ok(match given.get("prefix") {
                Some(prefix) if !prefix.is_empty() => Operation::ShowChannel { prefix: prefix.clone() },
                _ => Operation::ShowChannels,
            })
        },
    },
    Row {
        id: "ListChannels",
        words: "show channel",
        usage: "Usage: sip show channel <call-id>\n       Provides detailed status on a given SIP dialog (identified by SIP call-id).\n",
        summary: "Show detailed SIP channel info",
        verb: Verb::Get,
        path: "/v1/channels",
        parameters: &[],
        answers: Answers::List("channels"),
        from_words: |words| one(words).map(|prefix| Operation::ShowChannel { prefix }),
        from_arguments: |given| Ok(Operation::ShowChannel { prefix: text(given, "prefix")? }),
    },
    Row {
        id: "ListChannelStats",
        words: "show channelstats",
        usage: "Usage: sip show channelstats\n       Lists all currently active SIP channel's RTCP statistics.\n",
        summary: "List statistics for active SIP channels",
        verb: Verb::Get,
        path: "/v1/channelstats",
        parameters: &[],
        answers: Answers::List("channelstats"),
        from_words: |words| words.is_empty().then_some(Operation::ShowChannelStats),
        from_arguments: |_| Ok(Operation::ShowChannelStats),
    },
    Row {
        id: "ListBridges",
        words: "show bridged",
        usage: "Usage: sip show bridged\n       Lists all pairs of SIP channels that hear each other.\n",
        summary: "List all SIP bridges",
        verb: Verb::Get,
        path: "/v1/bridges",
        parameters: &[],
        answers: Answers::List("bridges"),
        from_words: |words| words.is_empty().then_some(Operation::ShowBridged),
        from_arguments: |_| Ok(Operation::ShowBridged),
    },
    Row {
        id: "ListInUse",
        words: "show inuse",
        usage: "Usage: sip show inuse [all]\n       List all SIP devices usage counters and limits.\n       Add option \"all\" to show all devices, not only those with a limit.\n",
        summary: "List all inuse/limits",
        verb: Verb::Get,
        path: "/v1/inuse",
        parameters: &[Parameter { name: "all", place: Place::Switch, about: "Also peers without a limit." }],
        answers: Answers::List("inuse"),
        from_words: |words| match words {
            [] => Some(Operation::ShowInUse { all: false }),
            ["all"] => Some(Operation::ShowInUse { all: true }),
            _ => None,
        },
        from_arguments: |given| Ok(Operation::ShowInUse { all: switch(given, "all")? }),
    },
    Row {
        id: "PruneRealtime",
        words: "prune realtime",
        usage: "Usage: sip prune realtime [peer [<name>|all|like <pattern>]|all]\n       Prunes object(s) from the cache.\n       Optional regular expression pattern is used to filter the objects.\n",
        summary: "Prune cached Realtime users/peers",
        verb: Verb::Post,
        path: "/v1/realtime/prune",
        parameters: &[
            Parameter { name: "all", place: Place::Switch, about: "All of them." },
            Parameter { name: "name", place: Place::Text, about: "This one." },
            LIKE,
        ],
        answers: Answers::One,
        from_words: |words| prune(words).map(Operation::PruneRealtime),
        from_arguments: |given| {
            let named = given.get("name").cloned();
            match (switch(given, "all")?, named, pattern(given)?) {
                (true, None, None) => Ok(Operation::PruneRealtime(PruneSelector::All)),
                (false, Some(name), None) => Ok(Operation::PruneRealtime(PruneSelector::Name(name))),
                (false, None, Some(like)) => Ok(Operation::PruneRealtime(PruneSelector::Like(like))),
                _ => Err("one of all=true, name and like is wanted"),
            }
        },
    },
    Row {
        id: "Unregister",
        words: "unregister",
        usage: "Usage: sip unregister <peer>\n       Unregister (force expiration) a SIP peer from the registry\n",
        summary: "Unregister (force expiration) a SIP peer from the registry",
        verb: Verb::Post,
        path: "/v1/peers/{name}/unregister",
        parameters: &[NAME],
        answers: Answers::One,
        from_words: |words| one(words).map(|name| Operation::Unregister { name }),
        from_arguments: |given| Ok(Operation::Unregister { name: text(given, "name")? }),
    },
    Row {
        id: "QualifyPeer",
        words: "qualify peer",
        usage: "Usage: sip qualify peer <name> [load]\n       Requests a response from one SIP peer and the current status.\n       Option \"load\" forces lookup of peer in realtime storage.\n",
        summary: "Send an OPTIONS packet to a peer",
        verb: Verb::Post,
        path: "/v1/peers/{name}/qualify",
        parameters: &[NAME, LOAD],
        answers: Answers::One,
        from_words: |words| name_and_load(words).map(|(name, load)| Operation::QualifyPeer { name, load }),
        from_arguments: |given| {
            Ok(Operation::QualifyPeer { name: text(given, "name")?, load: switch(given, "load")? })
        },
    },
    Row {
        id: "ListPods",
        words: "show pods",
        usage: "Usage: sip show pods\n       Lists all pods of this edge.\n",
        summary: "List the pods of this edge",
        verb: Verb::Get,
        path: "/v1/pods",
        parameters: &[],
        answers: Answers::One,
        from_words: |words| words.is_empty().then_some(Operation::ShowPods),
        from_arguments: |_| Ok(Operation::ShowPods),
    },
    Row {
        id: "Reindex",
        words: "reindex",
        usage: "Usage: sip reindex\n       Builds the indexes of realtime peers anew.\n",
        summary: "Build the indexes of realtime peers anew",
        verb: Verb::Post,
        path: "/v1/reindex",
        parameters: &[],
        answers: Answers::One,
        from_words: |words| words.is_empty().then_some(Operation::Reindex),
        from_arguments: |_| Ok(Operation::Reindex),
    },
];

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
            | Operation::Reindex => {}
        }
        said
    }
}

fn one(words: &[&str]) -> Option<String> {
    match words {
        [word] => Some((*word).to_owned()),
        _ => None,
    }
}

fn name_and_load(words: &[&str]) -> Option<(String, bool)> {
    match words {
        [name] => Some(((*name).to_owned(), false)),
        [name, "load"] => Some(((*name).to_owned(), true)),
        _ => None,
    }
}

fn like(words: &[&str]) -> Option<Option<String>> {
    match words {
        [] => Some(None),
        ["like", pattern] => checked(pattern).map(Some),
        _ => None,
    }
}

fn prune(words: &[&str]) -> Option<PruneSelector> {
    match words {
        ["all"] | ["peer", "all"] => Some(PruneSelector::All),
        // chan_sip refuses these two as names.
        ["peer" | "like"] | ["peer", "like"] => None,
        ["like", pattern] | ["peer", "like", pattern] => checked(pattern).map(PruneSelector::Like),
        [name] | ["peer", name] => Some(PruneSelector::Name((*name).to_owned())),
        _ => None,
    }
}

/// chan_sip prints the usage for a pattern that cannot be read.
fn checked(pattern: &str) -> Option<String> {
    regex::Regex::new(pattern).ok().map(|_| pattern.to_owned())
}

fn text(given: &Arguments, name: &str) -> Result<String, &'static str> {
    given.get(name).filter(|text| !text.is_empty()).cloned().ok_or("a name is wanted")
}

fn pattern(given: &Arguments) -> Result<Option<String>, &'static str> {
    match given.get("like") {
        None => Ok(None),
        Some(pattern) => checked(pattern).map(Some).ok_or("like is no regular expression"),
    }
}

fn switch(given: &Arguments, name: &str) -> Result<bool, &'static str> {
    match given.get(name).map(String::as_str) {
        None | Some("false") => Ok(false),
        Some("true" | "") => Ok(true),
        Some(_) => Err("true or false is wanted"),
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
