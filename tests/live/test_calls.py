"""Calls between SIPp phones, through one process and through many: answered, busy, cancelled, held, refused."""

import unittest

from live.conf import users
from live.edge import BOTH, Standalone
from live.phone import Phone
from live.process import wait_until
from live.sipp import Sipp, all_succeed, credentials

A, B = ("127.0.2.1", 5070), ("127.0.2.2", 5080)
PATIENT = "type=friend\nhost=dynamic\nqualify=no\nring_time=2\n"
CALLERS, CALLEES = range(10000, 10020), range(10100, 10120)


def register(test, edge):
    """Callers through the first way in, callees through the second."""
    for server, local, numbers in ((edge.ways_in[0], A, CALLERS), (edge.ways_in[1], B, CALLEES)):
        rows = [(str(n), credentials(str(n)), f"{local[0]}:{local[1]}") for n in numbers]
        all_succeed(test, Sipp("register", server, local, rows, calls=len(rows), rate=200), len(rows))


def call(test, edge, uac, uas=None, callees=CALLEES, **options):
    """Each caller calls one callee, entering where the callees did not."""
    rows = [(str(a), str(b), credentials(str(a))) for a, b in zip(CALLERS, callees)]
    phones = Sipp(uas, edge.ways_in[1], B, calls=len(rows), limit=40).start() if uas else None
    try:
        all_succeed(test, Sipp(uac, edge.ways_in[0], A, rows, calls=len(rows), rate=20, limit=40, **options), len(rows))
        if phones:
            all_succeed(test, phones, len(rows))
    finally:
        if phones:
            phones.stop()


def nothing_is_left(edge):
    wait_until("no channel is left", lambda: edge.sip("show", "channels").startswith("Peer") and
               edge.sip("show", "channels").rstrip().endswith("0 active SIP dialogs"), within=40)


class Calls(unittest.TestCase):
    def test_every_way_a_call_can_go(self):
        for shape in BOTH:
            with self.subTest(shape.kind), shape(users(10000, 200, template=PATIENT)) as edge:
                register(self, edge)
                for uac, uas, options in (
                    ("uac", "uas", {"pause": 300}),
                    ("uac-busy", "uas-busy", {}),
                    ("uac-cancel", "uas-rings", {}),
                    ("uac-hold", "uas-hold", {}),
                    ("uac-unavailable", "uas-rings", {}),
                ):
                    with self.subTest(uac):
                        call(self, edge, uac, uas, **options)
                with self.subTest("nobody is there"):
                    call(self, edge, "uac-unavailable", callees=range(10150, 10170))
                with self.subTest("nobody has that name"):
                    call(self, edge, "uac-unknown", callees=range(90000, 90020))
                nothing_is_left(edge)
                self.assertEqual(edge.panics(), [])

    def test_either_side_hangs_up(self):
        for shape in BOTH:
            with self.subTest(shape.kind), shape(users(2001, 2)) as edge:
                with Phone("2001", edge.ways_in[0]) as ann, Phone("2002", edge.ways_in[1]) as bob:
                    ann.register()
                    bob.register()
                    outgoing = ann.invite("2002")
                    invite = bob.expect("INVITE")
                    bob.answer(invite, body=bob.sdp())
                    outgoing.answered()
                    bob.expect("ACK")
                    self.assertIn("2 active SIP dialogs", edge.sip("show", "channels"))
                    self.assertIn("1 active SIP bridges", edge.sip("show", "bridged"))
                    bob.in_dialog("BYE", invite)
                    bye = ann.expect("BYE")
                    ann.answer(bye)
                    self.assertEqual(bob.final("BYE").status, 200)
                nothing_is_left(edge)

    def test_the_legs_share_nothing_that_names_them(self):
        with Standalone(users(2001, 2)) as edge:
            with Phone("2001", edge.ways_in[0]) as ann, Phone("2002", edge.ways_in[1]) as bob:
                ann.register()
                bob.register()
                outgoing = ann.invite("2002")
                invite = bob.expect("INVITE")
                self.assertNotEqual(invite.header("Call-ID"), outgoing.call_id)
                self.assertNotIn(outgoing.tag, invite.data.decode())
                self.assertNotIn(ann.at, invite.data.decode())
                self.assertEqual(invite.header("Max-Forwards"), "69")
                bob.answer(invite, 486, "Busy Here")
                outgoing.refused(486)

    def test_an_early_and_a_late_offer(self):
        with Standalone(users(2001, 2)) as edge:
            with Phone("2001", edge.ways_in[0]) as ann, Phone("2002", edge.ways_in[1]) as bob:
                ann.register()
                bob.register()
                outgoing = ann.invite("2002", body="")
                invite = bob.expect("INVITE")
                self.assertEqual(invite.body, "")
                bob.answer(invite, body=bob.sdp())
                ok = ann.expect(200)
                self.assertIn("m=audio", ok.body)
                outgoing.remote = ok.header("Contact").split("<")[1].split(">")[0]
                outgoing.to = ok.header("To")
                headers = outgoing.headers("ACK")
                ann.request("ACK", outgoing.remote, headers, body=ann.sdp())
                ack = bob.expect("ACK")
                self.assertIn("m=audio", ack.body)
                ann.request("BYE", outgoing.remote, [(k, v if k != "CSeq" else f"{outgoing.cseq + 1} BYE") for k, v in headers])
                bob.answer(bob.expect("BYE"))
                self.assertEqual(ann.final("BYE").status, 200)

    def test_a_call_limit_refuses_the_next_call(self):
        conf = users(2001, 3, template="type=friend\nhost=dynamic\nqualify=no\ncall-limit=1\n")
        with Standalone(conf) as edge:
            with Phone("2001", edge.ways_in[0]) as ann, Phone("2002", edge.ways_in[0]) as bob, Phone("2003", edge.ways_in[0]) as cid:
                for phone in (ann, bob, cid):
                    phone.register()
                first = ann.invite("2002")
                bob.answer(bob.expect("INVITE"), body=bob.sdp())
                first.answered()
                second = cid.invite("2002")
                self.assertEqual(second.refused(480).status, 480)
                first.bye()


if __name__ == "__main__":
    unittest.main()
