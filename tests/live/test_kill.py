"""kill -9 of anything while phones register: what had its 200 is still there afterwards."""

import re
import time
import unittest

from live.conf import users
from live.edge import Split, Standalone
from live.load import Registrations
from live.phone import Phone
from live.process import wait_until
from live.sipp import Sipp, all_succeed, credentials

COUNT, RATE = 4000, 500


class Kill(unittest.TestCase):
    def kill_in_the_middle(self, edge, name):
        numbers = [str(n) for n in range(10000, 10000 + COUNT)]
        load = Registrations(edge.ways_in, numbers, RATE)
        load.start()
        time.sleep(3)
        edge.processes[name].kill()
        time.sleep(1)
        edge.restart(name)
        edge.wait_ready()
        load.join(60)
        self.assertFalse(load.is_alive(), "the load ended")
        confirmed = dict(load.confirmed)
        self.assertGreater(len(confirmed), COUNT // 2, load.statuses)
        there = edge.contacts()
        missing = [user for user, contact in confirmed.items() if contact not in there.get(user, [])]
        self.assertEqual(missing, [], f"{len(missing)} of {len(confirmed)} are missing after {name} was killed; {load.statuses}")
        print(f"\n  {edge.kind}, {name} killed: {len(confirmed)} confirmed, none missing, {load.statuses}")

    def test_standalone(self):
        with Standalone(users(10000, COUNT)) as edge:
            self.kill_in_the_middle(edge, "standalone")

    def test_each_role(self):
        for name in ("registrar-0", "registrar-1", "signaling-0", "signaling-1", "media", "admin"):
            with self.subTest(name), Split(users(10000, COUNT)) as edge:
                self.kill_in_the_middle(edge, name)

    def test_a_restored_tcp_binding_is_listed_but_its_flow_is_lost(self):
        with Standalone(users(2001, 2)) as edge:
            with Phone("2001", edge.ways_in[0], transport="tcp") as tcp, Phone("2002", edge.ways_in[0]) as caller:
                tcp.register()
                caller.register()
                edge.processes["standalone"].kill()
                edge.restart("standalone")
                edge.wait_ready()
                self.assertRegex(edge.sip("show", "peers"), r"2001.*127\.0\.2\.1")
                began = time.monotonic()
                outgoing = caller.invite("2001")
                outgoing.refused(480)
                self.assertLess(time.monotonic() - began, 2.0)

    def test_no_call_fails_when_a_registrar_goes_and_comes(self):
        with Split(users(10000, 400)) as edge:
            a, b = ("127.0.2.1", 5070), ("127.0.2.2", 5080)
            for server, local, numbers in ((edge.ways_in[0], a, range(10000, 10200)), (edge.ways_in[1], b, range(10200, 10400))):
                rows = [(str(n), credentials(str(n)), f"{local[0]}:{local[1]}") for n in numbers]
                all_succeed(self, Sipp("register", server, local, rows, calls=200, rate=200), 200)
            rows = [(str(10000 + n), str(10200 + n), credentials(str(10000 + n))) for n in range(200)]
            phones = Sipp("uas", edge.ways_in[1], b, calls=200, limit=60).start()
            caller = Sipp("uac", edge.ways_in[0], a, rows, calls=200, rate=20, pause=500, limit=60).start()
            try:
                time.sleep(3)
                edge.processes["registrar-0"].kill()
                time.sleep(3)
                edge.restart("registrar-0")
                all_succeed(self, caller, 200)
                all_succeed(self, phones, 200)
            finally:
                caller.stop()
                phones.stop()


if __name__ == "__main__":
    unittest.main()
