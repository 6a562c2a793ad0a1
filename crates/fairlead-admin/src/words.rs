//! `sip WORDS…`: parsed here and nowhere else.

use crate::operation::{Operation, Row, TABLE};

/// What the words mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// Do this.
    Do(Operation),
    /// Print this, it is an answer (help).
    Say(String),
    /// Print this, it is a complaint (usage, no such command).
    Refuse(String),
}

/// Reads the words after `sip`.
pub fn parse(words: &[&str]) -> Meaning {
    if let [] | ["help"] = words {
        return Meaning::Say(list(TABLE.iter()));
    }
    if let ["help", rest @ ..] = words {
        return help(rest);
    }
    // The longest row that begins the words: `show peers` before `show peer`.
    let row = TABLE.iter().filter(|row| begins(words, row)).max_by_key(|row| row.words.len());
    let Some(row) = row else { return no_such_command(words) };
    let rest = words.get(row.words.split(' ').count()..).unwrap_or_default();
    match (row.from_words)(rest) {
        Some(operation) => Meaning::Do(operation),
        None => Meaning::Refuse(row.usage.to_owned()),
    }
}

fn begins(words: &[&str], row: &Row) -> bool {
    let mut given = words.iter();
    row.words.split(' ').all(|word| given.next() == Some(&word))
}

fn help(words: &[&str]) -> Meaning {
    let wanted = words.join(" ");
    if let Some(row) = TABLE.iter().find(|row| row.words == wanted) {
        return Meaning::Say(row.usage.to_owned());
    }
    let mut fitting = TABLE.iter().filter(|row| row.words.starts_with(&wanted)).peekable();
    if fitting.peek().is_some() { Meaning::Say(list(fitting)) } else { no_such_command(words) }
}

fn no_such_command(words: &[&str]) -> Meaning {
    let said: String = words.join(" ").chars().map(|c| if c.is_control() { '?' } else { c }).collect();
    Meaning::Refuse(format!("No such command 'sip {said}' (type 'sip help' for possible commands)\n"))
}

fn list<'r>(rows: impl Iterator<Item = &'r Row>) -> String {
    rows.map(|row| format!("{:<30} -- {}\n", format!("sip {}", row.words), row.summary)).collect()
}

#[cfg(test)]
mod tests {
    use fairlead_model::operator::PruneSelector;

    use super::*;

    fn meaning(line: &str) -> Meaning {
        parse(&line.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>())
    }

    fn usage_of(words: &str) -> Meaning {
        Meaning::Refuse(TABLE.iter().find(|row| row.words == words).unwrap().usage.to_owned())
    }

    #[test]
    fn the_words_of_chan_sip_are_understood() {
        let name = || "alice".to_owned();
        for (line, operation) in [
            ("show peers", Operation::ShowPeers { like: None }),
            ("show peers like ^20", Operation::ShowPeers { like: Some("^20".into()) }),
            ("show peer alice", Operation::ShowPeer { name: name(), load: false }),
            ("show peer alice load", Operation::ShowPeer { name: name(), load: true }),
            ("show users", Operation::ShowUsers { like: None }),
            ("show user alice", Operation::ShowUser { name: name(), load: false }),
            ("show channels", Operation::ShowChannels),
            ("show channel 35e4", Operation::ShowChannel { prefix: "35e4".into() }),
            ("show channelstats", Operation::ShowChannelStats),
            ("show bridged", Operation::ShowBridged),
            ("show inuse", Operation::ShowInUse { all: false }),
            ("show inuse all", Operation::ShowInUse { all: true }),
            ("prune realtime all", Operation::PruneRealtime(PruneSelector::All)),
            ("prune realtime peer all", Operation::PruneRealtime(PruneSelector::All)),
            ("prune realtime alice", Operation::PruneRealtime(PruneSelector::Name(name()))),
            ("prune realtime peer alice", Operation::PruneRealtime(PruneSelector::Name(name()))),
            ("prune realtime like ^a", Operation::PruneRealtime(PruneSelector::Like("^a".into()))),
            ("prune realtime peer like ^a", Operation::PruneRealtime(PruneSelector::Like("^a".into()))),
            ("unregister alice", Operation::Unregister { name: name() }),
            ("qualify peer alice", Operation::QualifyPeer { name: name(), load: false }),
            ("qualify peer alice load", Operation::QualifyPeer { name: name(), load: true }),
        ] {
            assert_eq!(meaning(line), Meaning::Do(operation), "{line}");
        }
    }

    #[test]
    fn wrong_arguments_print_the_usage() {
        for (line, words) in [
            ("show peers like", "show peers"),
            ("show peers like [", "show peers"),
            ("show peer", "show peer"),
            ("show peer a b", "show peer"),
            ("show channel", "show channel"),
            ("show inuse some", "show inuse"),
            ("prune realtime", "prune realtime"),
            ("prune realtime peer", "prune realtime"),
            ("prune realtime peer like", "prune realtime"),
            ("prune realtime peer like [", "prune realtime"),
            ("prune realtime user rt4", "prune realtime"),
            ("prune realtime user all", "prune realtime"),
            ("unregister", "unregister"),
            ("qualify peer", "qualify peer"),
        ] {
            assert_eq!(meaning(line), usage_of(words), "{line}");
        }
    }

    #[test]
    fn other_words_are_no_command() {
        for line in ["bogus", "show", "qualify", "prune"] {
            assert!(
                matches!(meaning(line), Meaning::Refuse(text) if text.starts_with("No such command 'sip ")),
                "{line}"
            );
        }
    }

    #[test]
    fn help_lists_commands_and_explains_one() {
        assert!(matches!(meaning("help"), Meaning::Say(text) if text.lines().count() == TABLE.len()));
        assert!(
            matches!(meaning("help unregister"), Meaning::Say(text) if text.starts_with("Usage: sip unregister"))
        );
        assert!(matches!(meaning("help show"), Meaning::Say(text) if text.contains("sip show peers")));
    }
}
