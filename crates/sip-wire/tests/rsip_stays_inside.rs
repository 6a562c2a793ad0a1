//! rsip is a vocabulary here, never a parser or printer: its defects stay out of the house.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in tests a failure is to be loud")]

use std::path::{Path, PathBuf};

/// What reads or writes text by rsip, or is known to be wrong there.
const NEVER: [&str; 6] = [
    ".typed()",
    "unique_push",
    "DigestGenerator",
    "rsip::SipMessage::try_from",
    "rsip::Request::try_from",
    "rsip::Uri::try_from",
];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn only_the_conversions_touch_rsip_and_none_uses_its_parser() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    for entry in std::fs::read_dir(here.parent().unwrap()).unwrap() {
        let source = entry.unwrap().path().join("src");
        if source.is_dir() {
            sources(&source, &mut found);
        }
    }
    let conversions = here.join("src/convert.rs");
    assert!(found.contains(&conversions));
    for path in found {
        let text = std::fs::read_to_string(&path).unwrap();
        let code: String = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
        if path == conversions {
            for never in NEVER {
                assert!(!code.contains(never), "{never} in {}", path.display());
            }
        } else {
            assert!(!code.contains("rsip::"), "rsip in {}", path.display());
        }
    }
}
