//! Sections of sip.conf to `[general]` and peers.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use fairlead_model::peer::options::{Remark, set_general, set_peer};
use fairlead_model::peer::{GeneralFull, Peer, PeerSource};

use crate::diagnostic::{Broken, Diagnostic, Severity};
use crate::grammar::{Line, Section, sections};
use crate::include::{Loader, Text};

/// All that sip.conf says.
#[derive(Clone, Debug, PartialEq)]
pub struct SipConf {
    /// `[general]` and `[authentication]`.
    pub general: GeneralFull,
    /// The peers, in order of the file.
    pub peers: Vec<Peer>,
    /// Warnings.
    pub diagnostics: Vec<Diagnostic>,
}

/// Reads sip.conf and what it includes. `file` is what the loader is asked for first.
pub fn read(file: &str, loader: &mut Loader<'_>) -> Result<SipConf, Broken> {
    let (sections, diagnostics) = sections(file, loader);
    let mut builder = Builder { diagnostics, ..Builder::default() };
    builder.general(&sections);
    builder.peers(&sections);
    let diagnostics = builder.sorted_diagnostics(file);
    if diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error) {
        return Err(Broken { diagnostics });
    }
    Ok(SipConf { general: builder.general, peers: builder.peers, diagnostics })
}

/// Reads a text that includes nothing (an include in it is an error).
pub fn read_text(file: &str, text: &str) -> Result<SipConf, Broken> {
    let mut loader = |path: &str| {
        let here = (path == file).then(|| Text { file: Arc::from(file), text: text.to_owned() });
        Ok(here.into_iter().collect())
    };
    read(file, &mut loader)
}

#[derive(Default)]
struct Builder {
    general: GeneralFull,
    peers: Vec<Peer>,
    diagnostics: Vec<Diagnostic>,
}

impl Builder {
    fn say(&mut self, file: &Arc<str>, line: usize, text: impl Into<String>) {
        let diagnostic =
            Diagnostic { file: file.clone(), line, severity: Severity::Warning, text: text.into() };
        self.diagnostics.push(diagnostic);
    }

    fn remarks(&mut self, line: &Line, remarks: Vec<Remark>) {
        for remark in remarks {
            self.say(&line.file, line.line, remark.to_string());
        }
    }

    /// `[general]` comes first wherever it stands, since every peer starts from it.
    fn general(&mut self, sections: &[Section]) {
        for section in sections.iter().filter(|section| is(section, "general") && !section.is_template) {
            for line in &section.lines {
                let remarks = set_general(&mut self.general, &line.key, &line.value);
                self.remarks(line, remarks);
            }
        }
        for section in sections.iter().filter(|section| is(section, "authentication") && !section.is_template)
        {
            for line in &section.lines {
                let remarks = if line.key.eq_ignore_ascii_case("auth") {
                    set_general(&mut self.general, "auth", &line.value)
                } else {
                    vec![Remark::Misplaced { option: line.key.clone(), place: "another section" }]
                };
                self.remarks(line, remarks);
            }
        }
        let (min, max) = (self.general.min_expiry, self.general.max_expiry);
        if min > max {
            let place = sections
                .iter()
                .filter(|section| is(section, "general"))
                .flat_map(|section| &section.lines)
                .rfind(|line| {
                    ["minexpiry", "minexpirey", "maxexpiry", "maxexpirey"]
                        .contains(&&*line.key.to_lowercase())
                });
            if let Some(line) = place.cloned() {
                let text =
                    format!("option 'minexpiry' ({min}) is more than 'maxexpiry' ({max}), which holds");
                self.say(&line.file, line.line, text);
            }
            self.general.min_expiry = max;
        }
    }

    fn peers(&mut self, sections: &[Section]) {
        let mut places: HashMap<&str, usize> = HashMap::new();
        for section in
            sections.iter().filter(|section| !is(section, "general") && !is(section, "authentication"))
        {
            if section.is_template {
                self.template(section);
                continue;
            }
            let known = places.get(section.name.as_str()).copied();
            if known.is_some() {
                let text =
                    format!("section [{}] is there already; these lines are added to it", section.name);
                self.say(&section.file, section.line, text);
            }
            let before = known.and_then(|at| self.peers.get(at)).cloned();
            let Some(peer) = self.peer(section, before) else { continue };
            match known.and_then(|at| self.peers.get_mut(at)) {
                Some(slot) => *slot = peer,
                None => {
                    places.insert(&section.name, self.peers.len());
                    self.peers.push(peer);
                }
            }
        }
    }

    /// A template's lines are read for what is to be said about them, even if nobody inherits it.
    fn template(&mut self, section: &Section) {
        let mut nobody = self.general.defaults.clone();
        for line in &section.lines {
            let remarks = set_peer(&mut nobody, &line.key, &line.value);
            self.remarks(line, remarks);
        }
    }

    fn peer(&mut self, section: &Section, before: Option<Peer>) -> Option<Peer> {
        let is_new = before.is_none();
        let mut peer = before.unwrap_or_else(|| Peer::named(&section.name, &self.general.defaults));
        peer.source = PeerSource::Static;
        let has = |key: &str| section.lines.iter().any(|line| line.key.eq_ignore_ascii_case(key));
        let mut type_is_wrong = false;
        for line in &section.lines {
            let remarks = set_peer(&mut peer, &line.key, &line.value);
            let bad = remarks.iter().any(|remark| matches!(remark, Remark::Bad { .. }));
            type_is_wrong |= bad && line.key.eq_ignore_ascii_case("type");
            self.remarks(line, remarks);
        }
        if is_new && (!has("type") || type_is_wrong) {
            let why = if type_is_wrong { "a wrong" } else { "no" };
            let text =
                format!("section [{}] has {why} 'type' (peer, user or friend) and is left out", section.name);
            self.say(&section.file, section.line, text);
            return None;
        }
        if is_new && peer.is_peer() && !has("host") {
            let text = format!("peer '{}' has no 'host'; it is taken as host=dynamic", section.name);
            self.say(&section.file, section.line, text);
        }
        if is_new && !peer.has_secret() && (peer.is_user() || peer.is_dynamic()) {
            let text = format!("peer '{}' has no 'secret': anybody may use its name", section.name);
            self.say(&section.file, section.line, text);
        }
        let own = Some(&peer.auth_algorithms).filter(|own| !own.is_empty());
        let takes_md5 = own.unwrap_or(&self.general.auth_algorithms).iter().any(|name| name == "MD5");
        if peer.md5_secret.is_some() && peer.secret.is_none() && !takes_md5 {
            let text =
                format!("peer '{}' has only an 'md5secret', but 'auth_algorithms' has no MD5", section.name);
            self.say(&section.file, section.line, text);
        }
        Some(peer)
    }

    /// Each once (a template's line is read for every heir), in order of the files and their lines.
    fn sorted_diagnostics(&mut self, first: &str) -> Vec<Diagnostic> {
        let mut seen = HashSet::new();
        let mut diagnostics = std::mem::take(&mut self.diagnostics);
        diagnostics.retain(|diagnostic| seen.insert(diagnostic.clone()));
        diagnostics.sort_by(|a, b| {
            (a.file.as_ref() != first, &a.file, a.line).cmp(&(b.file.as_ref() != first, &b.file, b.line))
        });
        diagnostics
    }
}

fn is(section: &Section, name: &str) -> bool {
    section.name.eq_ignore_ascii_case(name)
}

#[cfg(test)]
mod tests;
