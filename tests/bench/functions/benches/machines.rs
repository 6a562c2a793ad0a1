//! The machines: a nonce minted and checked, a digest verified, a transaction from first to last.
#![allow(missing_docs, clippy::unwrap_used)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use fairlead_bench::{REGISTER, invite};
use sip_auth::{Algorithm, Challenger, Credentials, Expected, NonceKey, NonceKeys, Secret, verify};
use sip_transaction::{Limits, Timers, Transactions};
use sip_wire::Message;

fn auth(c: &mut Criterion) {
    let keys = NonceKeys::new(vec![NonceKey::new(1, 7, &[3; 32])]);
    let challenger = Challenger::new("fairlead", &[Algorithm::Md5], keys);
    c.bench_function("auth challenge", |b| b.iter(|| challenger.challenge(black_box(42), false)));
    let message = Message::parse(Bytes::from(REGISTER)).unwrap();
    let value = message.header(sip_wire::Header::Authorization).unwrap().to_string();
    let credentials = Credentials::parse(&value).unwrap();
    c.bench_function("auth parse credentials", |b| b.iter(|| Credentials::parse(black_box(&value)).unwrap()));
    c.bench_function("auth check nonce", |b| {
        b.iter(|| challenger.check_nonce(black_box(&credentials.nonce)))
    });
    let expected = Expected {
        realm: "fairlead",
        method: "REGISTER",
        uri: "sip:edge.example.com",
        algorithms: &[Algorithm::Md5],
    };
    c.bench_function("auth verify MD5", |b| {
        b.iter(|| verify(black_box(&credentials), Secret::Password("secret"), &expected).is_ok())
    });
}

fn transactions(c: &mut Criterion) {
    let now = Instant::now();
    let register = Message::parse(Bytes::from(REGISTER)).unwrap();
    let ok = register.response(200, "OK").to_tag("x").finish();
    c.bench_function("transaction server REGISTER, first to last", |b| {
        b.iter_batched_ref(
            || Transactions::<u32>::new(Limits::default(), (1, 2)),
            |table| {
                black_box(table.handle_request(&register, now));
                let id = table.open_server(&register, 1, false, Timers::default(), now).unwrap();
                table.respond(id, 200, ok.clone(), now).unwrap();
                table.handle_timeout(now + Duration::from_secs(40));
                while table.poll_output().is_some() {}
            },
            BatchSize::SmallInput,
        )
    });
    let request = Message::parse(Bytes::from(invite())).unwrap();
    let busy = Message::parse(request.response(486, "Busy Here").to_tag("x").finish()).unwrap();
    c.bench_function("transaction client INVITE to 486", |b| {
        b.iter_batched_ref(
            || Transactions::<u32>::new(Limits::default(), (1, 2)),
            |table| {
                table.open_client(request.clone(), 1, false, Timers::default(), now).unwrap();
                black_box(table.handle_response(&busy, now));
                table.handle_timeout(now + Duration::from_secs(40));
                while table.poll_output().is_some() {}
            },
            BatchSize::SmallInput,
        )
    });
}

criterion_group!(benches, auth, transactions);
criterion_main!(benches);
