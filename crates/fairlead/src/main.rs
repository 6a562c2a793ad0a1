//! `fairlead`: one program, the role is the subcommand.

use std::process::ExitCode;

mod check_config;
mod client;
mod command_line;
mod print;
mod probe;
mod roles;
mod settings;
mod sip_conf;
mod values;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Before anything opens a connection: which cryptography TLS uses. It fails only where one was chosen already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let matches = command_line::command().get_matches();
    let Some((word, matches)) = matches.subcommand() else { return ExitCode::from(2) };
    let ended = match word {
        "sip" => client::sip(matches),
        "reindex" => client::reindex(matches),
        "check-config" => check_config::run(matches),
        "print" => print::run(matches),
        "probe" => probe::run(matches),
        role => roles::run(role, matches).map(|()| ExitCode::SUCCESS),
    };
    ended.unwrap_or_else(|error| {
        eprintln!("fairlead {word}: {error:#}");
        ExitCode::FAILURE
    })
}
