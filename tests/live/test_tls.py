"""Mutual TLS between pods: certificates change under calls, and whoever has none gets no answer."""

import os
import socket
import ssl
import time
import unittest

from live.authority import Authority, Mounted
from live.conf import users
from live.edge import Split, free_port
from live.process import wait_until
from live.sipp import Sipp, all_succeed, credentials

A, B = ("127.0.2.1", 5070), ("127.0.2.2", 5080)
LONG = ("127.0.2.3", 5090)
RENEWALS = 20
DOMAIN = "edge.sip"
ROLES = ("signaling", "media", "registrar", "admin")
PLAIN, NO_CERTIFICATE = object(), object()
CALLERS, CALLEES = range(10000, 10020), range(10100, 10120)


class Guarded(Split):
    """A split edge whose pods prove who they are; every one of them tells its counters."""

    kind = "split with TLS"

    def __init__(self, *args, **more):
        super().__init__(*args, **more)
        self.authority = Authority(self.dir, "first")
        self.mounted = {role: Mounted(os.path.join(self.dir, f"tls-{role}"), f"{role}.{DOMAIN}") for role in ROLES}
        self.renew(self.authority, [self.authority])

    def process(self, name, role, *argv, netns=None):
        if "--listen-health" not in argv:
            self.health[name] = f"http://127.0.0.1:{free_port()}"
            argv += ("--listen-health", self.health[name].removeprefix("http://"))
        argv += ("--tls-dir", self.mounted[role].folder, "--tls-domain", DOMAIN)
        return super().process(name, role, *argv, netns=netns)

    def renew(self, authority, trusted):
        for mounted in self.mounted.values():
            mounted.write(authority, trusted)

    def reloads(self, result="ok"):
        """By process."""
        return {name: self.metrics(url).get(f'fairlead_tls_reloads_total{{result="{result}"}}') for name, url in self.health.items()}

    def failures(self):
        """Handshakes that failed and calls that were denied."""
        samples = [(name, key, value) for name, url in self.health.items() for key, value in self.metrics(url).items()]
        return [s for s in samples if s[1].startswith(("fairlead_tls_handshake_failures", "fairlead_tls_denied")) and s[2] > 0]


def register(test, edge):
    for server, local, numbers in ((edge.ways_in[0], A, CALLERS), (edge.ways_in[1], B, CALLEES)):
        rows = [(str(n), credentials(str(n)), f"{local[0]}:{local[1]}") for n in numbers]
        all_succeed(test, Sipp("register", server, local, rows, calls=len(rows), rate=200), len(rows))


def pairs():
    return [(str(a), str(b), credentials(str(a))) for a, b in zip(CALLERS, CALLEES)]


class Tls(unittest.TestCase):
    def test_certificates_change_twenty_times_under_calls(self):
        """Two calls a second and ten long ones: none is lost. The authority is replaced on the way."""
        with Guarded(users(10000, 200)) as edge:
            register(self, edge)
            short, held = 100, 10
            phones = Sipp("uas", edge.ways_in[1], B, calls=short + held, limit=150).start()
            long = Sipp("uac", edge.ways_in[0], LONG, pairs(), calls=held, rate=10, pause=65_000, limit=150).start()
            calls = Sipp("uac", edge.ways_in[0], A, pairs(), calls=short, rate=2, pause=1500, limit=150).start()
            try:
                first, second = edge.authority, Authority(edge.dir, "second")
                # Everybody trusts the new one before anybody shows a certificate of it.
                steps = [(first, [first])] * 6 + [(first, [first, second])] * 4 + [(second, [first, second])] * 4
                steps += [(second, [second])] * (RENEWALS - len(steps))
                for done, step in enumerate(steps, 1):
                    edge.renew(*step)
                    wait_until(f"renewal {done} is in use", lambda n=done: set(edge.reloads().values()) == {float(n)}, within=10)
                all_succeed(self, calls, short)
                all_succeed(self, long, held)
                all_succeed(self, phones, short + held)
            finally:
                for sipp in (calls, long, phones):
                    sipp.stop()
            self.assertEqual(set(edge.reloads().values()), {float(RENEWALS)})
            self.assertEqual(set(edge.reloads("refused").values()), {0.0})
            self.assertEqual(edge.failures(), [])
            # Connections that are made now use what is there now.
            edge.processes["registrar-0"].kill()
            edge.restart("registrar-0")
            wait_until("all are ready", edge.is_ready, within=20)
            register(self, edge)
            phones = Sipp("uas", edge.ways_in[1], B, calls=20, limit=40).start()
            try:
                all_succeed(self, Sipp("uac", edge.ways_in[0], A, pairs(), calls=20, rate=20, pause=300, limit=40), 20)
                all_succeed(self, phones, 20)
            finally:
                phones.stop()
            self.assertEqual(edge.panics(), [])
            print(f"\n  {RENEWALS} renewals under {short + held} calls, one authority replaced: none lost")

    def test_whoever_has_no_certificate_of_ours_gets_no_answer(self):
        with Guarded(users(2001, 1)) as edge:
            stranger = Authority(edge.dir, "stranger")
            theirs = Mounted(os.path.join(edge.dir, "theirs"), f"admin.{DOMAIN}").write(stranger, [stranger])
            ports = {"registrar": edge.registrars[0], "media": edge.media_grpc, "mesh": edge.mesh[0]}
            for what, at in ports.items():
                with self.subTest(what):
                    self.assertEqual(spoken_to(at, PLAIN), b"", "plain")
                    self.assertEqual(spoken_to(at, NO_CERTIFICATE), b"", "TLS without a certificate")
                    self.assertEqual(spoken_to(at, theirs), b"", "TLS with somebody else's")
                    # The same words of one of ours are answered: HTTP/2 begins with SETTINGS (RFC 9113 §3.4).
                    answer = spoken_to(at, edge.mounted["signaling"])
                    self.assertEqual(answer[3:4], b"\x04", f"{answer!r}")

    def test_a_pod_waits_for_its_certificates(self):
        with Guarded(users(2001, 1)) as edge:
            late = edge.mounted["media"]
            edge.processes["media"].terminate(within=10)
            os.rename(late.path("..data"), late.path("..gone"))
            edge.restart("media")
            url = edge.health["media"]
            wait_until("it says what it waits for", lambda: "waiting for certificates" in edge.processes["media"].output(), within=5)
            self.assertFalse(edge.answers_ready(url))
            os.rename(late.path("..gone"), late.path("..data"))
            wait_until("it is ready", lambda: edge.answers_ready(url), within=5)


def spoken_to(at, mounted, seconds=2.0):
    """What a port answers to the beginning of HTTP/2, plain or by TLS with what is mounted."""
    host, port = at.rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=seconds) as plain:
        stream = plain
        try:
            if mounted is not PLAIN:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
                context.set_alpn_protocols(["h2"])
                if mounted is not NO_CERTIFICATE:
                    context.load_cert_chain(mounted.path("tls.crt"), mounted.path("tls.key"))
                stream = context.wrap_socket(plain)
            stream.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00")
            end, answer = time.monotonic() + seconds, b""
            while not answer and time.monotonic() < end:
                answer = stream.recv(4096)
                if not answer:
                    break
            # An alert of TLS is no answer of a service.
            return b"" if mounted is PLAIN and answer[:1] == b"\x15" else answer
        except (ssl.SSLError, ConnectionError, TimeoutError):
            return b""
        finally:
            stream.close()


if __name__ == "__main__":
    unittest.main()
