//! Whether an object is served, in the words of its condition `Ready`.

/// Why it is served or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Every registrar serves the peer as it is asked for.
    Ready,
    /// Somebody else has the SIP name.
    NameTaken(String),
    /// A Secret or a key of it is not there.
    SecretMissing(String),
    /// What a Secret holds cannot be a password.
    SecretUnusable(String),
    /// Options with values that no peer can have.
    Invalid(Vec<String>),
    /// It is written, but these registrars did not say that they serve it.
    RegistrarsSilent(Vec<String>),
    /// No registrar can be asked.
    RegistrarsAway(String),
    /// No registrar has it, as far as is known. Takes back what was said before the registrars lost it, or by a release
    /// that is gone.
    NotYet,
}

impl Verdict {
    /// The status of the condition.
    pub const fn is_ready(&self) -> bool {
        matches!(self, Verdict::Ready)
    }

    /// Its reason.
    pub const fn reason(&self) -> &'static str {
        match self {
            Verdict::Ready => "Served",
            Verdict::NameTaken(_) => "NameTaken",
            Verdict::SecretMissing(_) => "SecretMissing",
            Verdict::SecretUnusable(_) => "SecretUnusable",
            Verdict::Invalid(_) => "Invalid",
            Verdict::RegistrarsSilent(_) => "RegistrarsSilent",
            Verdict::RegistrarsAway(_) => "RegistrarsAway",
            Verdict::NotYet => "NotServedYet",
        }
    }

    /// Its message.
    pub fn message(&self) -> String {
        match self {
            Verdict::Ready => "every registrar serves it".to_owned(),
            Verdict::NameTaken(text) | Verdict::SecretMissing(text) | Verdict::SecretUnusable(text) => {
                text.clone()
            }
            Verdict::Invalid(reasons) => reasons.join("; "),
            Verdict::RegistrarsSilent(names) => {
                format!(
                    "it is written, but these registrars may still hold what was before: {}",
                    names.join(", ")
                )
            }
            Verdict::RegistrarsAway(why) => format!("no registrar can be asked: {why}"),
            Verdict::NotYet => "it is not known that any registrar has it".to_owned(),
        }
    }
}
