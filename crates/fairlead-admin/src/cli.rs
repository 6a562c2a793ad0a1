//! The other end: `fairlead sip WORDS…`, `kubectl sip WORDS…` and whoever else asks admin.
//!
//! [`Command::parse`] reads the words, [`run`] asks and prints. [`Transport`] is how it asks: [`HttpClient`] by REST over
//! TCP, [`GrpcClient`] by gRPC over a connection that somebody else made; another way implements the trait.

mod grpc;
mod http;
mod print;
mod wait;

use std::io::Write;
use std::time::Duration;

use fairlead_proto::admin::v1 as pb;
use futures::StreamExt;
use futures::stream::BoxStream;

pub use self::grpc::GrpcClient;
pub use self::http::{HttpClient, HttpError};

use crate::convert::ERROR;
use crate::engine::{Answer, CHUNK, Entry};
use crate::operation::{Answers, Operation};
use crate::rest::{EndFacts, one, one_as_json};
use crate::table;
use crate::words::{self, Meaning};
use print::Printer;

/// It was done.
pub const DONE: u8 = 0;
/// It was not done, or there is no such thing, or `doctor` found an error.
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
    /// Of `address`: ask again for so long until there is one.
    pub wait: Option<Duration>,
}

/// How admin is asked.
#[async_trait::async_trait]
pub trait Transport: Send + Sync {
    /// An operation that is answered with one message.
    async fn one(&self, operation: &Operation) -> Result<Answer, Ended>;
    /// An operation that lists.
    async fn list(&self, operation: &Operation) -> Result<Parts, Ended>;
}

/// A list as it comes; the end is the last.
pub type Parts = BoxStream<'static, Result<Part, Ended>>;

/// Of a list.
#[derive(Debug)]
pub enum Part {
    /// The next ones.
    Entries(Vec<Entry>),
    /// There are no more.
    End(EndFacts),
}

impl Command {
    /// Reads the words after `sip`; `--pods`, `--json`, `--csv`, `--format FORM` and `--wait[=TIME]` may stand
    /// anywhere among them. What is no command is text to print, with the status to end with.
    pub fn parse(words: &[String]) -> Result<Self, (String, u8)> {
        let (mut pods, mut format, mut wait, mut plain) = (false, Format::Table, None, Vec::new());
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
                "--wait" => wait = Some(wait::USUAL),
                other if other.starts_with("--wait=") => {
                    let time = other.trim_start_matches("--wait=");
                    wait = Some(wait::time(time).ok_or_else(|| {
                        (format!("{time:?} is no time to wait: 60s, 2m or the like is wanted\n"), MISUSED)
                    })?);
                }
                other if other.starts_with("--admin-") => {
                    let name = other.split('=').next().unwrap_or(other);
                    return Err((format!("{name} has to stand before the words\n"), MISUSED));
                }
                other => plain.push(other),
            }
        }
        match words::parse(&plain) {
            Meaning::Do(operation) if wait.is_some() && operation != Operation::Address => {
                Err(("--wait is for `address` alone\n".to_owned(), MISUSED))
            }
            Meaning::Do(operation) => Ok(Command { operation, pods, format, wait }),
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
         --format FORM    table (chan_sip's), json or csv; --json and --csv for short\n  \
         --wait[=TIME]    With `address`: ask again until there is one, for 60s if no time is given"
    )
}

/// Does what the words say at the admin that `transport` reaches; returns the status to end with.
pub async fn run(
    transport: &dyn Transport,
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
    match carry_out(transport, &command, out, err).await {
        Ok(status) => status,
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
    /// Admin was not reached by HTTP.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// Admin, or who would know, cannot be asked now.
    #[error("{0}")]
    Away(String),
    /// Whoever asks may not.
    #[error("{0}")]
    Forbidden(String),
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
    transport: &dyn Transport,
    command: &Command,
    out: &mut (dyn Write + Send),
    err: &mut (dyn Write + Send),
) -> Result<u8, Ended> {
    let operation = &command.operation;
    let row = operation.row().ok_or_else(|| Ended::Garbled("no such row".to_owned()))?;
    let (status, missing) = match row.answers {
        Answers::List(field) => {
            let parts = transport.list(operation).await?;
            (DONE, list(command, field, parts, out).await?)
        }
        Answers::One => {
            let answer = match command.wait {
                Some(limit) => wait::for_address(transport, limit).await?,
                None => transport.one(operation).await?,
            };
            let (text, missing) = one(operation, &answer, command.pods);
            let json = || one_as_json(&answer).map_err(|problem| Ended::Garbled(problem.detail));
            match command.format {
                Format::Json => writeln!(out, "{}", json()?)?,
                Format::Csv => print::one_as_csv(json()?, out)?,
                Format::Table => out.write_all(text.as_bytes())?,
            }
            (verdict(&answer), missing.to_vec())
        }
    };
    out.flush()?;
    if !missing.is_empty() {
        err.write_all(table::missing(&missing).as_bytes())?;
    }
    Ok(status)
}

/// Answers that are an answer and yet not what one hoped for.
fn verdict(answer: &Answer) -> u8 {
    match answer {
        Answer::Addresses(answer) if answer.addresses.is_empty() => FAILED,
        Answer::Diagnosed(answer) if answer.findings.iter().any(|found| found.severity == ERROR) => FAILED,
        _ => DONE,
    }
}

async fn list(
    command: &Command,
    field: &'static str,
    mut parts: Parts,
    out: &mut (dyn Write + Send),
) -> Result<Vec<pb::Missing>, Ended> {
    let mut printer = Printer::new(command, field);
    let mut waiting: Vec<Entry> = Vec::new();
    while let Some(part) = parts.next().await {
        match part? {
            Part::End(end) => {
                printer.entries(&waiting, out)?;
                printer.end(&end, out)?;
                return match end.problem {
                    Some(problem) => {
                        Err(Ended::Refused(format!("the list is not complete: {}", problem.detail)))
                    }
                    None => Ok(end.missing),
                };
            }
            Part::Entries(entries) => waiting.extend(entries),
        }
        if waiting.len() >= CHUNK {
            printer.entries(&waiting, out)?;
            waiting.clear();
        }
    }
    printer.entries(&waiting, out)?;
    Err(Ended::Garbled("the list has no end".to_owned()))
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
    fn only_an_address_is_waited_for() {
        assert_eq!(command("address").unwrap().wait, None);
        assert_eq!(command("address --wait").unwrap().wait, Some(Duration::from_secs(60)));
        assert_eq!(command("--wait=2m address").unwrap().wait, Some(Duration::from_secs(120)));
        assert_eq!(command("address --wait=soon").unwrap_err().1, MISUSED);
        assert_eq!(command("show peers --wait").unwrap_err().1, MISUSED);
    }

    #[test]
    fn doctor_ends_with_one_only_when_something_fails() {
        let diagnosed = |severity: &str| {
            let finding = pb::Finding { severity: severity.to_owned(), ..Default::default() };
            Answer::Diagnosed(pb::DiagnoseResponse { findings: vec![finding], ..Default::default() })
        };
        assert_eq!(verdict(&diagnosed("warning")), DONE);
        assert_eq!(verdict(&diagnosed("error")), FAILED);
        assert_eq!(verdict(&Answer::Addresses(pb::ListAddressesResponse::default())), FAILED);
    }
}
