//! Text that must never be printed, logged or sent on.

use std::fmt;

use zeroize::Zeroizing;

/// A password or a digest of one. Wiped when dropped; `Debug` says only that there is one; it cannot be
/// serialized, so no message between roles can carry it by accident.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes the text over.
    pub fn new(text: impl Into<String>) -> Self {
        Secret(Zeroizing::new(text.into()))
    }

    /// The text, for whoever computes a digest with it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_does_not_show_it() {
        assert_eq!(format!("{:?}", Some(Secret::new("hush"))), "Some(Secret)");
    }
}
