//! Payload types and what they stand for (RFC 3551 §6, RFC 8866 §6.6).

use std::borrow::Cow;

use sdp_types::RtpMap;

/// One format of an RTP stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Format<'a> {
    /// Payload type, 0 to 127.
    pub payload: u8,
    /// Encoding name as written, or as RFC 3551 assigns it; empty for a dynamic one without `rtpmap`.
    pub name: Cow<'a, str>,
    /// Clock rate in Hz; 0 when it is not known.
    pub rate: u32,
}

impl Format<'_> {
    pub(crate) fn fixed(payload: u8) -> Self {
        let (name, rate) = assigned(payload).unwrap_or(("", 0));
        Format { payload, name: Cow::Borrowed(name), rate }
    }

    pub(crate) fn mapped(text: &str) -> Option<Format<'static>> {
        let map: RtpMap = text.trim().parse().ok()?;
        Some(Format { payload: map.payload_type, name: Cow::Owned(map.encoding_name), rate: map.clock_rate })
    }

    /// Keys pressed (RFC 4733): its time stamps stand still while a key is down.
    pub fn is_event(&self) -> bool {
        self.name.eq_ignore_ascii_case("telephone-event")
    }

    /// Comfort noise (RFC 3389), redundancy and the like ride beside a codec and are none.
    pub fn is_codec(&self) -> bool {
        const BESIDE: [&str; 6] = ["telephone-event", "CN", "red", "rtx", "ulpfec", "flexfec-03"];
        !self.name.is_empty() && !BESIDE.iter().any(|name| self.name.eq_ignore_ascii_case(name))
    }

    /// The name in the operator's Format column: Asterisk's word where there is one, else the encoding name in
    /// small letters.
    pub fn operator_name(&self) -> String {
        let name = self.name.to_ascii_lowercase();
        match (name.as_str(), self.rate) {
            ("pcmu", _) => "ulaw",
            ("pcma", _) => "alaw",
            ("g726-32", _) => "g726",
            ("aal2-g726-32", _) => "g726aal2",
            ("l16", 16_000) => "slin16",
            ("l16", _) => "slin",
            ("speex", 16_000) => "speex16",
            ("speex", 32_000) => "speex32",
            ("mp4v-es", _) => "mpeg4",
            ("h263-1998" | "h263-2000", _) => "h263p",
            _ => return name,
        }
        .to_owned()
    }
}

/// Payload types that need no `rtpmap` (RFC 3551, tables 4 and 5).
fn assigned(payload: u8) -> Option<(&'static str, u32)> {
    Some(match payload {
        0 => ("PCMU", 8_000),
        3 => ("GSM", 8_000),
        4 => ("G723", 8_000),
        5 => ("DVI4", 8_000),
        6 => ("DVI4", 16_000),
        7 => ("LPC", 8_000),
        8 => ("PCMA", 8_000),
        // §4.5.2: sampled at 16 kHz, counted at 8 kHz.
        9 => ("G722", 8_000),
        10 | 11 => ("L16", 44_100),
        12 => ("QCELP", 8_000),
        13 => ("CN", 8_000),
        14 => ("MPA", 90_000),
        15 => ("G728", 8_000),
        16 => ("DVI4", 11_025),
        17 => ("DVI4", 22_050),
        18 => ("G729", 8_000),
        25 => ("CelB", 90_000),
        26 => ("JPEG", 90_000),
        28 => ("nv", 90_000),
        31 => ("H261", 90_000),
        32 => ("MPV", 90_000),
        33 => ("MP2T", 90_000),
        34 => ("H263", 90_000),
        _ => return None,
    })
}
