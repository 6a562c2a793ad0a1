//! `kubectl sip WORDS…`: the words of `fairlead sip`, for a release in Kubernetes, with nothing but a kubeconfig.
//!
//! [`arguments`] reads the command line, [`through`] asks admin: [`release`] finds it, [`tokens`] and [`account`] say as
//! whom, [`forward`] is the way. What is printed is printed by `fairlead_admin::cli`.

mod account;
mod arguments;
mod forward;
mod release;
mod through;
mod tokens;
mod trouble;

use std::io::Write;
use std::process::ExitCode;

use arguments::Wanted;
use fairlead_admin::cli;
use through::Through;

fn main() -> ExitCode {
    let text = match arguments::read(std::env::args().skip(1)) {
        Ok(Wanted::Words(place, words)) => return run(Through::new(place), &words),
        Ok(Wanted::Help) => arguments::help(),
        Ok(Wanted::Version) => format!("kubectl-sip {}\n", fairlead_runtime::build::long_version()),
        Err(why) => {
            let _ = writeln!(std::io::stderr(), "{why}; `kubectl sip --help` tells more");
            return ExitCode::from(cli::MISUSED);
        }
    };
    // Whoever read it may have had enough (`… | head`).
    let _ = std::io::stdout().write_all(text.as_bytes());
    ExitCode::from(cli::DONE)
}

fn run(through: Through, words: &[String]) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(cause) => {
            let _ = writeln!(std::io::stderr(), "could not start: {cause}");
            return ExitCode::from(cli::FAILED);
        }
    };
    let (mut out, mut err) = (std::io::stdout(), std::io::stderr());
    ExitCode::from(runtime.block_on(cli::run(&through, words, &mut out, &mut err)))
}
