"""A hundred calls at once with G.711 both ways, every packet counted by the kernel on both ends."""

import re
import time
import unittest

from live.conf import users
from live.counters import Counters
from live.edge import BOTH
from live.process import wait_until
from live.sipp import Sipp, all_succeed, credentials

A, B = ("127.0.2.1", 5070), ("127.0.2.2", 5080)
CALLS, SECONDS = 100, 10


class Media(unittest.TestCase):
    def test_a_hundred_calls_hear_each_other(self):
        for shape in BOTH:
            with self.subTest(shape.kind), shape(users(10000, 2 * CALLS)) as edge:
                callers, callees = range(10000, 10000 + CALLS), range(10000 + CALLS, 10000 + 2 * CALLS)
                for server, local, numbers in ((edge.ways_in[0], A, callers), (edge.ways_in[1], B, callees)):
                    rows = [(str(n), credentials(str(n)), f"{local[0]}:{local[1]}") for n in numbers]
                    all_succeed(self, Sipp("register", server, local, rows, calls=CALLS, rate=200), CALLS)
                relay = edge.sip_addresses[0][0]
                files = edge.media.open_files()
                with Counters([(A[0], relay), (relay, B[0]), (B[0], relay), (relay, A[0])]) as counters:
                    rows = [(str(a), str(b), credentials(str(a))) for a, b in zip(callers, callees)]
                    phones = Sipp("uas-media", edge.ways_in[1], B, calls=CALLS, limit=60).start()
                    caller = Sipp("uac-media", edge.ways_in[0], A, rows, calls=CALLS, rate=50, at_once=CALLS,
                                  pause=SECONDS * 1000, limit=60).start()
                    try:
                        wait_until("a hundred calls are up", lambda: "200 active SIP dialogs" in edge.sip("show", "channels"), within=20)
                        # The last of them may still ring.
                        wait_until("all are bridged", lambda: f"{CALLS} active SIP bridges" in edge.sip("show", "bridged"), within=5)
                        wait_until("statistics", lambda: len(edge.sip("show", "channelstats").splitlines()) >= 2 * CALLS, within=10)
                        all_succeed(self, caller, CALLS)
                        all_succeed(self, phones, CALLS)
                    finally:
                        caller.stop()
                        phones.stop()
                    from_a, to_b, from_b, to_a = counters.read()
                # 50 packets a second and call; what is on the way while a call is set up or ended is not relayed.
                least = CALLS * SECONDS * 50 * 0.9
                for sent, heard, name in ((from_a, to_b, "A to B"), (from_b, to_a, "B to A")):
                    self.assertGreater(sent, least, name)
                    self.assertLessEqual(heard, sent, name)
                    self.assertLessEqual(sent - heard, CALLS * 10, f"{name}: {sent} sent, {heard} heard")
                print(f"\n  {shape.kind}: A sent {from_a}, B heard {to_b}; B sent {from_b}, A heard {to_a}")
                wait_until("no channel is left", lambda: "0 active SIP dialogs" in edge.sip("show", "channels"), within=40)
                self.assertLessEqual(edge.media.open_files(), files + 8)
                self.assertEqual(edge.panics(), [])


if __name__ == "__main__":
    unittest.main()
