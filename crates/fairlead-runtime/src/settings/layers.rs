//! Where values come from, weakest first: default, file, environment, flag.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::Path;

use super::{Setting, SettingError, Table};

/// The longest settings file that is read, bytes.
const FILE_LIMIT: u64 = 1 << 20;

/// What names of our variables begin with.
const PREFIX: &str = "FAIRLEAD_";

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Nobody said anything.
    Default,
    /// The file, with its path.
    File(String),
    /// A variable, with its name.
    Environment(&'static str),
    /// A flag, with its name.
    Flag(&'static str),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Default => f.write_str("by default"),
            Source::File(path) => write!(f, "in {path}"),
            Source::Environment(name) => write!(f, "in {name}"),
            Source::Flag(name) => write!(f, "after --{name}"),
        }
    }
}

impl std::error::Error for Source {}

/// What file, environment and flags say, not judged yet.
#[derive(Clone, Debug, Default)]
pub struct Layers {
    file: Option<(String, toml::Table)>,
    environment: BTreeMap<String, String>,
    flags: BTreeMap<String, Vec<String>>,
}

impl Layers {
    /// Nothing but defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// With the environment of this process.
    pub fn with_process_environment(self) -> Result<Self, SettingError> {
        self.with_os_environment(std::env::vars_os())
    }

    /// With these variables as [`Self::with_environment`] takes them. One of ours whose value is no UTF-8 is an error:
    /// without a word its default would count.
    pub fn with_os_environment(
        self,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, SettingError> {
        // A name that is no UTF-8 is none of ours.
        let named = variables.into_iter().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
        let ours = named
            .filter(|(name, _)| name.starts_with(PREFIX))
            .map(|(name, value)| match value.into_string() {
                Ok(value) => Ok((name, value)),
                Err(_) => Err(SettingError::NoText { name }),
            })
            .collect::<Result<Vec<_>, _>>()?;
        Ok(self.with_environment(ours))
    }

    /// With these variables; only those that begin with `FAIRLEAD_` are kept. Others of that kind that are no setting
    /// are no error: Kubernetes makes variables for every Service of that name.
    pub fn with_environment(mut self, variables: impl IntoIterator<Item = (String, String)>) -> Self {
        self.environment.extend(variables.into_iter().filter(|(name, _)| name.starts_with(PREFIX)));
        self
    }

    /// With a flag and all its values, in order.
    pub fn with_flag(mut self, name: impl Into<String>, values: impl IntoIterator<Item = String>) -> Self {
        self.flags.entry(name.into()).or_default().extend(values);
        self
    }

    /// With a TOML file.
    pub fn with_file(self, path: &Path) -> Result<Self, SettingError> {
        let file = path.display().to_string();
        let failed = |cause: String| SettingError::File { file: file.clone(), cause };
        let length = std::fs::metadata(path).map_err(|cause| failed(cause.to_string()))?.len();
        if length > FILE_LIMIT {
            return Err(failed(format!("it has more than {FILE_LIMIT} bytes")));
        }
        let text = std::fs::read_to_string(path).map_err(|cause| failed(cause.to_string()))?;
        self.with_file_text(&file, &text)
    }

    /// With the text of a TOML file; `file` names it in errors.
    pub fn with_file_text(mut self, file: &str, text: &str) -> Result<Self, SettingError> {
        let table = text.parse::<toml::Table>().map_err(|cause| SettingError::File {
            file: file.to_owned(),
            cause: cause.to_string().trim_end().to_owned(),
        })?;
        self.file = Some((file.to_owned(), table));
        Ok(self)
    }

    /// Whether the file names only settings of these tables. To be called with the tables of all roles: a file may
    /// serve several.
    pub fn check_file(&self, tables: &[Table]) -> Result<(), SettingError> {
        let Some((file, content)) = &self.file else { return Ok(()) };
        let unknown = |key: String| Err(SettingError::Unknown { key, file: file.clone() });
        for (key, value) in content {
            if let toml::Value::Table(section) = value {
                let of_section =
                    || tables.iter().filter(|table| table.section == key).flat_map(|table| table.settings);
                if of_section().next().is_none() {
                    return unknown(format!("[{key}]"));
                }
                // A section may say anything that the role it names understands, settings of all roles included.
                let known =
                    |name: &str| tables.iter().flat_map(|table| table.settings).any(|s| s.name == name);
                if let Some(name) = section.keys().find(|name| !known(name)) {
                    return unknown(format!("{name} under [{key}]"));
                }
            } else if !tables.iter().flat_map(|table| table.settings).any(|setting| setting.name == key) {
                return unknown(key.clone());
            }
        }
        Ok(())
    }

    /// The texts of a setting from the strongest layer that has any, and which that was.
    pub(super) fn lookup(&self, section: &str, setting: &Setting) -> (Vec<String>, Source) {
        if let Some(values) = self.flags.get(setting.name)
            && !values.is_empty()
        {
            return (values.clone(), Source::Flag(setting.name));
        }
        if let Some(value) = self.environment.get(setting.environment) {
            return (split(value, setting.repeated), Source::Environment(setting.environment));
        }
        if let Some((file, content)) = &self.file {
            let in_section = content
                .get(section)
                .and_then(toml::Value::as_table)
                .and_then(|table| table.get(setting.name));
            let value = in_section.or_else(|| content.get(setting.name).filter(|value| !value.is_table()));
            if let Some(value) = value {
                return (texts(value), Source::File(file.clone()));
            }
        }
        let default = setting.default.unwrap_or_default();
        (default.iter().map(|text| (*text).to_owned()).collect(), Source::Default)
    }
}

/// A variable holds one text; for a setting that may be given several times they are separated by commas.
fn split(value: &str, repeated: bool) -> Vec<String> {
    if !repeated {
        return vec![value.to_owned()];
    }
    value.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

fn texts(value: &toml::Value) -> Vec<String> {
    match value {
        toml::Value::String(text) => vec![text.clone()],
        toml::Value::Array(values) => values.iter().flat_map(texts).collect(),
        other => vec![other.to_string()],
    }
}
