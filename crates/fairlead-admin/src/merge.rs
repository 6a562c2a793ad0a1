//! One sorted list of several: pages by name of many pods become one page.

use std::collections::BTreeMap;

use fairlead_proto::operator::Page;

/// Joins one page of each pod, every one sorted by `key` and beginning at the same place.
///
/// Entries with the same key are one, made by `same`. The joined page ends where the first pod with more to say
/// stopped: what comes after is not known of that pod yet.
pub fn pages<T>(
    pages: Vec<Page<T>>,
    limit: usize,
    key: impl Fn(&T) -> &str,
    same: impl Fn(T, T) -> T,
) -> Page<T> {
    // A pod that says "more" and gives nothing would make the list endless: it is taken to have no entry.
    let ends = pages.iter().filter(|page| page.more).filter_map(|page| page.entries.last());
    let known_to: Option<String> = ends.map(&key).min().map(str::to_owned);
    let mut more = known_to.is_some();
    let mut joined: BTreeMap<String, T> = BTreeMap::new();
    for entry in pages.into_iter().flat_map(|page| page.entries) {
        let name = key(&entry).to_owned();
        if known_to.as_ref().is_some_and(|end| name > *end) {
            continue;
        }
        let entry = match joined.remove(&name) {
            Some(before) => same(before, entry),
            None => entry,
        };
        joined.insert(name, entry);
    }
    while joined.len() > limit {
        joined.pop_last();
        more = true;
    }
    Page { entries: joined.into_values().collect(), more }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(names: &str, more: bool) -> Page<String> {
        Page { entries: names.split_whitespace().map(str::to_owned).collect(), more }
    }

    fn join(given: Vec<Page<String>>, limit: usize) -> (String, bool) {
        let joined = pages(given, limit, |name| name, |first, _| first);
        (joined.entries.join(" "), joined.more)
    }

    #[test]
    fn entries_of_all_pods_come_in_order_of_name_and_once() {
        assert_eq!(join(vec![page("a c", false), page("b c d", false)], 10), ("a b c d".into(), false));
    }

    #[test]
    fn nothing_is_told_beyond_what_every_pod_has_told() {
        assert_eq!(join(vec![page("a b", true), page("c d", false)], 10), ("a b".into(), true));
        assert_eq!(join(vec![page("a x", true), page("b c", true)], 10), ("a b c".into(), true));
    }

    #[test]
    fn a_page_holds_no_more_than_its_limit() {
        assert_eq!(join(vec![page("a c e", false), page("b d", false)], 3), ("a b c".into(), true));
    }

    #[test]
    fn a_pod_that_promises_more_and_gives_nothing_does_not_make_the_list_endless() {
        assert_eq!(join(vec![page("", true)], 10), (String::new(), false));
    }

    #[test]
    fn walking_the_pages_meets_every_name_once() {
        let pods: [Vec<&str>; 2] = [vec!["a", "b", "f", "g"], vec!["a", "c", "d", "e", "h"]];
        let mut met = Vec::new();
        loop {
            let after = met.last().cloned();
            let given = pods.iter().map(|names| {
                let mut rest = names.iter().filter(|n| after.as_deref().is_none_or(|a| **n > a));
                let entries: Vec<String> = rest.by_ref().take(2).map(|n| (*n).to_owned()).collect();
                Page { entries, more: rest.next().is_some() }
            });
            let joined = pages(given.collect(), 2, |name| name, |first, _| first);
            met.extend(joined.entries);
            if !joined.more {
                break;
            }
        }
        assert_eq!(met.join(" "), "a b c d e f g h");
    }
}
