//! The command line. Options may stand anywhere, as kubectl's may: `kubectl sip show peers -n sip`.

use std::path::PathBuf;

use crate::account::Account;

/// Where to look and as whom.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// `--namespace`; the context's, if absent.
    pub namespace: Option<String>,
    /// `--context`
    pub context: Option<String>,
    /// `--kubeconfig`
    pub kubeconfig: Option<PathBuf>,
    /// `--release`
    pub release: Option<String>,
    /// `--as-role`
    pub account: Option<Account>,
}

/// What is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// These words, there.
    Words(Place, Vec<String>),
    /// `--help`
    Help,
    /// `--version`
    Version,
}

/// Reads what follows the program's name; the text says what is wrong.
pub fn read(given: impl IntoIterator<Item = String>) -> Result<Wanted, String> {
    let (mut place, mut words) = (Place::default(), Vec::new());
    let mut given = given.into_iter();
    while let Some(word) = given.next() {
        if word == "--" {
            words.extend(given);
            break;
        }
        let (name, value) = match word.split_once('=') {
            Some((name, value)) if name.starts_with("--") => (name.to_owned(), Some(value.to_owned())),
            // `-nsip` and `-n=sip`, as kubectl reads them.
            _ if word.starts_with("-n") && word.len() > 2 => {
                let value = word.get(2..).map(|value| value.strip_prefix('=').unwrap_or(value));
                ("-n".to_owned(), value.map(str::to_owned))
            }
            _ => (word.clone(), None),
        };
        let mut value = || {
            let value = value.clone().or_else(|| given.next());
            value.filter(|value| !value.is_empty()).ok_or_else(|| format!("{name} wants a value"))
        };
        match name.as_str() {
            "-h" | "--help" => return Ok(Wanted::Help),
            "--version" => return Ok(Wanted::Version),
            "-n" | "--namespace" => place.namespace = Some(value()?),
            "--context" => place.context = Some(value()?),
            "--kubeconfig" => place.kubeconfig = Some(value()?.into()),
            "--release" => place.release = Some(value()?),
            "--as-role" => {
                let said = value()?;
                let account = Account::named(&said);
                place.account =
                    Some(account.ok_or_else(|| "--as-role wants viewer, agent or admin".to_owned())?);
            }
            _ => words.push(word),
        }
    }
    Ok(if words.is_empty() { Wanted::Help } else { Wanted::Words(place, words) })
}

/// What `--help` prints.
pub fn help() -> String {
    format!(
        "The words of Asterisk's console for a Fairlead in Kubernetes.

Usage: kubectl sip [OPTIONS] WORDS

{}

Options:
  -n, --namespace NAMESPACE  Where Fairlead is; the namespace of the context, if not given
      --release RELEASE      Which one, if there are several
      --context CONTEXT      Context of the kubeconfig
      --kubeconfig FILE      Instead of $KUBECONFIG or ~/.kube/config
      --as-role ROLE         viewer, agent or admin; the least that the words need, if not given
  -h, --help
      --version

Examples:
  kubectl sip -n sip address --wait
  kubectl sip -n sip show peers like ^20
  kubectl sip -n sip show channels --json
  kubectl sip -n sip prune realtime peer ann
  kubectl sip -n sip unregister ann
  kubectl sip -n sip doctor

It opens a port-forward to a ready admin pod, with a token of ten minutes for the ServiceAccount
RELEASE-fairlead-viewer, -agent or -admin. So you need `list pods`, `get` and `create pods/portforward`,
and `create serviceaccounts/token` for one of these three; your own token is never sent to a pod.
Ends with 0 when it was done, 1 when it was not (or `doctor` found an error, or `address` none),
2 when the words were wrong.
",
        fairlead_admin::cli::usage()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_line(line: &str) -> Result<Wanted, String> {
        read(line.split(' ').map(str::to_owned))
    }

    #[test]
    fn options_may_stand_anywhere() {
        let place = Place {
            namespace: Some("sip".to_owned()),
            release: Some("edge".to_owned()),
            account: Some(Account::Agent),
            ..Place::default()
        };
        let words = vec!["show".to_owned(), "peers".to_owned(), "--json".to_owned()];
        for line in [
            "-n sip --release edge --as-role agent show peers --json",
            "show peers --json -nsip --release=edge --as-role=agent",
            "show --namespace sip peers --release edge --json --as-role agent",
            "-n=sip show peers --release edge --as-role agent --json",
        ] {
            assert_eq!(read_line(line), Ok(Wanted::Words(place.clone(), words.clone())), "{line}");
        }
    }

    #[test]
    fn after_two_dashes_everything_is_a_word() {
        let words = ["show", "peer", "-n"].map(str::to_owned).to_vec();
        assert_eq!(read_line("show peer -- -n"), Ok(Wanted::Words(Place::default(), words)));
        let wait = ["address", "--wait=5s"].map(str::to_owned).to_vec();
        assert_eq!(read_line("address --wait=5s"), Ok(Wanted::Words(Place::default(), wait)));
    }

    #[test]
    fn without_words_there_is_help_and_wrong_options_are_said() {
        assert_eq!(read(Vec::new()), Ok(Wanted::Help));
        assert_eq!(read_line("show peers --help"), Ok(Wanted::Help));
        assert_eq!(read_line("--version"), Ok(Wanted::Version));
        for wrong in ["show peers -n", "--release= show peers", "-n= show peers", "--as-role root show peers"]
        {
            assert!(read_line(wrong).is_err(), "{wrong}");
        }
        assert!(help().contains("sip show peers"));
    }
}
