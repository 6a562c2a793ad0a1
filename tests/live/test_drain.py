"""A signaling pod is told to end: new calls are refused, everything else goes on, and it ends when the last call has."""

import time
import unittest
import urllib.error

from live.conf import users
from live.edge import Split, options
from live.phone import Phone
from live.process import wait_until

TRUNK = "[carrier]\ntype=peer\nhost=127.0.2.9\ninsecure=invite\n"


def drained(edge):
    """The counters of a drain by outcome."""
    samples = edge.metrics(edge.health["signaling-0"])
    prefix = 'fairlead_signaling_drain_calls_total{outcome="'
    return {name[len(prefix):-2]: value for name, value in samples.items() if name.startswith(prefix)}


class Drain(unittest.TestCase):
    def call(self, caller, callee):
        call = caller.invite(callee.user)
        invite = callee.expect("INVITE")
        callee.answer(invite, body=callee.sdp())
        call.answered()
        callee.expect("ACK")
        return call

    def test_calls_end_in_peace_and_registrations_go_on_to_the_end(self):
        with Split(users(2001, 4) + TRUNK) as edge:
            a, b = edge.ways_in
            phones = [Phone(str(2001 + i), a, host=f"127.0.2.{1 + i}") for i in range(4)]
            caller, callee, third, fourth = phones
            for phone in phones:
                self.addCleanup(phone.close)
                phone.register()
            call = self.call(caller, callee)
            signaling, ready = edge.processes["signaling-0"], edge.health["signaling-0"]
            signaling.child.terminate()
            wait_until("it drains", lambda: drained(edge).get("at_start") == 1.0)

            # a phone that goes on speaking to the pod that drains: its call is passed on to the other one
            passed = self.call(third, fourth)
            passed.bye_with(fourth)
            third.register()
            self.assertEqual(options(a), 200)
            self.assertEqual(options(a, source="127.0.2.9"), 200, "so is a trunk's")
            self.assertTrue(edge.answers_ready(ready))
            # in the call everything goes on, and the others' pod takes new ones
            call.reinvite_with(callee)
            third.server = b
            third.domain = b[0]
            third.register()
            fourth.server = b
            fourth.domain = b[0]
            fourth.register()
            other = self.call(third, fourth)
            other.bye_with(fourth)

            began = time.monotonic()
            call.bye_with(callee)
            wait_until("it ends", lambda: not signaling.is_running(), within=4.5, every=0.01)
            self.assertLess(time.monotonic() - began, 2, "at once when the last call is over")
            self.assertEqual(signaling.child.returncode, 0)
            self.assertEqual(edge.panics(), [])
            # phones of the pod that is gone are reached again after their next packet anywhere
            caller.server = b
            caller.domain = b[0]
            caller.register()
            again = self.call(third, caller)
            again.bye_with(caller)

    def test_where_all_pods_drain_new_calls_are_503(self):
        with Split(users(2001, 4) + TRUNK) as edge:
            a, b = edge.ways_in
            phones = [Phone(str(2001 + i), a, host=f"127.0.2.{1 + i}") for i in range(4)]
            for phone in phones:
                self.addCleanup(phone.close)
            for at, caller, callee in ((a, phones[0], phones[1]), (b, phones[2], phones[3])):
                for phone in (caller, callee):
                    phone.server, phone.domain = at, at[0]
                    phone.register()
            calls = [self.call(phones[0], phones[1]), self.call(phones[2], phones[3])]
            for i in (0, 1):
                edge.processes[f"signaling-{i}"].child.terminate()
            time.sleep(2.5)
            refused = phones[0].invite("2004").first
            self.assertEqual(refused.status, 503)
            self.assertTrue(5 <= int(refused.header("Retry-After")) <= 30, refused.lines)
            self.assertEqual(options(a, source="127.0.2.9"), 503, "a trunk hears what its calls would hear")
            self.assertEqual(options(a), 200)
            for call, callee in zip(calls, (phones[1], phones[3])):
                call.bye_with(callee)
            # a second signal, which whoever stops them now would send, ends them before the relay has heard it
            ends = [edge.processes[f"signaling-{i}"] for i in (0, 1)]
            wait_until("they end", lambda: not any(process.is_running() for process in ends), within=4.5)
            self.assertEqual(edge.panics(), [])

    def test_without_calls_it_ends_at_once(self):
        with Split(users(2001, 1)) as edge:
            with Phone("2001", edge.ways_in[0]) as phone:
                phone.register()
                took = edge.processes["signaling-0"].terminate(within=5)
                self.assertLess(took, 1.5)

    def test_calls_that_outlast_the_grace_period_end_with_bye_on_both_legs(self):
        with Split(users(2001, 2), env={"FAIRLEAD_DRAIN_TIMEOUT": "2s"}) as edge:
            a = edge.ways_in[0]
            with Phone("2001", a) as callee, Phone("2002", a, host="127.0.2.2") as caller:
                callee.register()
                caller.register()
                self.call(caller, callee)
                signaling = edge.processes["signaling-0"]
                began = time.monotonic()
                signaling.child.terminate()
                for phone in (caller, callee):
                    bye = phone.expect("BYE")
                    self.assertIn("503", bye.header("Reason"))
                    self.assertGreater(time.monotonic() - began, 1.8)
                # repeated until it is answered, and counted meanwhile
                caller.answer(caller.expect("BYE", timeout=1.5))
                self.assertEqual(drained(edge), {"at_start": 1.0, "cut": 1.0})
                callee.answer(callee.expect("BYE", timeout=2.5))
                wait_until("it ends", lambda: not signaling.is_running(), within=4)
                self.assertLess(time.monotonic() - began, 6.5)
                self.assertNotIn("2001", edge.sip("show", "channels"))
                self.assertEqual(edge.panics(), [])

    def test_it_is_ready_without_a_registrar_and_says_no_honestly(self):
        with Split(users(2001, 1)) as edge:
            for name in ("registrar-0", "registrar-1"):
                edge.processes[name].kill()
            edge.processes["signaling-0"].terminate()
            edge.restart("signaling-0")
            url = edge.health["signaling-0"]

            def ready():
                try:
                    return edge.answers_ready(url)
                except urllib.error.URLError:
                    return False

            wait_until("it is ready", ready, within=8)
            self.assertEqual(options(edge.ways_in[0]), 200)
            with Phone("2001", edge.ways_in[0]) as phone:
                answer = phone.register(expect=503)
                self.assertIsNotNone(answer.header("Retry-After"))


if __name__ == "__main__":
    unittest.main()
