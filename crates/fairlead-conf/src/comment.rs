//! Comments and the one escape: `;` to the end of the line, `;-- … --;` over lines (nested), `\;` a semicolon.

/// Where in the nesting of block comments the reader is.
#[derive(Debug, Default)]
pub(crate) struct Comments {
    /// Lines on which the open block comments began.
    open: Vec<usize>,
}

impl Comments {
    /// The line on which a comment began that was never closed.
    pub fn unclosed(&self) -> Option<usize> {
        self.open.first().copied()
    }

    /// The text of a line without its comments, and with `\;` as `;`.
    pub fn strip(&mut self, line: &str, number: usize) -> String {
        let mut text = String::with_capacity(line.len());
        let mut rest = line;
        while let Some(at) = rest.find(';') {
            let (before, from) = rest.split_at(at);
            let after = from.get(1..).unwrap_or_default();
            if !self.open.is_empty() {
                if before.ends_with("--") {
                    self.open.pop();
                } else if opens_block(after) {
                    self.open.push(number);
                }
                rest = after;
            } else if let Some(kept) = before.strip_suffix('\\') {
                text.push_str(kept);
                text.push(';');
                rest = after;
            } else {
                text.push_str(before);
                if !opens_block(after) {
                    return text;
                }
                self.open.push(number);
                // Past the dashes, so that they do not close what they open.
                rest = after.get(2..).unwrap_or_default();
            }
        }
        if self.open.is_empty() {
            text.push_str(rest);
        }
        text
    }
}

/// `;--` opens, `;---` is a line of dashes.
fn opens_block(after: &str) -> bool {
    after.starts_with("--") && !after.starts_with("---")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strip(lines: &[&str]) -> (Vec<String>, Option<usize>) {
        let mut comments = Comments::default();
        let text = lines.iter().enumerate().map(|(n, line)| comments.strip(line, n + 1)).collect();
        (text, comments.unclosed())
    }

    #[test]
    fn a_semicolon_ends_the_line() {
        assert_eq!(strip(&["a=b ; c", ";a=b"]).0, ["a=b ", ""]);
    }

    #[test]
    fn an_escaped_one_does_not() {
        assert_eq!(strip(&[r"secret=a\;b\;c;d", r"x=\\;y"]).0, ["secret=a;b;c", r"x=\;y"]);
    }

    #[test]
    fn blocks_reach_over_lines_and_within_one() {
        let (text, unclosed) = strip(&["a=1 ;-- x", "b=2", "--; c=3", "d=;-- y --;4"]);
        assert_eq!(text, ["a=1 ", "", " c=3", "d=4"]);
        assert_eq!(unclosed, None);
    }

    #[test]
    fn blocks_nest() {
        assert_eq!(strip(&[";-- a", ";-- b --;", "still --;", "d=4"]).0, ["", "", "", "d=4"]);
    }

    #[test]
    fn a_line_of_dashes_is_a_line() {
        assert_eq!(strip(&[";------", "a=1"]).0, ["", "a=1"]);
    }

    #[test]
    fn an_open_block_is_remembered_by_its_line() {
        assert_eq!(strip(&["a=1", ";-- x", "b=2"]).1, Some(2));
    }

    #[test]
    fn dashes_that_open_do_not_close() {
        assert_eq!(strip(&[";--;", "a=1"]).1, Some(1));
    }
}
