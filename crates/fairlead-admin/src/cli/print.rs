//! One printer a form.

use std::io::{self, Write};

use serde_json::{Map, Value};

use super::{Command, Format};
use crate::engine::Entry;
use crate::rest::EndFacts;
use crate::table::Sheet;

/// Prints a list as it comes.
pub(super) struct Printer {
    format: Format,
    field: &'static str,
    sheet: Sheet,
    begun: bool,
    columns: Vec<String>,
}

impl Printer {
    pub(super) fn new(command: &Command, field: &'static str) -> Self {
        Printer {
            format: command.format,
            field,
            sheet: Sheet::new(command.operation.clone(), command.pods),
            begun: false,
            columns: Vec::new(),
        }
    }

    pub(super) fn entries(&mut self, entries: &[Entry], out: &mut dyn Write) -> io::Result<()> {
        match self.format {
            Format::Table if entries.is_empty() => Ok(()),
            Format::Table => out.write_all(self.sheet.rows(entries).as_bytes()),
            Format::Json => {
                if !self.begun {
                    write!(out, "{{\"{}\":[", self.field)?;
                }
                for entry in entries {
                    out.write_all(if self.begun { b",\n" } else { b"\n" })?;
                    self.begun = true;
                    serde_json::to_writer(&mut *out, entry)?;
                }
                Ok(())
            }
            Format::Csv => entries.iter().try_for_each(|entry| self.csv(entry, out)),
        }
    }

    pub(super) fn end(&mut self, end: &EndFacts, out: &mut dyn Write) -> io::Result<()> {
        match self.format {
            Format::Table => out.write_all(self.sheet.foot().as_bytes()),
            Format::Csv => Ok(()),
            Format::Json => {
                out.write_all(b"\n],\"missing\":")?;
                serde_json::to_writer(&mut *out, &end.missing)?;
                out.write_all(b"}\n")
            }
        }
    }

    /// Columns are the fields that hold one value, of the first entry.
    fn csv(&mut self, entry: &Entry, out: &mut dyn Write) -> io::Result<()> {
        let Value::Object(fields) = serde_json::to_value(entry)? else { return Ok(()) };
        if !self.begun {
            self.columns = columns(&fields);
            self.begun = true;
            writeln!(out, "{}", self.columns.join(","))?;
        }
        csv_line(&self.columns, &fields, out)
    }
}

/// One answer: its fields that hold one value, or, where it holds a list, a line of each.
pub(super) fn one_as_csv(answer: Value, out: &mut dyn Write) -> io::Result<()> {
    let Value::Object(mut answer) = answer else { return Ok(()) };
    answer.remove("missing");
    let inner = answer.values().find_map(|value| match value {
        Value::Object(fields) => Some(vec![fields.clone()]),
        Value::Array(entries) => {
            Some(entries.iter().filter_map(|entry| entry.as_object().cloned()).collect())
        }
        _ => None,
    });
    let lines = inner.unwrap_or_else(|| vec![answer]);
    let Some(first) = lines.first() else { return Ok(()) };
    let columns = columns(first);
    writeln!(out, "{}", columns.join(","))?;
    lines.iter().try_for_each(|fields| csv_line(&columns, fields, out))
}

fn columns(fields: &Map<String, Value>) -> Vec<String> {
    let is_single = |value: &&Value| !value.is_array() && !value.is_object();
    fields.iter().filter(|(_, value)| is_single(value)).map(|(name, _)| name.clone()).collect()
}

fn csv_line(columns: &[String], fields: &Map<String, Value>, out: &mut dyn Write) -> io::Result<()> {
    let cells = columns.iter().map(|name| match fields.get(name) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => quoted(text),
        Some(other) => other.to_string(),
    });
    writeln!(out, "{}", cells.collect::<Vec<_>>().join(","))
}

/// RFC 4180 §2. What a spreadsheet would take for a formula gets a quote in front.
fn quoted(text: &str) -> String {
    let text =
        if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{text}") } else { text.to_owned() };
    if text.contains(['"', ',', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}
