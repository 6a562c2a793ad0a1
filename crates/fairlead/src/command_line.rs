//! The command line, made from the tables of settings: a setting is described once, and this is one of its faces.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::Context;
use clap::{Arg, ArgAction, ArgMatches, Command};
use fairlead_runtime::settings::{Layers, Setting, Settings, Table};

use crate::settings::{
    AdminSettings, MediaSettings, OperatorSettings, RegistrarSettings, SignalingSettings, StandaloneSettings,
    TlsSettings,
};
use fairlead_runtime::common::CommonSettings;
use fairlead_runtime::telemetry::TelemetrySettings;

/// The tables of all roles, once each: what `print settings` lists and what a file may name.
pub const TABLES: &[Table] = &[
    CommonSettings::TABLE,
    TelemetrySettings::TABLE,
    TlsSettings::TABLE,
    StandaloneSettings::TABLE,
    RegistrarSettings::TABLE,
    SignalingSettings::TABLE,
    MediaSettings::TABLE,
    AdminSettings::TABLE,
    OperatorSettings::TABLE,
];

/// A role and the example that its help ends with.
struct Role {
    name: &'static str,
    table: Table,
    example: &'static str,
}

const ROLES: &[Role] = &[
    Role {
        name: "standalone",
        table: StandaloneSettings::TABLE,
        example: "fairlead standalone --sip-conf deploy/examples/sip.conf --state ./state --admin 127.0.0.1:8080 --rtp-ports 10000-10099",
    },
    Role {
        name: "registrar",
        table: RegistrarSettings::TABLE,
        example: "fairlead registrar --redis redis://127.0.0.1:6379 --sip-conf sip.conf --listen-grpc 127.0.0.1:7001",
    },
    Role {
        name: "signaling",
        table: SignalingSettings::TABLE,
        example: "fairlead signaling --registrar 127.0.0.1:7001 --listen udp:[::]:5060 --listen tcp:[::]:5060 --mesh 127.0.0.1:7002",
    },
    Role {
        name: "media",
        table: MediaSettings::TABLE,
        example: "fairlead media --registrar 127.0.0.1:7001 --rtp-ports 10000-10099 --rtp-advertise 203.0.113.7",
    },
    Role {
        name: "admin",
        table: AdminSettings::TABLE,
        example: "fairlead admin --registrar 127.0.0.1:7001 --listen 127.0.0.1:8080",
    },
    Role {
        name: "operator",
        table: OperatorSettings::TABLE,
        example: "fairlead operator --namespace sip --release edge --full-name edge-fairlead --registrar edge-fairlead-registrar:7001",
    },
];

/// The whole command line.
pub fn command() -> Command {
    Command::new("fairlead")
        .about("A SIP edge: phones and trunks register and call through it. The role is the subcommand.")
        .version(fairlead_runtime::build::long_version())
        .subcommand_required(true)
        .arg_required_else_help(true)
        .after_help("Example: fairlead standalone --sip-conf deploy/examples/sip.conf --state ./state")
        .subcommands(ROLES.iter().map(role))
        .subcommand(sip())
        .subcommand(check_config())
        .subcommand(crate::probe::command())
        .subcommand(reindex())
        .subcommand(print())
}

fn role(role: &Role) -> Command {
    let mut settings = vec![role.table, CommonSettings::TABLE, TelemetrySettings::TABLE];
    if role.name != "standalone" {
        settings.push(TlsSettings::TABLE);
    }
    Command::new(role.name)
        .about(role.table.about.trim())
        .after_help(format!(
            "Each flag can be given in a TOML file (--config) and in the environment (FAIRLEAD_...) too.\n\nExample: {}",
            role.example
        ))
        .arg(
            Arg::new("config")
                .long("config")
                .value_name("FILE")
                .help("Settings file, TOML; weaker than environment and flags [environment: FAIRLEAD_CONFIG]")
                .value_parser(clap::value_parser!(PathBuf)),
        )
        .args(settings.iter().flat_map(|table| table.settings).map(flag))
}

fn flag(setting: &'static Setting) -> Arg {
    let default = setting.default.map(|texts| format!(" [default: {}]", texts.join(" "))).unwrap_or_default();
    let help = format!(
        "{} ({}){default} [environment: {}]",
        setting.help.trim(),
        setting.allowed,
        setting.environment
    );
    let arg = Arg::new(setting.name)
        .long(setting.name)
        .help(help)
        .value_name(setting.name.to_ascii_uppercase().replace('-', "_"))
        .action(ArgAction::Append)
        .allow_hyphen_values(true);
    if setting.switch { arg.num_args(0..=1).default_missing_value("true").require_equals(true) } else { arg }
}

fn admin_url() -> Arg {
    Arg::new("admin-url")
        .long("admin-url")
        .env("FAIRLEAD_ADMIN_URL")
        .value_name("URL")
        .default_value("http://127.0.0.1:8080")
        .help("Where admin listens")
}

fn admin_token() -> Arg {
    Arg::new("admin-token")
        .long("admin-token")
        .env("FAIRLEAD_ADMIN_TOKEN")
        .hide_env_values(true)
        .value_name("TOKEN")
        .help("The bearer token of admin, when it wants one")
}

fn sip() -> Command {
    Command::new("sip")
        .about("The words of Asterisk's console, for the whole edge: `fairlead sip show peers`")
        .arg_required_else_help(true)
        .after_help(format!("{}\n\nExample: fairlead sip show peers like ^20", fairlead_admin::cli::usage()))
        .arg(admin_url())
        .arg(admin_token())
        .arg(
            Arg::new("words")
                .value_name("WORDS")
                .help("What to show or do, one of the commands below; `help` and its words tell how each is used")
                .num_args(1..)
                .required(true)
                .trailing_var_arg(true)
                .allow_hyphen_values(true),
        )
}

fn check_config() -> Command {
    Command::new("check-config")
        .about("Reads a sip.conf and says what of it is wrong or not honoured, as FILE:LINE: TEXT")
        .after_help("Ends with 1 when the file cannot be used, else with 0.\n\nExample: fairlead check-config /etc/asterisk/sip.conf")
        .arg(
            Arg::new("file")
                .value_name("FILE")
                .help("The sip.conf; what it includes is read too")
                .required(true)
                .value_parser(clap::value_parser!(PathBuf)),
        )
}

fn reindex() -> Command {
    Command::new("reindex")
        .about("Lists peers that somebody else wrote into the store: rebuilds the indexes of all peers")
        .after_help("Example: fairlead reindex --admin-url http://127.0.0.1:8080")
        .arg(admin_url())
        .arg(admin_token())
}

fn print() -> Command {
    Command::new("print")
        .about("Prints what is built in")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .after_help("Example: fairlead print settings")
        .subcommand(
            Command::new("settings")
                .about("Every setting of every role with its default, as a TOML file or a page")
                .after_help("Example: fairlead print settings > fairlead.toml")
                .arg(
                    Arg::new("format")
                        .long("format")
                        .value_name("FORMAT")
                        .help("A settings file to start from, or a page with a table for each role")
                        .value_parser(["toml", "markdown"])
                        .default_value("toml"),
                ),
        )
        .subcommand(
            Command::new("crds")
                .about("The kinds of objects that the operator role knows, as YAML for the API server")
                .after_help("Example: fairlead print crds | kubectl apply --server-side -f -"),
        )
        .subcommand(
            Command::new("openapi")
                .about("The OpenAPI 3.1 description of the REST API")
                .after_help("Example: fairlead print openapi > openapi.json"),
        )
}

/// Takes file, environment and flags of a role together; nothing is judged yet but that the file names only settings.
pub fn layers(matches: &ArgMatches) -> anyhow::Result<Layers> {
    let mut layers = Layers::new().with_process_environment()?;
    let from_environment = || std::env::var_os("FAIRLEAD_CONFIG").map(PathBuf::from);
    if let Some(file) = matches.get_one::<PathBuf>("config").cloned().or_else(from_environment) {
        layers = layers.with_file(&file)?;
        layers.check_file(TABLES)?;
    }
    // Several roles share a setting: each flag is taken once.
    let names: BTreeSet<&str> =
        TABLES.iter().flat_map(|table| table.settings).map(|setting| setting.name).collect();
    for name in names {
        if let Ok(Some(values)) = matches.try_get_raw(name) {
            let texts =
                values.map(|value| text(name, value.to_owned())).collect::<anyhow::Result<Vec<_>>>()?;
            layers = layers.with_flag(name, texts);
        }
    }
    Ok(layers)
}

fn text(name: &str, value: OsString) -> anyhow::Result<String> {
    value.into_string().ok().with_context(|| format!("--{name} is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn every_command_has_an_example_in_its_help() {
        for sub in command().get_subcommands() {
            let help = sub.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("Example: fairlead "), "{}", sub.get_name());
        }
    }

    #[test]
    fn flags_reach_the_layers() {
        let matches = command()
            .try_get_matches_from([
                "fairlead",
                "media",
                "--registrar",
                "a:1",
                "--registrar",
                "b:2",
                "--rtp-ports",
                "1-2",
            ])
            .unwrap();
        let (_, role) = matches.subcommand().unwrap();
        let read = MediaSettings::read(&layers(role).unwrap()).unwrap();
        assert_eq!(read.registrar.len(), 2);
        assert_eq!((read.rtp_ports.first, read.rtp_ports.last), (1, 2));
    }

    #[test]
    fn no_setting_has_two_meanings() {
        let mut seen = std::collections::BTreeMap::new();
        for setting in TABLES.iter().flat_map(|table| table.settings) {
            // A listener is another thing for admin.
            if setting.name == "listen" {
                continue;
            }
            let kind = (setting.allowed, setting.repeated, setting.switch, setting.secret);
            let known = *seen.entry(setting.name).or_insert(kind);
            assert_eq!(known, kind, "--{} means two things", setting.name);
        }
    }
}
