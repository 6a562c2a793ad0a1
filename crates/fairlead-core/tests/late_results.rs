//! The result of sending by a flow that is gone comes late, when the phone is spoken to by another one already.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::*;
use fairlead_testkit::{Heard, Phone};
use sip_wire::Method;

/// Bob's phone speaks to pod B, which ends; what is sent by it fails two seconds later each time, as when the other pod is only not
/// heard from. Meanwhile the phone is heard by pod A, and what waits for it leaves there.
#[test]
fn a_copy_that_failed_before_the_way_was_found_does_not_end_what_leaves_by_it() {
    for method in [Method::Info, Method::Bye] {
        let Scene { mut sim, edge, ann, bob } = two_pods();
        sim.tell(ann, |ann: &mut Phone, now| ann.register(3600, now));
        sim.tell(bob, |bob: &mut Phone, now| bob.register(3600, now));
        sim.run_for(ms(200));
        // Both pods say the same of themselves, so that what waited leaves as it was written.
        for pod in &mut sim.node::<Edge>(edge).pods {
            pod.listens_on_both(true);
        }
        let call = sim.tell(ann, |ann: &mut Phone, now| ann.call("bob", now));
        sim.run_for(ms(3_000));
        assert_eq!(sim.node::<Phone>(bob).live_calls(), 1);
        let of_the_edge = sim.node::<Edge>(edge);
        of_the_edge.pods[1].alive = false;
        of_the_edge.fails_after = ms(2_000);
        // Copies leave at once, after 0.5 s and after 1.5 s.
        let said = method.clone();
        sim.tell(ann, move |ann: &mut Phone, now| match said {
            Method::Bye => ann.hang_up(call, now),
            said => ann.send_in_call(call, said, now),
        });
        sim.run_for(ms(1_900));
        sim.tell(bob, |bob: &mut Phone, _| {
            bob.set_edge(ip(EDGE));
            bob.send_raw("\r\n\r\n");
        });
        // The way is found half a second after the first result; the phone hears nothing of it for a moment.
        sim.net.lose_when(|packet| packet.to == ip(BOB));
        sim.run_for(ms(800));
        sim.net.lose_no_more();
        sim.run_for(ms(6_000));
        assert!(sim.node::<Phone>(bob).heard().contains(&Heard::Request(method.clone())), "{method:?}");
        if method == Method::Info {
            assert!(sim.node::<Phone>(ann).heard().contains(&Heard::Response(Method::Info, 200)));
        }
    }
}
