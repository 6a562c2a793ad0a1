//! Where included text comes from.

use std::sync::Arc;

/// One loaded file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// Its name, for diagnostics.
    pub file: Arc<str>,
    /// What is in it.
    pub text: String,
}

/// Hands over the files that a path names, in order; a path may hold `*`, `?` and `[…]` in its last part.
/// An empty list means that no file has that name; an error says why one could not be read.
///
/// A relative path comes joined to the directory of the first file, as Asterisk reads them from its one directory.
pub type Loader<'a> = dyn FnMut(&str) -> Result<Vec<Text>, String> + 'a;

/// A loader for text that includes nothing.
pub fn no_includes(_: &str) -> Result<Vec<Text>, String> {
    Ok(Vec::new())
}

/// The path of an included file, given the file that everything began with.
pub(crate) fn joined(first: &str, path: &str) -> String {
    match first.rsplit_once('/') {
        Some((directory, _)) if !path.starts_with('/') => format!("{directory}/{path}"),
        _ => path.to_owned(),
    }
}

/// Whether a file name matches a pattern of `*`, `?`, `[abc]`, `[a-z]`, `[!a]` (for loaders).
pub fn matches(pattern: &str, name: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    // Position in the pattern and the name to go back to: only the last star need ever be tried again.
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        let step = match pattern.get(p) {
            Some('*') => {
                star = Some((p + 1, n));
                p += 1;
                continue;
            }
            Some(_) => one(&pattern, p, name.get(n).copied()),
            None => None,
        };
        match (step, star) {
            (Some(next), _) => (p, n) = (next, n + 1),
            (None, Some((after, from))) => {
                star = Some((after, from + 1));
                (p, n) = (after, from + 1);
            }
            (None, None) => return false,
        }
    }
    pattern.get(p..).is_some_and(|rest| rest.iter().all(|c| *c == '*'))
}

/// Matches one character; where the pattern goes on.
fn one(pattern: &[char], at: usize, c: Option<char>) -> Option<usize> {
    let c = c?;
    match pattern.get(at)? {
        '?' => Some(at + 1),
        '[' => {
            let close = pattern.iter().skip(at + 2).position(|c| *c == ']')? + at + 2;
            let set = pattern.get(at + 1..close)?;
            let (turned, set) = match set.split_first() {
                Some(('!' | '^', rest)) => (true, rest),
                _ => (false, set),
            };
            let mut found = false;
            let mut i = 0;
            while let Some(first) = set.get(i) {
                match (set.get(i + 1), set.get(i + 2)) {
                    (Some('-'), Some(last)) => {
                        found |= (*first..=*last).contains(&c);
                        i += 3;
                    }
                    _ => {
                        found |= *first == c;
                        i += 1;
                    }
                }
            }
            (found != turned).then_some(close + 1)
        }
        literal => (*literal == c).then_some(at + 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        let yes = [
            ("*.conf", "a.conf"),
            ("*", ""),
            ("a*b*c", "axxbyyc"),
            ("a?c", "abc"),
            ("[a-c]x", "bx"),
            ("[!a]x", "bx"),
            ("*a*a*a*b", "aaaaaaaab"),
        ];
        for (pattern, name) in yes {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        let no =
            [("*.conf", "a.conf~"), ("a?c", "ac"), ("[a-c]x", "dx"), ("[!a]x", "ax"), ("[a", "a"), ("", "a")];
        for (pattern, name) in no {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }

    #[test]
    fn relative_paths_start_at_the_first_file() {
        assert_eq!(joined("/etc/fairlead/sip.conf", "phones/*.conf"), "/etc/fairlead/phones/*.conf");
        assert_eq!(joined("/etc/fairlead/sip.conf", "/srv/x.conf"), "/srv/x.conf");
        assert_eq!(joined("sip.conf", "x.conf"), "x.conf");
    }
}
