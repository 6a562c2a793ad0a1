//! Settings as a program uses them.

use std::net::IpAddr;
use std::time::Duration;

use fairlead_runtime::settings;
use fairlead_runtime::settings::value::{HostPort, PortRange, Secret, SettingValue};
use fairlead_runtime::settings::{Form, Layers, Settings, describe};

settings! {
    /// A role.
    pub struct Role in "media" {
        /// UDP ports for RTP.
        rtp_ports: PortRange = "10000-10099",
        /// Registrars.
        registrar: Vec<HostPort> = ["127.0.0.1:5080"],
        /// Written into SDP.
        rtp_advertise: Option<IpAddr>,
        /// Has to be given.
        state: std::path::PathBuf,
        /// How long to wait.
        wait: Duration = "2s",
        /// A switch.
        strict: bool = "false",
        /// A token.
        token: Option<Secret>,
    }
}

fn variable(name: &str, value: &str) -> [(String, String); 1] {
    [(name.to_owned(), value.to_owned())]
}

fn flag(layers: Layers, name: &str, value: &str) -> Layers {
    layers.with_flag(name, [value.to_owned()])
}

#[test]
fn a_flag_is_stronger_than_the_environment_than_the_file_than_the_default() {
    let mut layers = flag(Layers::new(), "state", "dir");
    assert_eq!(Role::read(&layers).unwrap().wait, Duration::from_secs(2));
    layers = layers.with_file_text("f.toml", "wait = '3s'").unwrap();
    assert_eq!(Role::read(&layers).unwrap().wait, Duration::from_secs(3));
    layers = layers.with_file_text("f.toml", "wait = '3s'\n[media]\nwait = '4s'").unwrap();
    assert_eq!(Role::read(&layers).unwrap().wait, Duration::from_secs(4));
    layers = layers.with_environment(variable("FAIRLEAD_WAIT", "5s"));
    assert_eq!(Role::read(&layers).unwrap().wait, Duration::from_secs(5));
    layers = flag(layers, "wait", "6s");
    assert_eq!(Role::read(&layers).unwrap().wait, Duration::from_secs(6));
}

#[test]
fn several_values_come_from_repeated_flags_an_array_or_commas() {
    let base = flag(Layers::new(), "state", "dir");
    let flags = base.clone().with_flag("registrar", ["a:1".to_owned(), "[::1]:2".to_owned()]);
    let file = base.clone().with_file_text("f.toml", "registrar = ['a:1', '[::1]:2']").unwrap();
    let environment = base.with_environment(variable("FAIRLEAD_REGISTRAR", "a:1, [::1]:2"));
    for layers in [flags, file, environment] {
        let read = Role::read(&layers).unwrap().registrar;
        assert_eq!(read.iter().map(ToString::to_string).collect::<Vec<_>>(), ["a:1", "[::1]:2"]);
    }
}

#[test]
fn an_error_names_the_setting_where_it_came_from_and_what_is_allowed() {
    let layers = flag(Layers::new(), "rtp-ports", "9-1").with_environment(variable("FAIRLEAD_WAIT", "long"));
    let layers = layers.with_file_text("f.toml", "rtp-advertise = 'here'").unwrap();
    let text = Role::read(&layers).unwrap_err().to_string();
    assert_eq!(
        text.lines().collect::<Vec<_>>(),
        [
            "rtp-ports is \"9-1\" after --rtp-ports, allowed: FIRST-LAST, each from 1 to 65535",
            "rtp-advertise is \"here\" in f.toml, allowed: an IP address",
            "state is not set: give --state, FAIRLEAD_STATE, or state in the file; allowed: a path",
            "wait is \"long\" in FAIRLEAD_WAIT, allowed: a time such as 500ms, 2s, 10m or 1h",
        ]
    );
}

#[test]
fn a_setting_that_may_be_given_once_is_refused_twice() {
    let layers = Layers::new().with_flag("state", ["a".to_owned(), "b".to_owned()]);
    let text = Role::read(&layers).unwrap_err().to_string();
    assert_eq!(text, "state is given 2 times after --state, allowed: once, a path");
}

#[test]
fn a_name_in_the_file_that_nobody_knows_is_an_error() {
    let check = |text: &str| {
        let layers = Layers::new().with_file_text("f.toml", text).unwrap();
        layers.check_file(&[Role::TABLE]).map_err(|error| error.to_string())
    };
    assert_eq!(check("strict = true\n[media]\nwait = '1s'"), Ok(()));
    assert!(check("strickt = true").unwrap_err().starts_with("strickt in f.toml is no setting"));
    assert!(check("[media]\nwaits = 1").unwrap_err().starts_with("waits under [media] in f.toml"));
    assert!(check("[mdia]\nwait = 1").unwrap_err().starts_with("[mdia] in f.toml"));
}

#[test]
fn text_that_is_no_toml_is_an_error_with_its_place() {
    let error = Layers::new().with_file_text("f.toml", "a = ").unwrap_err().to_string();
    assert!(
        error.starts_with("could not read the settings in f.toml:") && error.contains("line 1"),
        "{error}"
    );
}

#[test]
fn a_secret_is_never_shown() {
    let layers = flag(flag(Layers::new(), "state", "x"), "token", "hunter2");
    let role = Role::read(&layers).unwrap();
    assert_eq!(role.token.as_ref().unwrap().expose(), "hunter2");
    assert!(!format!("{role:?}").contains("hunter2"));
}

#[test]
fn the_list_names_every_setting_and_its_toml_form_is_toml() {
    let toml = describe(&[Role::TABLE], Form::Toml);
    assert!(toml.contains("# rtp-ports = \"10000-10099\""), "{toml}");
    let uncommented =
        toml.lines().map(|line| line.strip_prefix("# ").filter(|l| l.contains(" = ")).unwrap_or(line));
    uncommented.collect::<Vec<_>>().join("\n").parse::<toml::Table>().unwrap();
    let page = describe(&[Role::TABLE], Form::Markdown);
    for setting in Role::TABLE.settings {
        assert!(page.contains(&format!("`--{}` | `{}`", setting.name, setting.environment)), "{page}");
    }
}

#[test]
fn a_switch_without_a_value_is_known_as_one() {
    let strict = Role::TABLE.settings.iter().find(|s| s.name == "strict").unwrap();
    assert!(strict.switch && !strict.required);
}

#[test]
fn what_is_no_address_or_time_is_refused() {
    for bad in ["", "host", "host:0", "host:70000", "::1:5060", "[::1:5060", "[host]:1", "a b:1", "a/b:1"] {
        assert!(HostPort::parse(bad).is_err(), "{bad}");
    }
    for bad in ["", "5", "s", "-1s", "1.5s", "18446744073709551615h"] {
        assert!(Duration::parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn every_part_of_this_crate_reads_with_nothing_but_defaults() {
    let layers = Layers::new();
    fairlead_runtime::telemetry::TelemetrySettings::read(&layers).unwrap();
    fairlead_runtime::common::CommonSettings::read(&layers).unwrap();
}

#[cfg(unix)]
#[test]
fn a_variable_of_ours_that_is_no_text_is_named_and_one_of_others_is_not_asked() {
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt;

    let read = |name: &str| {
        let variable = (OsString::from(name), OsString::from_vec(vec![b'2', 0xff, b's']));
        Layers::new().with_os_environment([variable]).map(|_| ()).map_err(|failed| failed.to_string())
    };
    assert_eq!(read("FAIRLEAD_WAIT"), Err("FAIRLEAD_WAIT in the environment is not UTF-8".to_owned()));
    assert_eq!(read("LS_COLORS"), Ok(()));
}
