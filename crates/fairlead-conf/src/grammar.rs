//! Asterisk's configuration grammar: sections, templates, inheritance, additions, includes.

use std::sync::Arc;

use regex::Regex;

use crate::comment::Comments;
use crate::diagnostic::{Diagnostic, Severity};
use crate::include::{Loader, Text, joined};

/// How deep files may include each other (Asterisk's limit).
const DEEPEST: usize = 10;

/// How many files may be read in all: ten levels of files that include each other twice are endless enough.
const MOST_FILES: usize = 10_000;

/// How many lines all sections may have, with those that they inherit: a section that inherits twice what inherits
/// twice … has more lines after forty steps than any memory holds.
const MOST_LINES: usize = 2_000_000;

/// One `key = value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Left of the sign.
    pub key: String,
    /// Right of it.
    pub value: String,
    /// The file it stands in.
    pub file: Arc<str>,
    /// The line, from 1.
    pub line: usize,
}

/// One section with all of its lines, those that it inherits first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// Between the brackets.
    pub name: String,
    /// `(!)`: only there to be inherited.
    pub is_template: bool,
    /// In order.
    pub lines: Vec<Line>,
    /// The file it begins in.
    pub file: Arc<str>,
    /// The line it begins on.
    pub line: usize,
}

/// Reads a file and all that it includes. Sections come in order; several may have one name.
pub fn sections(first: &str, loader: &mut Loader<'_>) -> (Vec<Section>, Vec<Diagnostic>) {
    let mut reader = Reader {
        first: first.to_owned(),
        loader,
        sections: Vec::new(),
        current: None,
        diagnostics: Vec::new(),
        place: (Arc::from(first), 1),
        files: 0,
        lines: 0,
    };
    match (reader.loader)(first) {
        Ok(texts) if texts.is_empty() => reader.error("there is no such file"),
        Ok(texts) => texts.iter().for_each(|text| reader.file(text, 0)),
        Err(why) => reader.error(format!("the file cannot be read: {why}")),
    }
    (reader.sections, reader.diagnostics)
}

struct Reader<'a, 'l> {
    first: String,
    loader: &'a mut Loader<'l>,
    sections: Vec<Section>,
    /// The section that lines go into.
    current: Option<usize>,
    diagnostics: Vec<Diagnostic>,
    place: (Arc<str>, usize),
    files: usize,
    lines: usize,
}

impl Reader<'_, '_> {
    fn error(&mut self, text: impl Into<String>) {
        self.say(Severity::Error, text);
    }

    fn say(&mut self, severity: Severity, text: impl Into<String>) {
        let (file, line) = self.place.clone();
        self.diagnostics.push(Diagnostic { file, line, severity, text: text.into() });
    }

    fn file(&mut self, text: &Text, depth: usize) {
        self.files += 1;
        if self.files > MOST_FILES {
            if self.files == MOST_FILES + 1 {
                self.error(format!("more than {MOST_FILES} files are included"));
            }
            return;
        }
        let before = self.place.clone();
        let mut comments = Comments::default();
        let content = text.text.strip_prefix('\u{feff}').unwrap_or(&text.text);
        for (number, line) in content.lines().enumerate() {
            self.place = (text.file.clone(), number + 1);
            let line = comments.strip(line, number + 1);
            self.line(line.trim(), depth);
        }
        if let Some(line) = comments.unclosed() {
            self.place = (text.file.clone(), line);
            self.error("the comment that begins here with ;-- is never closed with --;");
        }
        self.place = before;
    }

    fn line(&mut self, line: &str, depth: usize) {
        match line.chars().next() {
            None => {}
            Some('[') => self.header(line),
            Some('#') => self.directive(line, depth),
            Some(_) => self.setting(line),
        }
    }

    /// `[name]`, `[name](options)`.
    fn header(&mut self, line: &str) {
        // Lines below a header that cannot be read belong to nobody; they are not put into the section before.
        self.current = None;
        let inner = line.get(1..).unwrap_or_default();
        let Some((name, rest)) = inner.split_once(']') else {
            return self.error("the section's name is not closed with ]");
        };
        let (name, rest) = (name.trim(), rest.trim());
        if name.is_empty() {
            return self.error("a section needs a name between [ and ]");
        }
        let options = match rest.strip_prefix('(') {
            Some(open) => match open.split_once(')') {
                Some((options, after)) => {
                    if !after.trim().is_empty() {
                        self.say(Severity::Warning, format!("'{}' behind [{name}] is ignored", after.trim()));
                    }
                    options
                }
                None => return self.error(format!("the options of [{name}] are not closed with )")),
            },
            None => {
                if !rest.is_empty() {
                    self.say(Severity::Warning, format!("'{rest}' behind [{name}] is ignored"));
                }
                ""
            }
        };
        self.open(name, options);
    }

    fn open(&mut self, name: &str, options: &str) {
        let mut section = Section {
            name: name.to_owned(),
            is_template: false,
            lines: Vec::new(),
            file: self.place.0.clone(),
            line: self.place.1,
        };
        let mut added_to = None;
        let mut inherited = 0_usize;
        for option in options.split(',').map(str::trim).filter(|option| !option.is_empty()) {
            if option == "!" {
                section.is_template = true;
            } else if let Some(filter) = option.strip_prefix('+') {
                match self.find_to_add(name, filter) {
                    Ok(at) => added_to = Some(at),
                    Err(why) => return self.error(why),
                }
            } else {
                match self.sections.iter().rev().find(|known| known.name == option) {
                    Some(base) => {
                        inherited = inherited.saturating_add(base.lines.len());
                        if self.lines.saturating_add(inherited) > MOST_LINES {
                            return self.error(format!(
                                "[{name}] inherits too much: all sections together have more than {MOST_LINES} lines"
                            ));
                        }
                        section.lines.extend(base.lines.iter().cloned());
                    }
                    None => {
                        return self
                            .error(format!("[{name}] inherits [{option}], which is not there before it"));
                    }
                }
            }
        }
        self.lines = self.lines.saturating_add(inherited);
        match added_to.and_then(|at| self.sections.get_mut(at)) {
            Some(known) => {
                known.lines.append(&mut section.lines);
                self.current = added_to;
            }
            None => {
                self.sections.push(section);
                self.current = self.sections.len().checked_sub(1);
            }
        }
    }

    /// The section that `(+)` or `(+field=regex&…)` adds to.
    fn find_to_add(&self, name: &str, filter: &str) -> Result<usize, String> {
        let mut wanted = Vec::new();
        for part in filter.split('&').map(str::trim).filter(|part| !part.is_empty()) {
            let (field, pattern) =
                part.split_once('=').ok_or_else(|| format!("[{name}](+{filter}): +FIELD=REGEX is wanted"))?;
            let regex =
                Regex::new(pattern).map_err(|_| format!("[{name}](+{filter}): '{pattern}' is no regex"))?;
            wanted.push((field.trim(), regex));
        }
        let fits = |section: &Section| {
            section.name == name
                && wanted.iter().all(|(field, regex)| {
                    let mut values = section.lines.iter().filter(|line| line.key.eq_ignore_ascii_case(field));
                    values.any(|line| regex.is_match(&line.value))
                })
        };
        let missing = || format!("[{name}](+) adds to a section that is not there before it");
        self.sections.iter().position(fits).ok_or_else(missing)
    }

    /// `key = value`, `key => value`, `key += value`.
    fn setting(&mut self, line: &str) {
        let Some((key, value)) = line.split_once('=') else {
            // The text is not repeated: it may be half of a secret.
            return self.error("this line is no 'option = value', no section and no comment");
        };
        let (key, adds) = match key.trim_end().strip_suffix('+') {
            Some(key) => (key.trim(), true),
            None => (key.trim(), false),
        };
        let value = value.strip_prefix('>').unwrap_or(value).trim();
        if key.is_empty() {
            return self.error("there is no option before the =");
        }
        let (file, number) = self.place.clone();
        let Some(section) = self.current.and_then(|at| self.sections.get_mut(at)) else {
            // One error for the header is enough; without any header each line is to blame.
            if self.sections.is_empty() && self.diagnostics.is_empty() {
                self.error(format!("option '{key}' stands before the first section"));
            }
            return;
        };
        if adds
            && let Some(last) = section.lines.iter_mut().rev().find(|line| line.key.eq_ignore_ascii_case(key))
        {
            last.value.push_str(value);
            (last.file, last.line) = (file, number);
            return;
        }
        section.lines.push(Line { key: key.to_owned(), value: value.to_owned(), file, line: number });
    }

    /// `#include`, `#tryinclude`, `#exec`.
    fn directive(&mut self, line: &str, depth: usize) {
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let rest = rest.trim();
        let quoted = [('"', '"'), ('<', '>')].iter().find_map(|(open, close)| {
            rest.strip_prefix(*open).and_then(|rest| rest.split_once(*close)).map(|(path, _)| path)
        });
        let path = quoted.unwrap_or(rest).trim();
        match word.to_ascii_lowercase().as_str() {
            "#include" | "#tryinclude" if path.is_empty() => self.error(format!("{word} names no file")),
            "#include" => self.include(path, depth, true),
            "#tryinclude" => self.include(path, depth, false),
            "#exec" => {
                self.error("#exec is refused: a configuration file does not run programs; use #include");
            }
            _ => self.error(format!("'{word}' is not known; #include and #tryinclude are")),
        }
    }

    fn include(&mut self, path: &str, depth: usize, must: bool) {
        if depth >= DEEPEST {
            return self.error(format!(
                "'{path}' is not included: files include each other more than {DEEPEST} deep"
            ));
        }
        let path = joined(&self.first, path);
        match (self.loader)(&path) {
            Ok(texts) if texts.is_empty() && must => {
                self.error(format!("'{path}' is not there to be included"))
            }
            Ok(texts) => texts.iter().for_each(|text| self.file(text, depth + 1)),
            Err(why) if must => self.error(format!("'{path}' cannot be included: {why}")),
            Err(why) => self.say(Severity::Warning, format!("'{path}' is left out: {why}")),
        }
    }
}

#[cfg(test)]
mod tests;
