//! What is given up first when there is too much: new requests; responses, ACK, CANCEL and BYE last.

use bytes::Bytes;
use sip_wire::{Message, Method};
use tokio::sync::mpsc;

/// Whether a message that came in begins something new.
pub fn is_new_request(message: &Message) -> bool {
    message.is_request()
        && !matches!(message.method(), Method::Ack | Method::Cancel | Method::Bye | Method::Prack)
        && message.to_tag().is_none()
}

/// Whether a message that goes out may wait for another day: what ends something, and every answer, may not.
pub fn is_request_to_shed(message: &Bytes) -> bool {
    !["SIP/2.0 ", "ACK ", "CANCEL ", "BYE ", "PRACK "]
        .iter()
        .any(|start| message.starts_with(start.as_bytes()))
}

/// A queue did not take something: it is full, or nobody reads it any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotTaken;

/// Puts something into a bounded queue whose second half is kept for what must not be shed.
pub fn offer<T>(queue: &mpsc::Sender<T>, item: T, may_be_shed: bool) -> Result<(), NotTaken> {
    if may_be_shed && queue.capacity() < queue.max_capacity() / 2 {
        return Err(NotTaken);
    }
    queue.try_send(item).map_err(|_| NotTaken)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(start: &str, to_tag: &str) -> Message {
        let method = start.split(' ').next().unwrap();
        let text = format!(
            "{start}\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:c@d>{to_tag}\r\n\
             Call-ID: 1\r\nCSeq: 1 {method}\r\nContent-Length: 0\r\n\r\n"
        );
        Message::parse(text.into()).unwrap()
    }

    #[test]
    fn only_what_begins_something_is_shed_on_its_way_in() {
        assert!(is_new_request(&message("INVITE sip:c@d SIP/2.0", "")));
        assert!(is_new_request(&message("REGISTER sip:d SIP/2.0", "")));
        assert!(!is_new_request(&message("INVITE sip:c@d SIP/2.0", ";tag=2")));
        assert!(!is_new_request(&message("BYE sip:c@d SIP/2.0", ";tag=2")));
        assert!(!is_new_request(&message("CANCEL sip:c@d SIP/2.0", "")));
    }

    #[test]
    fn answers_and_what_ends_something_leave_to_the_last() {
        assert!(is_request_to_shed(&Bytes::from_static(b"INVITE sip:a@b SIP/2.0\r\n")));
        assert!(!is_request_to_shed(&Bytes::from_static(b"SIP/2.0 200 OK\r\n")));
        assert!(!is_request_to_shed(&Bytes::from_static(b"BYE sip:a@b SIP/2.0\r\n")));
    }

    #[test]
    fn half_a_queue_is_kept_for_what_must_not_be_shed() {
        let (queue, _kept) = mpsc::channel(4);
        for _ in 0..3 {
            offer(&queue, (), true).unwrap();
        }
        offer(&queue, (), true).unwrap_err();
        offer(&queue, (), false).unwrap();
        offer(&queue, (), false).unwrap_err();
    }
}
