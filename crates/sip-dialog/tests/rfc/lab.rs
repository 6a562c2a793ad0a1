//! Messages of the tests: Alice (UAC) calls Bob (UAS) over two proxies.

use bytes::Bytes;
use sip_dialog::Dialog;
use sip_wire::Message;

pub fn message(text: &str) -> Message {
    Message::parse(Bytes::from(text.replace('\n', "\r\n"))).unwrap()
}

pub const INVITE: &str = "INVITE sip:bob@biloxi.example SIP/2.0\n\
    Via: SIP/2.0/UDP p2.example;branch=z9hG4bKp2\n\
    Via: SIP/2.0/UDP p1.example;branch=z9hG4bKp1\n\
    Via: SIP/2.0/UDP pc33.atlanta.example;branch=z9hG4bKa\n\
    Record-Route: <sip:p2.example;lr>\n\
    Record-Route: <sip:p1.example;lr>;x=\"a, b\"\n\
    Max-Forwards: 68\n\
    From: \"Alice\" <sip:alice@atlanta.example>;tag=fa\n\
    To: Bob <sip:bob@biloxi.example>\n\
    Call-ID: c@pc33\n\
    CSeq: 314159 INVITE\n\
    Contact: \"A\" <sip:alice@pc33.atlanta.example;transport=tcp>;q=0.5\n\
    Content-Length: 0\n\n";

pub const OK: &str = "SIP/2.0 200 OK\n\
    Via: SIP/2.0/UDP pc33.atlanta.example;branch=z9hG4bKa\n\
    Record-Route: <sip:p2.example;lr>, <sip:p1.example;lr>;x=\"a, b\"\n\
    From: \"Alice\" <sip:alice@atlanta.example>;tag=fa\n\
    To: Bob <sip:bob@biloxi.example>;tag=tb\n\
    Call-ID: c@pc33\n\
    CSeq: 314159 INVITE\n\
    Contact: <sip:bob@192.0.2.4>\n\
    Content-Length: 0\n\n";

/// `text` with one thing changed, which must be there.
pub fn changed(text: &str, from: &str, to: &str) -> Message {
    assert!(text.contains(from), "{from} in {text}");
    message(&text.replace(from, to))
}

pub fn bob() -> Dialog {
    Dialog::uas(&message(INVITE), "tb", 100).unwrap()
}

pub fn alice() -> Dialog {
    Dialog::uac(&message(INVITE), &message(OK)).unwrap()
}

/// A request in the dialog, as Bob receives it.
pub fn to_bob(method: &str, cseq: u32) -> String {
    format!(
        "{method} sip:bob@192.0.2.4 SIP/2.0\n\
         Via: SIP/2.0/UDP pc33.atlanta.example;branch=z9hG4bKb{cseq}\n\
         Max-Forwards: 70\n\
         From: \"Alice\" <sip:alice@atlanta.example>;tag=fa\n\
         To: Bob <sip:bob@biloxi.example>;tag=tb\n\
         Call-ID: c@pc33\n\
         CSeq: {cseq} {method}\n\
         Contact: <sip:alice@198.51.100.1>\n\
         Content-Length: 0\n\n"
    )
}
