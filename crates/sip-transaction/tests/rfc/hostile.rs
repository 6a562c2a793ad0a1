//! Strangers send what they like: nothing panics, nothing grows without end, and all of it is over in time.

use crate::lab::*;
use fairlead_testkit::Random;
use sip_transaction::{Limits, Output, Request, Timers, Transactions};
use sip_wire::Message;
use std::time::Instant;

/// The text with some octets changed, doubled or taken away.
fn mutated(text: &str, random: &mut Random) -> Vec<u8> {
    let mut bytes = text.replace('\n', "\r\n").into_bytes();
    for _ in 0..random.below(6) {
        let at = random.below(bytes.len() as u64) as usize;
        match random.below(4) {
            0 => bytes[at] = random.next_u64() as u8,
            1 => drop(bytes.remove(at)),
            2 => bytes.insert(at, b"\0;,=@<> \"\r\n:"[random.below(13) as usize % 12]),
            _ => bytes.truncate(at.max(20)),
        }
    }
    bytes
}

#[test]
fn garbage_is_matched_or_not_but_never_more() {
    let limits = Limits { transactions: 200, reserve: 20 };
    let mut table: Transactions<()> = Transactions::new(limits, (5, 6));
    let mut random = Random::new(11);
    let start = Instant::now();
    let methods = ["INVITE", "ACK", "CANCEL", "BYE", "OPTIONS", "REGISTER", "X"];
    for round in 0..40_000_u64 {
        let now = start + ms(round);
        let method = methods[random.below(7) as usize];
        let branch = format!("z9hG4bK{}", random.below(300));
        let text = if random.per_mille(700) {
            request_text(method, &branch, random.below(1 << 31) as u32)
        } else {
            response_text(method, &branch, 100 + random.below(600) as u16)
        };
        let Ok(message) = Message::parse(mutated(&text, &mut random).into()) else { continue };
        if message.is_request() {
            let known = table.handle_request(&message, now);
            if matches!(known, Request::New | Request::Cancel { .. })
                && let Ok(id) = table.open_server(&message, (), random.per_mille(500), Timers::default(), now)
            {
                let status = 100 + random.below(600) as u16;
                let _ = table.respond(id, status, response_text("X", &branch, status).into(), now);
            }
            if random.per_mille(100) {
                let _ = table.open_client(message, (), random.per_mille(500), Timers::default(), now);
            }
        } else {
            table.handle_response(&message, now);
        }
        table.handle_timeout(now);
        while let Some(output) = table.poll_output() {
            if let Output::Send { transaction, .. } = output
                && random.per_mille(50)
            {
                table.transport_error(transaction, now);
            }
        }
        assert!(table.len() <= 220);
        assert!(table.scheduled() <= 2_000);
    }
    // INVITEs that nobody answered finally wait for their user; all else ends by itself.
    let mut now = start + ms(40_000);
    while let Some(at) = table.poll_timeout() {
        now = now.max(at);
        table.handle_timeout(now);
        while table.poll_output().is_some() {}
    }
    assert!(now < start + ms(40_000 + 70_000));
}
