"""Registrars come and go under registrations; Redis comes back with an empty disk."""

import time
import unittest

from live.conf import GENERAL, users
from live.edge import Split
from live.load import Registrations
from live.phone import Phone
from live.process import wait_until
from live.sipp import Sipp, credentials

RATE = 200
REALTIME = GENERAL + "rtcachefriends=yes\n"


class Registrars(unittest.TestCase):
    def test_one_three_one_under_registrations(self):
        """Scaled up and down again while phones register: none is refused, none is lost."""
        numbers = [str(n) for n in range(10000, 13000)]
        with Split(users(10000, 3000), registrars=3, at_first=1) as edge:
            rows = [(u, credentials(u), f"127.0.3.2:{20000 + i}") for i, u in enumerate(numbers[2000:])]
            load = Registrations(edge.ways_in, numbers[:2000], RATE // 2, again=True)
            with Sipp("register", edge.ways_in[0], ("127.0.3.2", 5070), rows=rows, calls=3600, rate=RATE // 2, limit=90) as sipp:
                load.start()
                time.sleep(4)
                for i in (1, 2):
                    edge.start_registrar(i)
                    time.sleep(4)
                took = []
                for i in (0, 2):
                    took.append(edge.end(f"registrar-{i}"))
                    time.sleep(4)
                edge.start_registrar(0)
                time.sleep(2)
                took.append(edge.end("registrar-1"))
                counts = sipp.wait()
            load.stop()
            self.assertEqual((counts["failed"], counts["ok"]), (0, 3600), f"{counts}\n{sipp.errors()}")
            self.assertEqual(set(load.statuses), {200}, load.statuses)
            self.assertLess(max(took), 5.0)
            contacts = edge.contacts()
            missing = [u for u, c in load.confirmed.items() if c not in contacts.get(u, [])]
            missing += [u for u, _, at in rows if not any(at in c for c in contacts.get(u, []))]
            self.assertEqual(missing, [])
            self.assertEqual(edge.panics(), [])
            print(f"\n  registrars 1, 2, 3, 2, 1 at {RATE} REGISTER/s: {load.statuses}, SIPp {counts}, ends took {took}")

    def test_another_is_used_soon_after_one_was_killed(self):
        with Split(users(2001, 2), registrars=2) as edge:
            with Phone("2001", edge.ways_in[0]) as ann, Phone("2002", edge.ways_in[1], host="127.0.2.2") as ben:
                for phone in (ann, ben):
                    phone.register()
                edge.processes["registrar-0"].kill()
                began = time.monotonic()
                for phone in (ann, ben):
                    self.assertEqual(phone.register().status, 200)
                self.assertLess(time.monotonic() - began, 3.0)
                edge.restart("registrar-0")

    def test_registered_phones_outlive_an_empty_redis(self):
        """Provisioned peers and those of sip.conf, known by different registrars; none registers again."""
        fixed, realtime = [str(n) for n in range(2001, 2011)], [str(n) for n in range(3001, 3301)]
        with Split(users(2001, 10, general=REALTIME)) as edge:
            for name in realtime:
                edge.redis_cli("HSET", f"fairlead:peer:{{{name}}}", "secret", f"pw{name}", "host", "dynamic")
            load = Registrations(edge.ways_in, realtime, 200)
            load.start()
            load.join(30)
            self.assertEqual(load.statuses, {200: len(realtime)})
            with Phone("2001", edge.ways_in[0]) as ann, Phone("2002", edge.ways_in[1], host="127.0.2.2") as ben, \
                    Phone("3301", edge.ways_in[1], host="127.0.2.3") as cid:
                edge.redis_cli("HSET", "fairlead:peer:{3301}", "secret", "pw3301", "host", "dynamic")
                for phone in (ann, ben, cid):
                    phone.register()
                live = ann.invite("2002")
                invite = ben.expect("INVITE")
                ben.answer(invite, body=ben.sdp())
                live.answered()
                ben.expect("ACK")
                before = edge.contacts()
                edge.empty_redis()
                # One registrar starts anew in the same moment and knows nothing.
                edge.processes["registrar-0"].kill()
                edge.restart("registrar-0")
                wait_until("everybody is listed again", lambda: self.same(edge, before), within=30, every=0.5)
                keys = [f"fairlead:bindings:{{{n}}}" for n in realtime]
                wait_until("every binding is in the store again",
                           lambda: edge.redis_cli("EXISTS", *keys).strip() == str(len(realtime)), within=30, every=0.5)
                live.reinvite_with(ben)
                call = ann.invite("3301")
                cid.answer(cid.expect("INVITE"), body=cid.sdp())
                call.answered()
                cid.expect("ACK")
                call.bye_with(cid)
                live.bye_with(ben)
                self.assertEqual(edge.panics(), [])

    def same(self, edge, before):
        now = edge.contacts()
        return all(now.get(name) == contacts for name, contacts in before.items() if contacts)


if __name__ == "__main__":
    unittest.main()
