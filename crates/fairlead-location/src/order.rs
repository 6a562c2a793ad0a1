//! Who is called first.

use fairlead_model::binding::Binding;
use fairlead_model::id::UnixMillis;

/// The contacts that may be called, best first: by q (RFC 3261 §16.6), then the newest. Left out are those that
/// are over and those that qualify found late or silent (chan_sip calls neither).
pub fn order(bindings: &[Binding], now: UnixMillis) -> Vec<&Binding> {
    let mut contacts = live(bindings, now);
    contacts.retain(|binding| binding.qualify.state.may_be_called());
    contacts
}

/// The contact whose address and state stand for the peer in tables and columns: the one that would be called
/// first, or, when none may be called, the one that would come first if all could.
pub fn first(bindings: &[Binding], now: UnixMillis) -> Option<&Binding> {
    let contacts = live(bindings, now);
    let callable = contacts.iter().find(|binding| binding.qualify.state.may_be_called()).copied();
    callable.or(contacts.first().copied())
}

/// Those that are not over, best first.
pub(crate) fn live(bindings: &[Binding], now: UnixMillis) -> Vec<&Binding> {
    let mut contacts: Vec<_> = bindings.iter().filter(|binding| binding.expires_at > now).collect();
    contacts
        .sort_by(|a, b| (b.q.cmp(&a.q)).then(b.registered_at.cmp(&a.registered_at)).then(a.key.cmp(&b.key)));
    contacts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::{NOW, binding};
    use fairlead_model::binding::QualifyState;

    fn names(contacts: &[&Binding]) -> Vec<String> {
        contacts.iter().map(|binding| binding.key.0.clone()).collect()
    }

    #[test]
    fn q_outweighs_age_and_the_newest_comes_first() {
        let mut bindings = [binding("old"), binding("new"), binding("low")];
        bindings[0].registered_at = UnixMillis(NOW.0 - 5000);
        bindings[2].q = 500;
        bindings[2].registered_at = UnixMillis(NOW.0 + 1);
        assert_eq!(names(&order(&bindings, NOW)), ["new", "old", "low"]);
    }

    #[test]
    fn whoever_is_over_late_or_silent_is_not_called() {
        let mut bindings = [binding("over"), binding("late"), binding("silent"), binding("unknown")];
        bindings[0].expires_at = NOW;
        bindings[1].qualify.state = QualifyState::Lagged;
        bindings[2].qualify.state = QualifyState::Unreachable;
        assert_eq!(names(&order(&bindings, NOW)), ["unknown"]);
    }

    #[test]
    fn a_row_is_shown_even_when_nobody_can_be_called() {
        let mut bindings = [binding("a"), binding("b")];
        bindings[0].qualify.state = QualifyState::Unreachable;
        assert_eq!(first(&bindings, NOW).unwrap().key.0, "b");
        bindings[1].qualify.state = QualifyState::Lagged;
        bindings[1].q = 100;
        assert_eq!(first(&bindings, NOW).unwrap().key.0, "a");
        assert_eq!(first(&[], NOW), None);
    }
}
