//! What RTCP says about the other side (RFC 3550 §6.4).

use rtcp_types::{Compound, Packet, ReportBlock};

/// One thing read from a compound packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    /// A sender report left its sender at this time: the middle 32 bits of its NTP time stamp.
    Sent {
        /// The `LSR` that an answer to it will hold.
        stamp: u32,
    },
    /// A report block.
    Block {
        /// Whose stream it is about.
        about: u32,
        /// Lost since the beginning, packets; what came twice makes it less than 0, which is 0 here.
        lost: u32,
        /// Interarrival jitter, in units of the stream's clock.
        jitter: u32,
        /// `LSR`: the last sender report that its writer had; 0 for none.
        last_sent: u32,
        /// `DLSR`: how long ago, in 1/65536 s.
        delay: u32,
    },
}

/// Calls `each` for what a compound packet says. What cannot be read is passed over: it is relayed all the same.
pub fn read_reports(compound: &[u8], mut each: impl FnMut(Report)) {
    let Ok(packets) = Compound::parse(compound) else { return };
    for packet in packets {
        match packet {
            Ok(Packet::Sr(report)) => {
                each(Report::Sent { stamp: (report.ntp_timestamp() >> 16) as u32 });
                report.report_blocks().for_each(|block| each(Report::from(&block)));
            }
            Ok(Packet::Rr(report)) => report.report_blocks().for_each(|block| each(Report::from(&block))),
            Ok(_) => {}
            Err(_) => return,
        }
    }
}

impl From<&ReportBlock<'_>> for Report {
    fn from(block: &ReportBlock<'_>) -> Self {
        // A signed number of 24 bits (§6.4.1).
        let lost = block.cumulative_lost();
        Report::Block {
            about: block.ssrc(),
            lost: if lost & 0x80_0000 != 0 { 0 } else { lost & 0x7f_ffff },
            jitter: block.interarrival_jitter(),
            last_sent: block.last_sender_report_timestamp(),
            delay: block.delay_since_last_sender_report_timestamp(),
        }
    }
}
