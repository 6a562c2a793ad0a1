//! `fairlead probe`: what `helm test` runs.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Arg, ArgAction, ArgMatches, Command};
use fairlead_probe::{Options, Peer, Step, Transport};
use fairlead_runtime::settings::value::{HostPort, SettingValue};

/// The port of SIP, where none is given.
const SIP: u16 = 5060;

/// Its part of the command line.
pub fn command() -> Command {
    let text = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help)
    };
    let file = |name: &'static str, help: &'static str| {
        text(name, "FILE", help).required(true).value_parser(clap::value_parser!(PathBuf))
    };
    Command::new("probe")
        .about("Two phones that register at the edge, call each other through it and say whether they heard each other")
        .after_help(
            "Makes OPTIONS, REGISTER of both, a call with RTP both ways, BYE, and unregisters both, also after a failure.\n\
             Ends with 0 only when all of it was seen. Needs no token of any API: two peers and their passwords.\n\n\
             Example: fairlead probe --server edge-fairlead-sip:5060 --caller ann --caller-password-file /secrets/ann --callee ben --callee-password-file /secrets/ben",
        )
        .arg(text("server", "HOST:PORT", "Where SIP is listened to: a name or an IP address, 5060 without a port").required(true))
        .arg(
            text("transport", "TRANSPORT", "How SIP goes there")
                .value_parser(["udp", "tcp"])
                .default_value("udp"),
        )
        .arg(text("caller", "NAME", "The peer that calls").required(true))
        .arg(file("caller-password-file", "File that holds its password; one line end after it does not count"))
        .arg(text("callee", "NAME", "The peer that is called").required(true))
        .arg(file("callee-password-file", "File that holds its password"))
        .arg(text("duration", "TIME", "How long both speak, at most 10m").default_value("5s"))
        .arg(text("media-timeout", "TIME", "How long both may take to hear the first packet of each other").default_value("5s"))
        .arg(text("wait", "TIME", "How long names, pods and peers that are not there yet are waited for").default_value("60s"))
        .arg(text("loss", "PERCENT", "From this loss in one direction on it fails, in whole percent").default_value("2").value_parser(clap::value_parser!(u32).range(1..=100)))
        .arg(Arg::new("json").long("json").action(ArgAction::SetTrue).help("Print one JSON object at the end instead of a line a step"))
}

/// Makes the probe and says what it saw.
pub fn run(matches: &ArgMatches) -> anyhow::Result<ExitCode> {
    let json = matches.get_flag("json");
    let options = options(matches)?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("could not start")?;
    let report = runtime.block_on(fairlead_probe::run(&options, &mut |step: &Step| {
        if !json {
            println!("{step}");
        }
    }));
    if json {
        println!("{}", report.json());
    } else {
        println!("{report}");
    }
    Ok(if report.ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn options(matches: &ArgMatches) -> anyhow::Result<Options> {
    let given = |name: &str| -> anyhow::Result<&String> {
        matches.get_one::<String>(name).with_context(|| format!("--{name} is missing"))
    };
    let time = |name: &str| -> anyhow::Result<Duration> {
        let text = given(name)?;
        Duration::parse(text)
            .ok()
            .with_context(|| format!("--{name} is {text:?}, and should be {}", Duration::ALLOWED))
    };
    let peer = |name: &str, file: &str| -> anyhow::Result<Peer> {
        let path = matches.get_one::<PathBuf>(file).with_context(|| format!("--{file} is missing"))?;
        Ok(Peer::new(given(name)?, &password(path)?))
    };
    let server = server(given("server")?)?;
    let caller = peer("caller", "caller-password-file")?;
    let callee = peer("callee", "callee-password-file")?;
    if caller.name == callee.name {
        bail!("--caller and --callee are the same peer: it cannot call itself");
    }
    let mut options = Options::new(server.host, server.port, caller, callee);
    options.transport = if given("transport")? == "tcp" { Transport::Tcp } else { Transport::Udp };
    options.duration = time("duration")?;
    options.media_timeout = time("media-timeout")?;
    options.wait = time("wait")?;
    if options.duration.is_zero() || options.duration > Options::LONGEST {
        bail!("--duration has to be more than 0 and at most 10m");
    }
    options.loss_limit = matches.get_one::<u32>("loss").copied().unwrap_or(2) * 10;
    Ok(options)
}

fn server(text: &str) -> anyhow::Result<HostPort> {
    HostPort::parse(text)
        .or_else(|_| HostPort::parse(&format!("{text}:{SIP}")))
        .ok()
        .with_context(|| format!("--server is {text:?}, and should be {}", HostPort::ALLOWED))
}

fn password(file: &Path) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(file).with_context(|| format!("could not read {}", file.display()))?;
    if text.trim().is_empty() {
        bail!("{} holds no password", file.display());
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(more: &[&str]) -> anyhow::Result<Options> {
        let folder = tempfile::tempdir()?;
        let (ann, ben) = (folder.path().join("ann"), folder.path().join("ben"));
        std::fs::write(&ann, "one\n")?;
        std::fs::write(&ben, "two")?;
        let (ann, ben) = (ann.to_string_lossy(), ben.to_string_lossy());
        let mut words = vec!["probe", "--caller", "ann", "--caller-password-file", &ann, "--callee", "ben"];
        words.extend(["--callee-password-file", &ben]);
        words.extend(more);
        options(&command().try_get_matches_from(words)?)
    }

    #[test]
    fn a_server_may_be_a_name_alone() {
        let read = read(&["--server", "edge-fairlead-sip"]).unwrap();
        assert_eq!((read.host.as_str(), read.port), ("edge-fairlead-sip", 5060));
        assert_eq!((read.duration, read.loss_limit), (Duration::from_secs(5), 20));
        assert_eq!(read.caller, Peer::new("ann", "one"));
    }

    #[test]
    fn what_makes_no_sense_is_said() {
        for (more, word) in [
            (&["--server", "a b"][..], "--server"),
            (&["--server", "h:5060", "--duration", "11m"], "10m"),
            (&["--server", "h:5060", "--duration", "5"], "--duration"),
        ] {
            let wrong = read(more).unwrap_err().to_string();
            assert!(wrong.contains(word), "{wrong}");
        }
    }
}
