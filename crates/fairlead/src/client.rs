//! `fairlead sip WORDS…`: the other end of admin's REST API.

use std::process::ExitCode;

use anyhow::Context;
use clap::ArgMatches;
use fairlead_admin::cli::{self, HttpClient};

/// Does what the words say at the admin that is named.
pub fn sip(matches: &ArgMatches) -> anyhow::Result<ExitCode> {
    let words: Vec<String> = matches.get_many::<String>("words").into_iter().flatten().cloned().collect();
    run(matches, &words)
}

/// Rebuilds the indexes of all peers.
pub fn reindex(matches: &ArgMatches) -> anyhow::Result<ExitCode> {
    run(matches, &["reindex".to_owned()])
}

fn run(matches: &ArgMatches, words: &[String]) -> anyhow::Result<ExitCode> {
    let url = matches.get_one::<String>("admin-url").context("--admin-url is missing")?;
    let token = matches.get_one::<String>("admin-token").map(String::as_str);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let status = runtime.block_on(async {
        let http = HttpClient::new(url, token)?;
        anyhow::Ok(cli::run(&http, words, &mut std::io::stdout(), &mut std::io::stderr()).await)
    })?;
    Ok(ExitCode::from(status))
}
