//! Reading, answering and editing messages, beside rsip's own parser in the same run.
#![allow(missing_docs, clippy::unwrap_used)]

use std::hint::black_box;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use fairlead_bench::{REGISTER, invite};
use sip_wire::{Header, Message};

fn wire(c: &mut Criterion) {
    for (name, text) in [("REGISTER", REGISTER.to_owned()), ("INVITE", invite())] {
        let bytes = Bytes::from(text.clone());
        let mut group = c.benchmark_group(format!("wire {name}"));
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function("parse", |b| b.iter(|| Message::parse(black_box(bytes.clone())).unwrap()));
        group.bench_function("parse, rsip", |b| {
            b.iter(|| rsip::SipMessage::try_from(black_box(text.as_str())).unwrap())
        });
        let message = Message::parse(bytes).unwrap();
        group
            .bench_function("check_mandatory", |b| b.iter(|| black_box(&message).check_mandatory().unwrap()));
        group.bench_function("six values", |b| {
            b.iter(|| {
                let m = black_box(&message);
                (
                    m.call_id().len(),
                    m.from_tag().map(|t| t.len()),
                    m.cseq().unwrap().number,
                    m.top_via().unwrap().port,
                )
            })
        });
        group.bench_function("response 200", |b| {
            b.iter(|| {
                black_box(&message)
                    .response(200, "OK")
                    .to_tag("abc")
                    .header(Header::Contact, "<sip:x@y>")
                    .finish()
            })
        });
        group.bench_function("edit", |b| {
            b.iter(|| {
                black_box(&message)
                    .edit()
                    .push_via("SIP/2.0/UDP 10.0.0.1;branch=z9hG4bKx")
                    .set(Header::MaxForwards, "69")
                    .finish()
            })
        });
        group.finish();
    }
}

criterion_group!(benches, wire);
criterion_main!(benches);
