//! `fairlead print …`: what is built in.

use std::process::ExitCode;

use anyhow::bail;
use clap::ArgMatches;
use fairlead_runtime::settings::{Form, describe};

use crate::command_line::TABLES;

/// Prints what is asked for on standard output.
pub fn run(matches: &ArgMatches) -> anyhow::Result<ExitCode> {
    match matches.subcommand() {
        Some(("settings", matches)) => {
            let form = match matches.get_one::<String>("format").map(String::as_str) {
                Some("markdown") => Form::Markdown,
                _ => Form::Toml,
            };
            print!("{}", describe(TABLES, form));
        }
        Some(("crds", _)) => print!("{}", fairlead_operator::crd::print()?),
        Some(("openapi", _)) => print!("{}", fairlead_admin::openapi::text()),
        _ => bail!("what is to be printed? see `fairlead print --help`"),
    }
    Ok(ExitCode::SUCCESS)
}
