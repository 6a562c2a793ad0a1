//! What a datagram is (RFC 3550 §5.1, §6.4; RFC 5761 §4; RFC 7983).

/// The fixed header of an RTP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Payload type, 0 to 127.
    pub payload: u8,
    /// Marker bit.
    pub marker: bool,
    /// Sequence number.
    pub sequence: u16,
    /// Time stamp, in units of the payload's clock.
    pub timestamp: u32,
    /// Whose stream it is.
    pub ssrc: u32,
}

/// A datagram, sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// RTP.
    Rtp(Header),
    /// RTCP.
    Rtcp {
        /// SSRC of its sender.
        sender: u32,
    },
    /// Neither: STUN, DTLS, an empty keep-alive, or noise.
    Other,
}

impl Kind {
    /// Sorts a datagram.
    pub fn of(packet: &[u8]) -> Self {
        let Some(&[first, second, c, d, ref rest @ ..]) = packet.get(..8) else { return Kind::Other };
        if first >> 6 != 2 {
            return Kind::Other;
        }
        let word = match *rest {
            [a, b, c, d] => u32::from_be_bytes([a, b, c, d]),
            _ => return Kind::Other,
        };
        // RFC 5761 §4: these are payload types that RTP leaves to RTCP.
        if (192..=223).contains(&second) {
            let length = (usize::from(u16::from_be_bytes([c, d])) + 1) * 4;
            return if (8..=packet.len()).contains(&length) {
                Kind::Rtcp { sender: word }
            } else {
                Kind::Other
            };
        }
        let Some(&[e, f, g, h]) = packet.get(8..12) else { return Kind::Other };
        let contributors = usize::from(first & 0x0f) * 4;
        if packet.len() < 12 + contributors {
            return Kind::Other;
        }
        Kind::Rtp(Header {
            payload: second & 0x7f,
            marker: second & 0x80 != 0,
            sequence: u16::from_be_bytes([c, d]),
            timestamp: word,
            ssrc: u32::from_be_bytes([e, f, g, h]),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_3550_5_1_the_fixed_header_is_read() {
        let packet = [0x80, 0x88, 0x12, 0x34, 0, 0, 0, 160, 0xde, 0xad, 0xbe, 0xef, 0xff];
        let header = Header { payload: 8, marker: true, sequence: 0x1234, timestamp: 160, ssrc: 0xdead_beef };
        assert_eq!(Kind::of(&packet), Kind::Rtp(header));
    }

    #[test]
    fn rfc_5761_4_rtcp_is_told_by_its_type() {
        let report = [0x80, 201, 0, 1, 0, 0, 0, 9];
        assert_eq!(Kind::of(&report), Kind::Rtcp { sender: 9 });
        let longer_than_it_is = [0x80, 201, 0, 9, 0, 0, 0, 9];
        assert_eq!(Kind::of(&longer_than_it_is), Kind::Other);
    }

    #[test]
    fn what_is_neither_is_neither() {
        let stun = [0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let dtls = [22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0];
        let short = [0x80, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0];
        let contributors_cut_off = [0x8f, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1];
        for packet in [&stun[..], &dtls, &short, &contributors_cut_off, &[]] {
            assert_eq!(Kind::of(packet), Kind::Other);
        }
    }
}
