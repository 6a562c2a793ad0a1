//! The rows, and how each reads what follows its words and what REST was told.

use fairlead_model::operator::PruneSelector;

use super::{Answers, Arguments, Needs, Operation, Parameter, Place, Row, Verb};

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
        needs: Needs::LIST,
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
        needs: Needs::GET,
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
        needs: Needs::LIST,
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
        needs: Needs::GET,
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
        needs: Needs::CHANNELS,
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
        needs: Needs::CHANNELS,
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
        needs: Needs::CHANNELS,
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
        needs: Needs::CHANNELS,
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
        needs: Needs::LIST,
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
        needs: Needs::PRUNE,
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
        needs: Needs::UNREGISTER,
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
        needs: Needs::QUALIFY,
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
        needs: Needs::LIST,
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
        needs: Needs::PRUNE,
        verb: Verb::Post,
        path: "/v1/reindex",
        parameters: &[],
        answers: Answers::One,
        from_words: |words| words.is_empty().then_some(Operation::Reindex),
        from_arguments: |_| Ok(Operation::Reindex),
    },
    Row {
        id: "ListAddresses",
        words: "address",
        usage: "Usage: sip address [--wait[=<time>]]\n       Shows where phones and trunks reach this edge.\n       Option --wait asks again until there is an address, for 60s if no time is given.\n",
        summary: "Show where phones go",
        needs: Needs::LIST,
        verb: Verb::Get,
        path: "/v1/addresses",
        parameters: &[],
        answers: Answers::One,
        from_words: |words| words.is_empty().then_some(Operation::Address),
        from_arguments: |_| Ok(Operation::Address),
    },
    Row {
        id: "Diagnose",
        words: "doctor",
        usage: "Usage: sip doctor\n       Examines every pod of this edge and says what is wrong, and which value to change.\n       Ends with 1 when something is wrong that makes calls or registrations fail.\n",
        summary: "Say what is wrong, and which value to change",
        needs: Needs::LIST,
        verb: Verb::Get,
        path: "/v1/doctor",
        parameters: &[],
        answers: Answers::One,
        from_words: |words| words.is_empty().then_some(Operation::Doctor),
        from_arguments: |_| Ok(Operation::Doctor),
    },
];

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
