//! Which release this is.

/// The release, as every role reports it.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit it was built from, or `unknown` when the build did not say (`FAIRLEAD_COMMIT` at build time).
pub const COMMIT: &str = match option_env!("FAIRLEAD_COMMIT") {
    Some(commit) => commit,
    None => "unknown",
};

/// `0.1.0 (1a2b3c4)`: what `--version` prints.
pub fn long_version() -> String {
    format!("{VERSION} ({COMMIT})")
}
