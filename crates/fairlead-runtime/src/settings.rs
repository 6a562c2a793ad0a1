//! Settings: default < file (TOML) < environment (`FAIRLEAD_…`) < flag, described by one table for each part.
//!
//! A part of a role describes its settings with [`settings!`](crate::settings!), which makes a struct and a [`Table`].
//! The program gathers the [`Layers`], builds its flags from the tables, and reads every struct it needs before
//! anything binds. The same name is written `--rtp-ports` as a flag, `FAIRLEAD_RTP_PORTS` in the environment and
//! `rtp-ports` in the file: at the top for every role, or under `[media]` (the table's section) for one.
//!
//! ```
//! use fairlead_runtime::settings;
//! use fairlead_runtime::settings::{Layers, Settings, value::PortRange};
//!
//! settings! {
//!     /// The media role.
//!     pub struct MediaSettings in "media" {
//!         /// UDP ports for RTP.
//!         rtp_ports: PortRange = "10000-10099",
//!         /// Where to find a registrar.
//!         registrar: Vec<String> = ["127.0.0.1:5080"],
//!         /// Address to write into SDP.
//!         rtp_advertise: Option<std::net::IpAddr>,
//!     }
//! }
//!
//! let layers = Layers::new().with_environment([("FAIRLEAD_RTP_PORTS".to_owned(), "20000-20009".to_owned())]);
//! let media = MediaSettings::read(&layers).unwrap();
//! assert_eq!(media.rtp_ports.first, 20000);
//! assert_eq!(media.rtp_advertise, None);
//! ```

mod describe;
mod layers;
#[macro_use]
mod table_macro;
pub mod value;

pub use describe::{Form, describe};
pub use layers::{Layers, Source};
#[doc(hidden)]
pub use table_macro::{dashed, shouted};

use value::{BadValue, Field};

/// The settings of one part, in order.
#[derive(Clone, Copy, Debug)]
pub struct Table {
    /// Section of the file, and heading of the list.
    pub section: &'static str,
    /// What the part is.
    pub about: &'static str,
    /// Its settings.
    pub settings: &'static [Setting],
}

/// One setting: all that a flag, a line of the list and an error need to know of it.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// `rtp-ports`: the flag without dashes, and the key in the file.
    pub name: &'static str,
    /// `FAIRLEAD_RTP_PORTS`
    pub environment: &'static str,
    /// What it does.
    pub help: &'static str,
    /// What it may be.
    pub allowed: &'static str,
    /// What it is when nobody says anything; `None`: nothing, or it has to be given (see `required`).
    pub default: Option<&'static [&'static str]>,
    /// It has to be given.
    pub required: bool,
    /// It may be given several times; in the environment separated by commas.
    pub repeated: bool,
    /// A flag without a value means `true`.
    pub switch: bool,
    /// Its value is never printed.
    pub secret: bool,
}

/// A struct made by [`settings!`](crate::settings!).
pub trait Settings: Sized {
    /// What it is made of.
    const TABLE: Table;

    /// Takes the values from the layers, each from the strongest that has it.
    fn read(layers: &Layers) -> Result<Self, SettingErrors>;
}

/// All that is wrong with the settings of one part.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct SettingErrors(pub Vec<SettingError>);

/// One thing that is wrong.
#[derive(Debug, thiserror::Error)]
pub enum SettingError {
    /// The value is not allowed.
    #[error("{name} is {shown} {source}, allowed: {allowed}")]
    Bad {
        /// The setting.
        name: &'static str,
        /// Its value, or stars when it is a secret.
        shown: String,
        /// Where it came from.
        #[source]
        source: Source,
        /// What it may be.
        allowed: &'static str,
    },
    /// It must be given and is not.
    #[error("{name} is not set: give --{name}, {environment}, or {name} in the file; allowed: {allowed}")]
    Missing {
        /// The setting.
        name: &'static str,
        /// Its variable.
        environment: &'static str,
        /// What it may be.
        allowed: &'static str,
    },
    /// It was given several times and may be given once.
    #[error("{name} is given {count} times {source}, allowed: once, {allowed}")]
    Repeated {
        /// The setting.
        name: &'static str,
        /// How often.
        count: usize,
        /// Where.
        #[source]
        source: Source,
        /// What it may be.
        allowed: &'static str,
    },
    /// The value of a variable is no UTF-8.
    #[error("{name} in the environment is not UTF-8")]
    NoText {
        /// The variable.
        name: String,
    },
    /// The file names something that no role knows.
    #[error("{key} in {file} is no setting; allowed are the names that `fairlead print settings` lists")]
    Unknown {
        /// What it says.
        key: String,
        /// The file.
        file: String,
    },
    /// The file could not be read or is no TOML.
    #[error("could not read the settings in {file}: {cause}")]
    File {
        /// The file.
        file: String,
        /// Why.
        cause: String,
    },
}

/// Reads one field; for [`settings!`](crate::settings!).
#[doc(hidden)]
pub fn read_field<F: Field>(
    layers: &Layers,
    section: &str,
    setting: &Setting,
    errors: &mut Vec<SettingError>,
) -> Option<F> {
    let (texts, source) = layers.lookup(section, setting);
    if texts.is_empty() && setting.required {
        let (name, environment, allowed) = (setting.name, setting.environment, setting.allowed);
        errors.push(SettingError::Missing { name, environment, allowed });
        return None;
    }
    if texts.len() > 1 && !setting.repeated {
        let (name, allowed) = (setting.name, setting.allowed);
        errors.push(SettingError::Repeated { name, count: texts.len(), source, allowed });
        return None;
    }
    match F::from_texts(&texts) {
        Ok(field) => Some(field),
        Err(BadValue) => {
            let bad = texts.iter().find(|text| F::from_texts(std::slice::from_ref(text)).is_err());
            let shown = match bad {
                _ if setting.secret => "(hidden)".to_owned(),
                Some(text) => format!("{text:?}"),
                None => format!("{texts:?}"),
            };
            errors.push(SettingError::Bad { name: setting.name, shown, source, allowed: setting.allowed });
            None
        }
    }
}
