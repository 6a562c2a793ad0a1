//! `allow` and `disallow`.

use super::value::{BadValue, list, number};

/// `allow` and `disallow`, applied in the order of their lines: the codecs that remain, best first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Codecs(pub Vec<Codec>);

/// One codec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Codec {
    /// Asterisk's name in lower case.
    pub name: String,
    /// Packet time, milliseconds.
    pub ptime: Option<u32>,
}

impl Default for Codecs {
    /// chan_sip's: ulaw, alaw, gsm, h263.
    fn default() -> Self {
        Codecs(
            ["ulaw", "alaw", "gsm", "h263"].map(|name| Codec { name: name.to_owned(), ptime: None }).into(),
        )
    }
}

impl Codecs {
    /// The names that stand for every codec we have a word for, in chan_sip's order of preference.
    pub const ALL: [&'static str; 16] = [
        "ulaw", "alaw", "gsm", "g729", "g722", "opus", "ilbc", "speex", "g726", "g723", "slin", "h263",
        "h263p", "h264", "vp8", "t140",
    ];

    /// One `allow` line; `!name` in it takes a codec out.
    pub fn allow(&mut self, value: &str) -> Result<(), BadValue> {
        for word in list(value) {
            match word.strip_prefix('!') {
                Some(name) => self.remove(name),
                None if word.eq_ignore_ascii_case("all") => {
                    for name in Codecs::ALL {
                        self.add(name, None);
                    }
                }
                None => {
                    let (name, ptime) = match word.split_once(':') {
                        Some((name, ptime)) => {
                            (name, Some(number(ptime, 1, 500).map_err(|_| wrong_codec())?))
                        }
                        None => (word.as_str(), None),
                    };
                    if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric()) {
                        return Err(wrong_codec());
                    }
                    self.add(&name.to_ascii_lowercase(), ptime);
                }
            }
        }
        Ok(())
    }

    /// One `disallow` line.
    pub fn disallow(&mut self, value: &str) -> Result<(), BadValue> {
        for word in list(value) {
            self.remove(&word);
        }
        Ok(())
    }

    fn add(&mut self, name: &str, ptime: Option<u32>) {
        match self.0.iter_mut().find(|codec| codec.name == name) {
            Some(known) => known.ptime = ptime.or(known.ptime),
            None => self.0.push(Codec { name: name.to_owned(), ptime }),
        }
    }

    fn remove(&mut self, name: &str) {
        self.0.retain(|codec| !(name.eq_ignore_ascii_case("all") || codec.name.eq_ignore_ascii_case(name)));
    }

    /// `(ulaw|alaw)`: as `sip show peer` prints them.
    pub fn words(&self) -> String {
        let names: Vec<_> = self.0.iter().map(|codec| codec.name.as_str()).collect();
        format!("({})", names.join("|"))
    }
}

fn wrong_codec() -> BadValue {
    BadValue::new("a list of codec names like ulaw, alaw:20, !gsm or all")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codecs_are_edited_line_by_line() {
        let mut codecs = Codecs::default();
        codecs.disallow("all").unwrap();
        codecs.allow("alaw:20,g722").unwrap();
        codecs.allow("!g722,ulaw").unwrap();
        assert_eq!(codecs.words(), "(alaw|ulaw)");
        assert_eq!(codecs.0[0].ptime, Some(20));
        assert!(codecs.allow("g.722").is_err());
    }
}
