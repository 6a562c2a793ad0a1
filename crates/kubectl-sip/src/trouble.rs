//! What Kubernetes refuses, and which rule would have allowed it.

use fairlead_admin::cli::Ended;

/// What was asked of the API server.
pub struct Asked<'a> {
    /// In words.
    pub what: &'a str,
    /// Verb and resource of a rule.
    pub rule: &'a str,
    /// `resourceNames` of the rule.
    pub names: &'a [String],
    /// Where.
    pub namespace: &'a str,
}

/// Why it was not to be had.
pub fn ended(cause: kube::Error, asked: &Asked<'_>) -> Ended {
    match &cause {
        kube::Error::Api(status) if status.code == 403 => Ended::Forbidden(needed(asked)),
        kube::Error::Api(status) if status.code == 401 => Ended::Refused(
            "Kubernetes does not know you: the credentials of the kubeconfig are wrong or have expired"
                .to_owned(),
        ),
        kube::Error::Api(status) if status.code < 500 => {
            Ended::Refused(format!("could not {}: {}", asked.what, status.message))
        }
        _ => Ended::Away(format!("could not {}: {}", asked.what, innermost(&cause))),
    }
}

/// Which rule would allow it.
pub fn needed(asked: &Asked<'_>) -> String {
    let names = if asked.names.is_empty() {
        String::new()
    } else {
        format!(", resourceNames [{}],", asked.names.join(", "))
    };
    format!(
        "you may not {}: a rule `{}`{names} in namespace {} is needed (a Role and a RoleBinding to you)",
        asked.what, asked.rule, asked.namespace
    )
}

/// The error that began it.
pub fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
