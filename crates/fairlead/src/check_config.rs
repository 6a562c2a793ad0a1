//! `fairlead check-config FILE`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::ArgMatches;
use fairlead_conf::{Broken, Diagnostic};

use crate::sip_conf;

/// Prints every diagnostic on standard output, and a summary on standard error.
pub fn run(matches: &ArgMatches) -> anyhow::Result<ExitCode> {
    let file = matches.get_one::<PathBuf>("file").context("FILE is missing")?;
    match sip_conf::load(file) {
        Ok(conf) => {
            list(&conf.diagnostics);
            eprintln!(
                "{}: {} peers, {} warnings; it can be used",
                file.display(),
                conf.peers.len(),
                conf.diagnostics.len()
            );
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            let broken: Broken = error.downcast()?;
            list(&broken.diagnostics);
            eprintln!("{}: it cannot be used", file.display());
            Ok(ExitCode::FAILURE)
        }
    }
}

fn list(diagnostics: &[Diagnostic]) {
    for diagnostic in diagnostics {
        println!("{diagnostic}");
    }
}
