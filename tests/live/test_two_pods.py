"""A phone that only pod A can reach is called through pod B, and answers through A: by mesh, one crossing a message."""

import unittest

from live.conf import users
from live.edge import Split
from live.hosts import Hosts
from live.phone import Phone
from live.process import wait_until

A, B = "10.90.0.11", "10.90.0.12"


class TwoPods(unittest.TestCase):
    def crossings(self, edge):
        """Messages that left a pod by mesh, over both pods."""
        return sum(
            value for pod in (0, 1) for name, value in edge.metrics(edge.health[f"signaling-{pod}"]).items()
            if name.startswith("fairlead_mesh_crossings_total") and 'direction="out"' in name
        )

    def a_call_through_b(self, transport, conf=users(2001, 2), filtered=False):
        with Hosts(a=A, b=B, near="10.90.0.21", far="10.90.0.22") as hosts:
            with Split(conf, hosts=(A, B), core=hosts.core, netns=("a", "b")) as edge:
                with hosts.inside("near"):
                    phone = Phone("2001", (A, 5060), host="10.90.0.21", port=5062, transport=transport)
                with hosts.inside("far"):
                    caller = Phone("2002", (B, 5060), host="10.90.0.22")
                if filtered:
                    hosts.hears_only("near", A, 5062)
                with phone, caller:
                    phone.register()
                    caller.register()
                    before = self.crossings(edge)
                    call = caller.invite("2001")
                    invite = phone.expect("INVITE")
                    self.assertIn(A, invite.header("Via"), "sent by A, in A's name")
                    phone.answer(invite, body=phone.sdp())
                    call.answered()
                    phone.expect("ACK")
                    phone.in_dialog("BYE", invite)
                    caller.answer(caller.expect("BYE"))
                    self.assertEqual(phone.final("BYE").status, 200)
                    # INVITE, 200, ACK, BYE, 200: each crosses once. It is counted when the other pod says so.
                    wait_until("five crossings", lambda: self.crossings(edge) - before >= 5, within=5)
                    self.assertEqual(self.crossings(edge) - before, 5)
                    # and the callee gives up the call that B has
                    call = caller.invite("2001")
                    invite = phone.expect("INVITE")
                    phone.answer(invite, 486, "Busy Here")
                    call.refused(486)
                    self.assertEqual(edge.panics(), [])

    def test_the_phone_is_on_tcp(self):
        self.a_call_through_b("tcp")

    def test_the_phone_is_on_udp_behind_a_filter(self):
        nat = users(2001, 2, template="type=friend\nhost=dynamic\nqualify=no\nnat=force_rport\n")
        self.a_call_through_b("udp", nat, filtered=True)

    def test_a_retransmission_and_a_cancel_at_the_other_pod_find_their_call(self):
        with Split(users(2001, 2)) as edge:
            with Phone("2001", edge.ways_in[0]) as phone, Phone("2002", edge.ways_in[0], host="127.0.2.2") as caller:
                phone.register()
                caller.register()
                call = caller.invite("2001")
                invite = phone.expect("INVITE")
                phone.answer(invite, 180, "Ringing")
                caller.expect(180)
                # the same INVITE, at the other pod: no second call
                caller.server = edge.ways_in[1]
                challenge_free = call.headers("INVITE")
                caller.request("INVITE", call.uri, challenge_free, body=call.body, branch=call.branch)
                # and its CANCEL there too
                caller.request("CANCEL", call.uri, [h if h[0] != "CSeq" else ("CSeq", f"{call.cseq} CANCEL") for h in call.headers("CANCEL")], branch=call.branch)
                phone.answer(phone.expect("CANCEL"))
                phone.answer(invite, 487, "Request Terminated")
                final = caller.expect(487)
                call.ack(final, call.branch)
                again = phone.receive(1.0)
                while again is not None and again.method != "INVITE":
                    again = phone.receive(1.0)
                self.assertIsNone(again, "one call only")
                wait_until("nothing is left", lambda: "0 active SIP dialogs" in edge.sip("show", "channels"), within=40)


if __name__ == "__main__":
    unittest.main()
