//! What we write into messages so that they find home: branches, tags, Contact users, Call-IDs.
//!
//! Each carries the pod's incarnation, the shard and a number of that shard, under a versioned key of the cluster,
//! so that any pod can tell whose it is and nobody else can make one. The text is the key's version and 24 octets
//! in lower-case base32 (RFC 4648 §6 alphabet): only letters and digits, the same in every case-folding.
//!
//! ```text
//! kind 1 · pod 6 · shard 1 · number 6 · index 2 · SipHash-2-4 of these 8
//! ```

use std::hash::Hasher;

use fairlead_call::call::Names;
use fairlead_model::id::{CallRef, PodRef, ShardRef};
use fairlead_model::member::MintKey;
use siphasher::sip::SipHasher24;

/// RFC 3261 §8.1.1.7: what begins with this is unique.
pub const MAGIC_COOKIE: &str = "z9hG4bK";

/// The largest number that fits.
pub const MAX_NUMBER: u64 = (1 << 48) - 1;

const OCTETS: usize = 24;
const LETTERS: usize = 39;
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// What something minted is for. One kind cannot be used for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A branch; the number is the transaction's.
    Branch,
    /// A tag, or the user of a Contact; the number is the call's.
    Call,
    /// The Call-ID of a leg B or of a request of ours outside of any call.
    CallId,
    /// The To-tag of a stateless answer, whose ACK is swallowed.
    Stateless,
    /// The To-tag of any other answer outside of a dialog.
    Answer,
}

impl Kind {
    const fn octet(self) -> u8 {
        match self {
            Kind::Branch => 1,
            Kind::Call => 2,
            Kind::CallId => 3,
            Kind::Stateless => 4,
            Kind::Answer => 5,
        }
    }

    const fn from_octet(octet: u8) -> Option<Self> {
        Some(match octet {
            1 => Kind::Branch,
            2 => Kind::Call,
            3 => Kind::CallId,
            4 => Kind::Stateless,
            5 => Kind::Answer,
            _ => return None,
        })
    }
}

/// What something minted says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Minted {
    /// What it is for.
    pub kind: Kind,
    /// Whose it is.
    pub pod: PodRef,
    /// Which shard of it.
    pub shard: ShardRef,
    /// A number of that shard, up to [`MAX_NUMBER`].
    pub number: u64,
    /// Which of several with the same number: side and attempt of a tag.
    pub index: u16,
}

impl Minted {
    /// Writes it under a key.
    pub fn write(&self, key: &MintKey) -> String {
        let mut octets = [0; OCTETS];
        octets[..16].copy_from_slice(&self.payload());
        let code = mac(key, &octets[..16]);
        octets[16..].copy_from_slice(&code.to_be_bytes());
        let mut text = String::with_capacity(1 + LETTERS);
        text.push(char::from(key.version));
        encode(&octets, &mut text);
        text
    }

    /// Reads what one of our pods wrote; `None` for anything else.
    pub fn read(text: &str, keys: &[MintKey]) -> Option<Self> {
        let (version, letters) = text.as_bytes().split_first()?;
        if letters.len() != LETTERS {
            return None;
        }
        let octets = decode(letters)?;
        let (payload, given) = octets.split_at(16);
        // Former keys may have the same version as the current one.
        let mut known = keys.iter().filter(|key| key.version == *version);
        if !known.any(|key| mac(key, payload).to_be_bytes() == given) {
            return None;
        }
        let six = |at: usize| payload[at..at + 6].iter().fold(0, |sum, b| sum << 8 | u64::from(*b));
        Some(Minted {
            kind: Kind::from_octet(payload[0])?,
            pod: PodRef(six(1)),
            shard: ShardRef(payload[7]),
            number: six(8),
            index: u16::from_be_bytes([payload[14], payload[15]]),
        })
    }

    /// Reads a branch with its magic cookie.
    pub fn read_branch(branch: &str, keys: &[MintKey]) -> Option<Self> {
        Minted::read(branch.strip_prefix(MAGIC_COOKIE)?, keys).filter(|minted| minted.kind == Kind::Branch)
    }

    fn payload(&self) -> [u8; 16] {
        let mut octets = [0; 16];
        octets[0] = self.kind.octet();
        octets[1..7].copy_from_slice(&(self.pod.0 & PodRef::MAX).to_be_bytes()[2..]);
        octets[7] = self.shard.0;
        octets[8..14].copy_from_slice(&(self.number & MAX_NUMBER).to_be_bytes()[2..]);
        octets[14..].copy_from_slice(&self.index.to_be_bytes());
        octets
    }
}

/// The names of one call.
#[derive(Debug)]
pub struct CallNames {
    call: CallRef,
    key: MintKey,
}

impl CallNames {
    /// Minted as this call's, under this key.
    pub fn new(call: CallRef, key: MintKey) -> Self {
        CallNames { call, key }
    }

    fn minted(&self, kind: Kind, index: u16) -> String {
        let CallRef { pod, shard, number } = self.call;
        Minted { kind, pod, shard, number, index }.write(&self.key)
    }
}

impl Names for CallNames {
    fn tag(&self, index: u16) -> String {
        self.minted(Kind::Call, index)
    }

    fn call_id(&self, index: u16) -> String {
        self.minted(Kind::CallId, index)
    }
}

/// The code is compared by value: it only tells our own from foreign names, it guards no secret.
fn mac(key: &MintKey, payload: &[u8]) -> u64 {
    let mut hasher = SipHasher24::new_with_key(&key.key);
    hasher.write_u8(key.version);
    hasher.write(payload);
    hasher.finish()
}

fn encode(octets: &[u8; OCTETS], out: &mut String) {
    let (mut bits, mut held) = (0_u32, 0_u32);
    for octet in octets {
        bits = bits << 8 | u32::from(*octet);
        held += 8;
        while held >= 5 {
            held -= 5;
            out.push(letter(bits >> held));
        }
        bits &= (1 << held) - 1;
    }
    if held > 0 {
        out.push(letter(bits << (5 - held)));
    }
}

fn letter(value: u32) -> char {
    char::from(ALPHABET[(value & 31) as usize])
}

fn decode(letters: &[u8]) -> Option<[u8; OCTETS]> {
    let mut octets = [0; OCTETS];
    let (mut bits, mut held, mut at) = (0_u32, 0_u32, 0);
    for letter in letters {
        let value = match letter {
            b'a'..=b'z' => letter - b'a',
            b'A'..=b'Z' => letter - b'A',
            b'2'..=b'7' => letter - b'2' + 26,
            _ => return None,
        };
        bits = bits << 5 | u32::from(value);
        held += 5;
        if held >= 8 {
            held -= 8;
            *octets.get_mut(at)? = (bits >> held) as u8;
            at += 1;
            bits &= (1 << held) - 1;
        }
    }
    (at == OCTETS && bits == 0).then_some(octets)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> Vec<MintKey> {
        vec![MintKey { version: b'b', key: [7; 16] }, MintKey { version: b'a', key: [3; 16] }]
    }

    fn sample() -> Minted {
        Minted {
            kind: Kind::Call,
            pod: PodRef(0x1234_5678_9abc),
            shard: ShardRef(3),
            number: 0x00de_adbe_ef01,
            index: 0x8002,
        }
    }

    #[test]
    fn what_was_minted_is_read_back_under_any_live_key() {
        for key in keys() {
            let text = sample().write(&key);
            assert_eq!(text.len(), 40);
            assert!(text.bytes().all(|b| b.is_ascii_alphanumeric()));
            assert_eq!(Minted::read(&text, &keys()), Some(sample()));
        }
    }

    #[test]
    fn case_folding_on_the_way_does_no_harm() {
        let text = sample().write(&keys()[0]);
        let shouted = format!("b{}", text[1..].to_ascii_uppercase());
        assert_eq!(Minted::read(&shouted, &keys()), Some(sample()));
    }

    #[test]
    fn nobody_else_can_make_one() {
        let text = sample().write(&keys()[0]);
        for at in 0..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[at] = if changed[at] == b'b' { b'a' } else { b'b' };
            let changed = String::from_utf8(changed).unwrap();
            assert_eq!(Minted::read(&changed, &keys()), None, "changed at {at}");
        }
        assert_eq!(Minted::read("", &keys()), None);
        assert_eq!(Minted::read(&"b".repeat(500), &keys()), None);
        assert_eq!(Minted::read(&text, &keys()[1..]), None, "its key is gone");
    }

    #[test]
    fn a_tag_is_no_branch() {
        let text = format!("{MAGIC_COOKIE}{}", sample().write(&keys()[0]));
        assert_eq!(Minted::read_branch(&text, &keys()), None);
        let branch = Minted { kind: Kind::Branch, ..sample() };
        let text = format!("{MAGIC_COOKIE}{}", branch.write(&keys()[0]));
        assert_eq!(Minted::read_branch(&text, &keys()), Some(branch));
    }
}
