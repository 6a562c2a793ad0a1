//! Which ports are a pod's: slices of one range, one a pod, by the ordinal at the end of its name.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// `BASE+COUNTxN`: the pod with ordinal *n* below *N* owns the ports BASE + n × COUNT to BASE + (n + 1) × COUNT - 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slices {
    base: u16,
    count: u16,
    number: u16,
}

/// Why there are no such slices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSlices {
    /// Not of that form.
    #[error("slices are written BASE+COUNTxN, such as 30000+20x4")]
    Form,
    /// RTP takes even ports, each with the odd one after it (RFC 3550 §11).
    #[error("BASE and COUNT of slices must be even: each stream takes an even port and the odd one after it")]
    Odd,
    /// A slice without ports, or no slice at all.
    #[error("slices need at least 2 ports each, and at least one pod")]
    Empty,
    /// Privileged ports, or none that exist.
    #[error("slices must lie within the ports 1024 to 65535")]
    OutOfRange,
}

/// Why a pod owns no ports.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoSlice {
    /// Its name ends with no number.
    #[error(
        "the name {name:?} of this pod ends with no ordinal, so no ports of the slices {slices} are its own"
    )]
    NoOrdinal {
        /// The name.
        name: String,
        /// The slices.
        slices: Slices,
    },
    /// There are fewer slices.
    #[error("this pod has ordinal {ordinal}, and the slices {slices} have ports for ordinals below {}", slices.number)]
    Beyond {
        /// Its ordinal.
        ordinal: u64,
        /// The slices.
        slices: Slices,
    },
}

impl Slices {
    /// The ports of the pod with this name.
    pub fn of(&self, pod_name: &str) -> Result<RangeInclusive<u16>, NoSlice> {
        let digits = pod_name.len() - pod_name.trim_end_matches(|c: char| c.is_ascii_digit()).len();
        // More digits than fit are an ordinal beyond every slice.
        let ordinal = match pod_name.get(pod_name.len() - digits..).unwrap_or_default() {
            "" => return Err(NoSlice::NoOrdinal { name: pod_name.to_owned(), slices: *self }),
            digits => digits.parse::<u64>().unwrap_or(u64::MAX),
        };
        let own = u16::try_from(ordinal).ok().filter(|ordinal| *ordinal < self.number);
        let own = own.ok_or(NoSlice::Beyond { ordinal, slices: *self })?;
        // That all of them are ports was checked when they were read.
        let first = self.base + own * self.count;
        Ok(first..=first + (self.count - 1))
    }
}

impl FromStr for Slices {
    type Err = BadSlices;

    fn from_str(text: &str) -> Result<Self, BadSlices> {
        let (base, rest) = text.split_once('+').ok_or(BadSlices::Form)?;
        let (count, number) = rest.split_once('x').ok_or(BadSlices::Form)?;
        let read = |digits: &str| -> Result<u32, BadSlices> {
            if digits.is_empty() || digits.len() > 5 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(BadSlices::Form);
            }
            digits.parse().map_err(|_| BadSlices::Form)
        };
        let (base, count, number) = (read(base)?, read(count)?, read(number)?);
        if count == 0 || number == 0 {
            return Err(BadSlices::Empty);
        }
        if !base.is_multiple_of(2) || !count.is_multiple_of(2) {
            return Err(BadSlices::Odd);
        }
        // Five digits each: no overflow in 64 bits.
        let last = u64::from(base) + u64::from(count) * u64::from(number) - 1;
        if base < 1024 || last > u64::from(u16::MAX) {
            return Err(BadSlices::OutOfRange);
        }
        let small = |number: u32| u16::try_from(number).map_err(|_| BadSlices::OutOfRange);
        Ok(Slices { base: small(base)?, count: small(count)?, number: small(number)? })
    }
}

impl fmt::Display for Slices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{}x{}", self.base, self.count, self.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slices() -> Slices {
        "30000+20x4".parse().unwrap()
    }

    #[test]
    fn each_ordinal_owns_its_ports_and_no_others() {
        assert_eq!(slices().of("edge-fairlead-media-0"), Ok(30_000..=30_019));
        assert_eq!(slices().of("edge-fairlead-media-3"), Ok(30_060..=30_079));
        assert_eq!(slices().to_string(), "30000+20x4");
        let last: Slices = "65516+20x1".parse().unwrap();
        assert_eq!(last.of("m-0"), Ok(65_516..=65_535));
    }

    #[test]
    fn beyond_the_last_slice_or_without_an_ordinal_there_are_none() {
        assert_eq!(slices().of("media-4"), Err(NoSlice::Beyond { ordinal: 4, slices: slices() }));
        for name in ["media", "", "media-1a"] {
            assert!(matches!(slices().of(name), Err(NoSlice::NoOrdinal { .. })), "{name}");
        }
        let many = slices().of("media-99999999999999999999999");
        assert_eq!(many, Err(NoSlice::Beyond { ordinal: u64::MAX, slices: slices() }));
    }

    #[test]
    fn what_cannot_be_is_refused_with_the_reason() {
        let read = |text: &str| text.parse::<Slices>().unwrap_err();
        for form in ["", "30000", "30000+20", "30000x4+20", "30000+20x", "+20x4", "30000+-2x4", "030000+20x4"]
        {
            assert_eq!(read(form), BadSlices::Form, "{form}");
        }
        assert_eq!(read("30001+20x4"), BadSlices::Odd);
        assert_eq!(read("30000+21x4"), BadSlices::Odd);
        assert_eq!(read("30000+0x4"), BadSlices::Empty);
        assert_eq!(read("30000+20x0"), BadSlices::Empty);
        assert_eq!(read("65518+20x1"), BadSlices::OutOfRange);
        assert_eq!(read("1000+20x4"), BadSlices::OutOfRange);
        assert_eq!(read("30000+99998x99999"), BadSlices::OutOfRange);
    }
}
