"""Redis stops for ten seconds under load, and comes back."""

import os
import signal
import time
import unittest

from live.conf import users
from live.edge import Split
from live.load import Registrations
from live.phone import Phone
from live.process import wait_until


class RedisAway(unittest.TestCase):
    def away(self, edge, seconds, meanwhile):
        edge.redis.terminate()
        began = time.monotonic()
        try:
            meanwhile()
            time.sleep(max(0.0, seconds - (time.monotonic() - began)))
        finally:
            edge.redis.start()
            wait_until("Redis answers", lambda: edge.redis_cli("PING").strip() == "PONG")

    def test_what_goes_on_and_what_comes_back(self):
        with Split(users(2001, 10)) as edge:
            with Phone("2001", edge.ways_in[0]) as ann, Phone("2002", edge.ways_in[1], host="127.0.2.2") as bob, \
                    Phone("2003", edge.ways_in[0], host="127.0.2.3") as cid, Phone("2004", edge.ways_in[1], host="127.0.2.4") as dan, \
                    Phone("2005", edge.ways_in[0], host="127.0.2.5") as stranger:
                for phone in (ann, bob, cid, dan):
                    phone.register()
                live = ann.invite("2002")
                invite = bob.expect("INVITE")
                bob.answer(invite, body=bob.sdp())
                live.answered()
                bob.expect("ACK")

                def meanwhile():
                    # a refresh of what is known
                    self.assertEqual(ann.register().status, 200)
                    # anything new
                    refused = stranger.register(expect=503)
                    self.assertGreater(int(refused.header("Retry-After")), 0)
                    # a live call
                    live.reinvite_with(bob)
                    # a new call between cached peers
                    second = cid.invite("2004")
                    dan.answer(dan.expect("INVITE"), body=dan.sdp())
                    second.answered()
                    dan.expect("ACK")
                    second.bye_with(dan)

                self.away(edge, 10, meanwhile)
                wait_until("a new phone registers again", lambda: stranger.register(expect=None).status == 200, within=20, every=0.5)
                live.bye_with(bob)
                self.assertRegex(edge.sip("show", "peers"), r"2005.*127\.0\.2\.5")
                self.assertEqual(edge.panics(), [])

    def test_under_load_nothing_confirmed_is_lost(self):
        with Split(users(10000, 2000)) as edge:
            numbers = [str(n) for n in range(10000, 12000)]
            load = Registrations(edge.ways_in, numbers, 300, again=True)
            load.start()
            time.sleep(5)
            self.away(edge, 10, lambda: None)
            wait_until("REGISTERs succeed again", lambda: self.grows(load), within=20, every=1.0)
            time.sleep(5)
            load.stop()
            self.assertGreater(load.statuses.get(503, 0), 0, load.statuses)
            self.assertGreater(len(set(load.retry_after)), 3, "Retry-After is spread")
            contacts = edge.contacts()
            missing = [u for u, c in load.confirmed.items() if c not in contacts.get(u, [])]
            self.assertEqual(missing, [], f"{len(missing)} of {len(load.confirmed)}; {load.statuses}")
            print(f"\n  Redis away for 10 s at 300 REGISTER/s: {load.statuses}, Retry-After {sorted(set(load.retry_after))}")

    def grows(self, load):
        before = load.statuses.get(200, 0)
        time.sleep(1)
        return load.statuses.get(200, 0) > before + 50


if __name__ == "__main__":
    unittest.main()
