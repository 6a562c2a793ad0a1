//! The `nat` option of chan_sip: five words, their combinations, and what they come to for one request.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::EffectiveNat;
use super::value::BadValue;
use crate::flow::Transport;

/// `nat=` as written: a list of `no`, `force_rport`, `comedia`, `auto_force_rport`, `auto_comedia`.
///
/// A peer's value replaces that of `[general]` as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct NatSetting {
    /// Answers and in-dialog requests go to where packets come from.
    pub force_rport: bool,
    /// RTP goes to where RTP comes from.
    pub comedia: bool,
    /// `force_rport`, but only when the top Via names another address than the packet came from.
    pub auto_force_rport: bool,
    /// `comedia` on the same test.
    pub auto_comedia: bool,
}

impl Default for NatSetting {
    /// `auto_force_rport`, as chan_sip.
    fn default() -> Self {
        NatSetting { auto_force_rport: true, ..NatSetting::NO }
    }
}

impl NatSetting {
    /// `nat=no`.
    pub const NO: NatSetting =
        NatSetting { force_rport: false, comedia: false, auto_force_rport: false, auto_comedia: false };

    /// What is allowed, for messages about a wrong value.
    pub const ALLOWED: &'static str = "no, or a list of force_rport, comedia, auto_force_rport, auto_comedia";

    /// Reads the option. `yes` is the old spelling of `force_rport,comedia`; a list with `no` in it is `no`.
    pub fn parse(value: &str) -> Result<Self, BadValue> {
        let mut nat = NatSetting::NO;
        let mut no = false;
        for word in value.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            match word.to_ascii_lowercase().as_str() {
                "no" => no = true,
                "yes" => {
                    nat.force_rport = true;
                    nat.comedia = true;
                }
                "force_rport" => nat.force_rport = true,
                "comedia" => nat.comedia = true,
                "auto_force_rport" => nat.auto_force_rport = true,
                "auto_comedia" => nat.auto_comedia = true,
                _ => return Err(BadValue::new(NatSetting::ALLOWED)),
            }
        }
        if value.trim().is_empty() {
            return Err(BadValue::new(NatSetting::ALLOWED));
        }
        Ok(if no { NatSetting::NO } else { nat })
    }

    /// What the setting comes to for one request: the truth table.
    ///
    /// `via_differs`: the top Via names another address than the packet came from. An auto value decides by that
    /// alone, whatever its explicit twin says. Over WebSocket a Via never names a true address (RFC 7118 §5), so
    /// there the test is skipped and auto values are off. That a request asked for `rport` (RFC 3581) moves only
    /// the responses to that very request and is therefore not asked here.
    pub fn effective(self, via_differs: bool, transport: Transport) -> EffectiveNat {
        let behind_nat = via_differs && !matches!(transport, Transport::Ws | Transport::Wss);
        EffectiveNat {
            force_rport: if self.auto_force_rport { behind_nat } else { self.force_rport },
            comedia: if self.auto_comedia { behind_nat } else { self.comedia },
        }
    }

    /// `Yes`, `No`, `Auto (Yes)`, `Auto (No)`: the Forcerport column, given what is in effect.
    pub fn force_rport_word(self, effective: EffectiveNat) -> &'static str {
        word(self.auto_force_rport, effective.force_rport)
    }

    /// The same for the Comedia column.
    pub fn comedia_word(self, effective: EffectiveNat) -> &'static str {
        word(self.auto_comedia, effective.comedia)
    }
}

fn word(auto: bool, on: bool) -> &'static str {
    match (auto, on) {
        (true, true) => "Auto (Yes)",
        (true, false) => "Auto (No)",
        (false, true) => "Yes",
        (false, false) => "No",
    }
}

impl fmt::Display for NatSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = [
            (self.force_rport, "force_rport"),
            (self.comedia, "comedia"),
            (self.auto_force_rport, "auto_force_rport"),
            (self.auto_comedia, "auto_comedia"),
        ];
        let mut some = false;
        for word in words.into_iter().filter_map(|(on, word)| on.then_some(word)) {
            write!(f, "{}{word}", if some { "," } else { "" })?;
            some = true;
        }
        if some { Ok(()) } else { f.write_str("no") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nat(value: &str, via_differs: bool) -> (bool, bool) {
        let nat = NatSetting::parse(value).unwrap().effective(via_differs, Transport::Udp);
        (nat.force_rport, nat.comedia)
    }

    #[test]
    fn the_truth_table() {
        // value, in effect when the Via tells the truth, in effect when it does not: (force_rport, comedia)
        let table = [
            ("no", (false, false), (false, false)),
            ("force_rport", (true, false), (true, false)),
            ("comedia", (false, true), (false, true)),
            ("force_rport,comedia", (true, true), (true, true)),
            ("yes", (true, true), (true, true)),
            ("auto_force_rport", (false, false), (true, false)),
            ("auto_comedia", (false, false), (false, true)),
            ("auto_force_rport,auto_comedia", (false, false), (true, true)),
            ("force_rport,auto_force_rport", (false, false), (true, false)),
            ("comedia,auto_comedia", (false, false), (false, true)),
            ("auto_force_rport,comedia", (false, true), (true, true)),
            ("force_rport, auto_comedia", (true, false), (true, true)),
            ("force_rport,no,comedia", (false, false), (false, false)),
            ("auto_force_rport,no", (false, false), (false, false)),
        ];
        for (value, honest, differs) in table {
            assert_eq!(nat(value, false), honest, "{value}, honest Via");
            assert_eq!(nat(value, true), differs, "{value}, Via differs");
        }
    }

    #[test]
    fn the_default_is_auto_force_rport() {
        assert_eq!(NatSetting::default(), NatSetting::parse("auto_force_rport").unwrap());
    }

    #[test]
    fn websocket_skips_the_via_test() {
        let auto = NatSetting::parse("auto_force_rport,comedia").unwrap();
        let effective = auto.effective(true, Transport::Wss);
        assert_eq!((effective.force_rport, effective.comedia), (false, true));
    }

    #[test]
    fn words_of_old_and_typos_are_refused() {
        for value in ["never", "route", "force-rport", "", " "] {
            assert!(NatSetting::parse(value).is_err(), "{value:?}");
        }
    }

    #[test]
    fn it_is_written_as_it_is_read() {
        for value in ["no", "force_rport,comedia", "auto_force_rport,auto_comedia"] {
            assert_eq!(NatSetting::parse(value).unwrap().to_string(), value);
        }
    }

    #[test]
    fn columns_tell_auto_from_fixed() {
        let nat = NatSetting::parse("auto_force_rport,comedia").unwrap();
        let effective = nat.effective(true, Transport::Udp);
        assert_eq!(nat.force_rport_word(effective), "Auto (Yes)");
        assert_eq!(nat.comedia_word(effective), "Yes");
        assert_eq!(NatSetting::NO.comedia_word(EffectiveNat::default()), "No");
    }
}
