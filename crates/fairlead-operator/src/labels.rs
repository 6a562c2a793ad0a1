//! Labels: how objects of a release are found, and what those carry that are made at run time.

use std::collections::BTreeMap;

/// The value of `app.kubernetes.io/managed-by` on what this role makes: what carries it, this role may change.
pub const MANAGED_BY: &str = "fairlead-operator";

const NAME: &str = "app.kubernetes.io/name";
const INSTANCE: &str = "app.kubernetes.io/instance";
const COMPONENT: &str = "app.kubernetes.io/component";
const MANAGER: &str = "app.kubernetes.io/managed-by";
const PART_OF: &str = "app.kubernetes.io/part-of";

/// Finds everything of a release.
pub fn selector(release: &str) -> String {
    format!("{NAME}=fairlead,{INSTANCE}={release}")
}

/// Finds what belongs to one component of a release.
pub fn selector_of(release: &str, component: &str) -> String {
    format!("{},{COMPONENT}={component}", selector(release))
}

/// What is made at run time carries these. No version: what is made lives on when the program is another one.
pub fn made_here(release: &str, component: &str) -> BTreeMap<String, String> {
    let labels = [
        (NAME, "fairlead"),
        (INSTANCE, release),
        (COMPONENT, component),
        (PART_OF, "fairlead"),
        (MANAGER, MANAGED_BY),
    ];
    labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

/// Whether an object with these labels was made here, for this release.
pub fn is_made_here(labels: &BTreeMap<String, String>, release: &str) -> bool {
    let has = |name: &str, value: &str| labels.get(name).is_some_and(|is| is == value);
    has(MANAGER, MANAGED_BY) && has(INSTANCE, release)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_here_is_found_and_known_again() {
        let labels = made_here("edge", "media");
        let is_there = |term: &str| {
            let (name, value) = term.split_once('=').unwrap();
            labels.get(name).is_some_and(|is| is == value)
        };
        assert!(selector_of("edge", "media").split(',').all(is_there));
        assert!(!selector("other").split(',').all(is_there));
        assert!(is_made_here(&labels, "edge"));
        assert!(!is_made_here(&labels, "other"));
        assert!(!is_made_here(&BTreeMap::new(), "edge"));
    }
}
