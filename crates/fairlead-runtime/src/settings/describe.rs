//! `fairlead print settings`: every setting with its default, what it may be and where it is given.

use std::fmt::Write;

use super::{Setting, Table};

/// How the list is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A TOML file with every setting commented out.
    Toml,
    /// A page with a table for each part.
    Markdown,
}

/// Lists the settings of these tables.
pub fn describe(tables: &[Table], form: Form) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = match form {
        Form::Toml => as_toml(&mut out, tables),
        Form::Markdown => as_markdown(&mut out, tables),
    };
    out
}

fn as_toml(out: &mut String, tables: &[Table]) -> std::fmt::Result {
    writeln!(
        out,
        "# Settings of Fairlead. Weakest first: default, this file, environment (FAIRLEAD_...), flag (--...)."
    )?;
    writeln!(out, "# A setting above all sections is meant for every role.")?;
    for table in tables {
        writeln!(out, "\n# {}\n[{}]", table.about.trim(), table.section)?;
        for setting in table.settings {
            writeln!(out, "\n# {}", setting.help.trim())?;
            writeln!(out, "# Allowed: {}. {}, --{}", allowed(setting), setting.environment, setting.name)?;
            let value = match (setting.default, setting.repeated) {
                (Some(texts), true) => format!("{texts:?}"),
                (Some(texts), false) => format!("{:?}", texts.first().copied().unwrap_or_default()),
                (None, true) => "[]".to_owned(),
                (None, false) => "\"\"".to_owned(),
            };
            let note = if setting.required { " # has to be given" } else { "" };
            writeln!(out, "# {} = {value}{note}", setting.name)?;
        }
    }
    Ok(())
}

fn as_markdown(out: &mut String, tables: &[Table]) -> std::fmt::Result {
    writeln!(out, "# Settings\n")?;
    writeln!(
        out,
        "Weakest first: default, file (TOML, `--config`), environment, flag. In the file a setting stands at the top"
    )?;
    writeln!(
        out,
        "for every role, or under the section of its table for one. In the environment several values are separated by commas."
    )?;
    for table in tables {
        writeln!(out, "\n## `[{}]`\n\n{}\n", table.section, table.about.trim())?;
        writeln!(out, "| flag | environment | default | allowed | what it does |\n|---|---|---|---|---|")?;
        for setting in table.settings {
            let default = match setting.default {
                Some(texts) => texts.iter().map(|text| format!("`{text}`")).collect::<Vec<_>>().join(" "),
                None if setting.required => "(has to be given)".to_owned(),
                None => String::new(),
            };
            let cells = [
                format!("`--{}`", setting.name),
                format!("`{}`", setting.environment),
                default,
                allowed(setting),
                setting.help.trim().to_owned(),
            ];
            writeln!(out, "| {} |", cells.map(|cell| cell.replace('|', "\\|")).join(" | "))?;
        }
    }
    Ok(())
}

fn allowed(setting: &Setting) -> String {
    if setting.repeated { format!("{}; several", setting.allowed) } else { setting.allowed.to_owned() }
}
