//! The other end: `fairlead sip WORDS…` and whoever else speaks to admin by HTTP.
//!
//! [`Command::parse`] reads the words, [`run`] asks and prints. [`Http`] is how it asks: [`HttpClient`] over TCP;
//! another way (through the kube API) implements the trait.

mod http;
mod print;

use std::io::Write;

use fairlead_proto::admin::v1 as pb;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::DeserializeOwned;

pub use self::http::{Ask, Http, HttpClient, HttpError, Reply};

use crate::engine::{Answer, CHUNK, Entry};
use crate::operation::{Answers, Operation, Place, Verb};
use crate::rest::problem::Problem;
use crate::rest::{EndFacts, one};
use crate::table;
use crate::words::{self, Meaning};
use print::Printer;

/// It was done.
pub const DONE: u8 = 0;
/// It was not done, or there is no such thing.
pub const FAILED: u8 = 1;
/// The words were wrong.
pub const MISUSED: u8 = 2;

/// How an answer is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// chan_sip's tables.
    #[default]
    Table,
    /// One JSON document.
    Json,
    /// Comma-separated values with a head.
    Csv,
}

/// What is to be done, and how the answer is printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// What.
    pub operation: Operation,
    /// With a last column that names the pod.
    pub pods: bool,
    /// How.
    pub format: Format,
}

impl Command {
    /// Reads the words after `sip`; `--pods`, `--json`, `--csv` and `--format FORM` may stand anywhere among them. What
    /// is no command is text to print, with the status to end with.
    pub fn parse(words: &[String]) -> Result<Self, (String, u8)> {
        let (mut pods, mut format, mut plain) = (false, Format::Table, Vec::new());
        let mut words = words.iter().map(String::as_str);
        while let Some(word) = words.next() {
            match word {
                "--pods" => pods = true,
                "--json" | "--format=json" => format = Format::Json,
                "--csv" | "--format=csv" => format = Format::Csv,
                "--format=table" => format = Format::Table,
                "--format" => {
                    format = match words.next() {
                        Some("table") => Format::Table,
                        Some("json") => Format::Json,
                        Some("csv") => Format::Csv,
                        _ => return Err(("--format wants table, json or csv\n".to_owned(), MISUSED)),
                    }
                }
                other if other.starts_with("--admin-") => {
                    let name = other.split('=').next().unwrap_or(other);
                    return Err((format!("{name} has to stand before the words\n"), MISUSED));
                }
                other => plain.push(other),
            }
        }
        match words::parse(&plain) {
            Meaning::Do(operation) => Ok(Command { operation, pods, format }),
            Meaning::Say(text) => Err((text, DONE)),
            Meaning::Refuse(text) => Err((text, MISUSED)),
        }
    }
}

/// The list of commands and options, for help.
pub fn usage() -> String {
    let commands = match words::parse(&[]) {
        Meaning::Say(text) | Meaning::Refuse(text) => text,
        Meaning::Do(_) => String::new(),
    };
    format!(
        "Commands:\n{commands}\nOptions among the words:\n  --pods           Append a column that names the pod\n  \
         --format FORM    table (chan_sip's), json or csv"
    )
}

/// Does what the words say at the admin that `http` reaches; returns the status to end with.
pub async fn run(
    http: &dyn Http,
    words: &[String],
    out: &mut (dyn Write + Send),
    err: &mut (dyn Write + Send),
) -> u8 {
    let command = match Command::parse(words) {
        Ok(command) => command,
        Err((text, status)) => {
            let text = text.as_bytes();
            let printed = if status == DONE { out.write_all(text) } else { err.write_all(text) };
            return if printed.is_ok() { status } else { FAILED };
        }
    };
    match carry_out(http, &command, out, err).await {
        Ok(()) => DONE,
        Err(Ended::NotFound) if command.format == Format::Table => {
            let _ = out.write_all(table::not_found(&command.operation).as_bytes());
            FAILED
        }
        // Whoever read it has enough (`… | head`).
        Err(Ended::Print(cause)) if cause.kind() == std::io::ErrorKind::BrokenPipe => DONE,
        Err(ended) => {
            let _ = writeln!(err, "{}", table::plain(&ended.to_string()));
            FAILED
        }
    }
}

/// Why a command did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum Ended {
    /// Nobody has that name.
    #[error("there is no such peer")]
    NotFound,
    /// Admin was not reached.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// Admin refused.
    #[error("{0}")]
    Refused(String),
    /// Admin answered what cannot be read.
    #[error("admin answered what cannot be read ({0}); is it another release?")]
    Garbled(String),
    /// Nobody reads what is printed.
    #[error("could not print: {0}")]
    Print(#[from] std::io::Error),
}

async fn carry_out(
    http: &dyn Http,
    command: &Command,
    out: &mut (dyn Write + Send),
    err: &mut (dyn Write + Send),
) -> Result<(), Ended> {
    let operation = &command.operation;
    let row = operation.row().ok_or_else(|| Ended::Garbled("no such row".to_owned()))?;
    let missing = match row.answers {
        Answers::List(field) => {
            let reply = http.send(ask(operation, "application/x-ndjson")).await?;
            list(command, field, checked(reply).await?, out).await?
        }
        Answers::One => {
            let reply = http.send(ask(operation, "application/json")).await?;
            let body = checked(reply).await?.collect().await?;
            let answer = read_one(operation, &body)?;
            let (text, missing) = one(operation, &answer, command.pods);
            match command.format {
                Format::Json => writeln!(out, "{}", String::from_utf8_lossy(&body))?,
                Format::Csv => print::one_as_csv(&body, out)?,
                Format::Table => out.write_all(text.as_bytes())?,
            }
            missing.to_vec()
        }
    };
    out.flush()?;
    if !missing.is_empty() {
        err.write_all(table::missing(&missing).as_bytes())?;
    }
    Ok(())
}

/// The operation as REST asks it.
pub fn ask(operation: &Operation, accept: &'static str) -> Ask {
    let Some(row) = operation.row() else { return Ask { verb: Verb::Get, target: "/".to_owned(), accept } };
    let arguments = operation.arguments();
    let (mut target, mut query) = (row.path.to_owned(), Vec::new());
    for (name, value) in &arguments {
        let value = utf8_percent_encode(value, UNRESERVED).to_string();
        let in_path = row.parameters.iter().any(|known| known.name == *name && known.place == Place::Path);
        if in_path {
            target = target.replace(&format!("{{{name}}}"), &value);
        } else {
            query.push(format!("{name}={value}"));
        }
    }
    if !query.is_empty() {
        target = format!("{target}?{}", query.join("&"));
    }
    Ask { verb: row.verb, target, accept }
}

/// All but what RFC 3986 §2.3 leaves alone.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

async fn checked(reply: Reply) -> Result<Reply, Ended> {
    match reply.status {
        200..=299 => Ok(reply),
        status => {
            let body = reply.collect().await?;
            let problem: Option<Problem> = serde_json::from_slice(&body).ok();
            if status == 404 && problem.as_ref().is_some_and(|problem| problem.detail == NO_SUCH_PEER) {
                return Err(Ended::NotFound);
            }
            let detail = match problem {
                Some(problem) if problem.missing.is_empty() => problem.detail,
                Some(problem) => {
                    format!("{}. {}", problem.detail, table::missing(&problem.missing).trim_end())
                }
                None => format!("admin answered with status {status}"),
            };
            Err(Ended::Refused(detail))
        }
    }
}

/// The detail of [`crate::engine::Failure::NotFound`].
const NO_SUCH_PEER: &str = "there is no such peer";

fn read_one(operation: &Operation, body: &[u8]) -> Result<Answer, Ended> {
    Ok(match operation {
        Operation::ShowPeer { .. } => Answer::Peer(Box::new(read(body)?)),
        Operation::ShowUser { .. } => Answer::User(Box::new(read(body)?)),
        Operation::PruneRealtime(_) => Answer::Pruned(read(body)?),
        Operation::Unregister { .. } => Answer::Unregistered(read(body)?),
        Operation::QualifyPeer { .. } => Answer::Qualified(read(body)?),
        Operation::ShowPods => Answer::Pods(read(body)?),
        Operation::Reindex => Answer::Reindexed(read(body)?),
        _ => return Err(Ended::Garbled("a list instead of one answer".to_owned())),
    })
}

fn read<T: DeserializeOwned>(text: &[u8]) -> Result<T, Ended> {
    serde_json::from_slice(text).map_err(|cause| Ended::Garbled(cause.to_string()))
}

async fn list(
    command: &Command,
    field: &'static str,
    mut reply: Reply,
    out: &mut (dyn Write + Send),
) -> Result<Vec<pb::Missing>, Ended> {
    let mut printer = Printer::new(command, field);
    let mut waiting: Vec<Entry> = Vec::new();
    while let Some(line) = reply.line().await? {
        if let Some(end) = read_end(&line) {
            printer.entries(&waiting, out)?;
            printer.end(&end, out)?;
            return match end.problem {
                Some(problem) => Err(Ended::Refused(format!("the list is not complete: {}", problem.detail))),
                None => Ok(end.missing),
            };
        }
        waiting.push(read_entry(&command.operation, &line)?);
        if waiting.len() >= CHUNK {
            printer.entries(&waiting, out)?;
            waiting.clear();
        }
    }
    printer.entries(&waiting, out)?;
    Err(Ended::Garbled("the list has no end".to_owned()))
}

fn read_end(line: &[u8]) -> Option<EndFacts> {
    // Entries have no field of that name, and begin with another one.
    if !line.starts_with(b"{\"end\":") {
        return None;
    }
    serde_json::from_slice::<crate::rest::End>(line).ok().map(|line| line.end)
}

fn read_entry(operation: &Operation, line: &[u8]) -> Result<Entry, Ended> {
    Ok(match operation {
        Operation::ShowPeers { .. } => Entry::Peer(Box::new(read(line)?)),
        Operation::ShowUsers { .. } => Entry::User(read(line)?),
        Operation::ShowChannels | Operation::ShowChannel { .. } => Entry::Channel(Box::new(read(line)?)),
        Operation::ShowChannelStats => Entry::ChannelStats(Box::new(read(line)?)),
        Operation::ShowBridged => Entry::Bridge(read(line)?),
        Operation::ShowInUse { .. } => Entry::InUse(read(line)?),
        _ => return Err(Ended::Garbled("one answer instead of a list".to_owned())),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(line: &str) -> Result<Command, (String, u8)> {
        Command::parse(&line.split(' ').map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn options_may_stand_anywhere_among_the_words() {
        for line in ["--pods show peers --format csv", "show --format=csv peers --pods"] {
            let command = command(line).unwrap();
            assert_eq!(command.operation, Operation::ShowPeers { like: None });
            assert!(command.pods && command.format == Format::Csv, "{line}");
        }
        assert_eq!(command("show peers --format xml").unwrap_err().1, MISUSED);
        assert_eq!(command("show bogus").unwrap_err().1, MISUSED);
        let (text, status) = command("show peers --admin-url=http://127.0.0.1:8080").unwrap_err();
        assert_eq!((text.as_str(), status), ("--admin-url has to stand before the words\n", MISUSED));
        assert_eq!(command("help").unwrap_err().1, DONE);
    }

    #[test]
    fn names_are_written_into_the_path_without_losing_a_character() {
        let ask = ask(&Operation::ShowPeer { name: "a/b c?%é".to_owned(), load: true }, "application/json");
        assert_eq!(ask.target, "/v1/peers/a%2Fb%20c%3F%25%C3%A9?load=true");
    }
}
