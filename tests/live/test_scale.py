"""Pods of signaling come and go behind a balancer while phones register: nothing is refused, nobody is lost."""

import time
import unittest

from live.balancer import Balancer
from live.conf import users
from live.edge import Split
from live.phone import Phone
from live.sipp import Sipp, credentials

FRONT = ("127.0.9.1", 5060)
BACK = "127.0.9.2"
FIRST = 3001
NAT = "type=friend\nhost=dynamic\nqualify=no\nnat=force_rport\n"


def called(test, caller, callee):
    """One call, ended by the callee."""
    call = caller.invite(callee.user)
    invite = callee.expect("INVITE")
    callee.answer(invite, body=callee.sdp())
    call.answered()
    callee.expect("ACK")
    callee.in_dialog("BYE", invite)
    caller.answer(caller.expect("BYE"))
    test.assertEqual(callee.final("BYE").status, 200)


class Scale(unittest.TestCase):
    def storm(self, seconds, rate):
        """SIPp registers users from a socket each, again and again."""
        rows = [(str(FIRST + i), credentials(str(FIRST + i)), f"{BACK}:{6000 + i}") for i in range(100)]
        return Sipp("register", FRONT, ("127.0.3.1", 0), rows=rows, calls=seconds * rate, rate=rate, transport="un",
                    limit=seconds + 40, more=("-max_socket", "2000"))

    def phones(self, names):
        phones = [Phone(name, FRONT, host=f"127.0.4.{1 + i}") for i, name in enumerate(names)]
        for phone in phones:
            self.addCleanup(phone.close)
        return phones

    def test_one_pod_becomes_three_and_one_again_under_registrations(self):
        conf = users(2001, 4, template=NAT) + users(FIRST, 100, template=NAT)
        with Split(conf, hosts=("127.0.1.1",)) as edge, Balancer(FRONT, BACK, [("127.0.1.1", 5060)]) as balancer:
            phones = self.phones([str(2001 + i) for i in range(4)])
            for phone in phones:
                phone.register()
            with self.storm(seconds=30, rate=30) as sipp:
                time.sleep(4)
                for host in ("127.0.1.2", "127.0.1.3"):
                    edge.add_signaling(host)
                    balancer.add((host, 5060))
                time.sleep(2)
                # flows that were silent for long go to whichever pod
                balancer.shuffle()
                for phone in phones:
                    phone.send("\n\n")
                time.sleep(1)
                for caller, callee in zip(phones, phones[1:] + phones[:1]):
                    called(self, caller, callee)
                self.assertGreater(len(balancer.spread()), 1, "the flows are spread")
                # and back: two are told to end
                for i in (0, 1):
                    pod = (edge.hosts[i], 5060)
                    balancer.leave(pod)
                    took = edge.processes[f"signaling-{i}"].terminate(within=8)
                    balancer.forget(pod)
                    self.assertLess(took, 5)
                    # a phone is called again as soon as a packet of it has come to somebody
                    for phone in phones:
                        phone.send("\n\n")
                    time.sleep(1)
                    for caller, callee in zip(phones, phones[1:] + phones[:1]):
                        called(self, caller, callee)
                counts = sipp.wait()
            self.assertEqual((counts["ok"], counts["failed"]), (900, 0), f"{counts}\n{sipp.errors()}")
            contacts = edge.contacts()
            missing = [name for name in (str(FIRST + i) for i in range(100)) if not contacts[name]]
            self.assertEqual(missing, [])
            self.assertEqual(edge.panics(), [])

    def test_a_registrar_that_ends_or_is_killed_refuses_nobody(self):
        conf = users(FIRST, 100, template=NAT)
        with Split(conf) as edge, Balancer(FRONT, BACK, [(host, 5060) for host in ("127.0.1.1", "127.0.1.2")]) as balancer:
            with self.storm(seconds=24, rate=30) as sipp:
                time.sleep(4)
                edge.processes["registrar-0"].terminate(within=10)
                time.sleep(3)
                edge.restart("registrar-0")
                time.sleep(3)
                edge.processes["registrar-1"].kill()
                time.sleep(4)
                edge.restart("registrar-1")
                counts = sipp.wait()
            self.assertEqual((counts["ok"], counts["failed"]), (720, 0), f"{counts}\n{sipp.errors()}")

    def test_a_call_to_a_phone_whose_pod_was_killed_is_held_for_its_next_packet_and_480_after_a_while(self):
        conf = users(2001, 2, template=NAT)
        pods = [("127.0.1.1", 5060), ("127.0.1.2", 5060)]
        # as behind a Service: only the pod that a phone's packets reach may speak to it
        with Split(conf) as edge, Balancer(FRONT, BACK, [pods[0]]) as balancer:
            callee, caller = self.phones(["2001", "2002"])
            callee.register()
            balancer.leave(pods[0])
            balancer.add(pods[1])
            caller.register()
            self.assertNotEqual(balancer.pod_of(("127.0.4.1", callee.port)), balancer.pod_of(("127.0.4.2", caller.port)))
            edge.processes["signaling-0"].kill()
            balancer.forget(pods[0])
            began = time.monotonic()
            caller.invite("2001").refused(480, timeout=30)
            self.assertGreater(time.monotonic() - began, 15)
            self.assertLess(time.monotonic() - began, 20)
            callee.send("\n\n")
            time.sleep(0.5)
            called(self, caller, callee)


if __name__ == "__main__":
    unittest.main()
