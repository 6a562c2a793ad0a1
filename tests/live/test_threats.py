"""What attackers do to a SIP edge: floods with wrong credentials, guessed dialogs, foreign RTP, held connections, the admin port."""

import http.client
import os
import random
import re
import socket
import struct
import time
import unittest

from live.conf import users
from live.edge import Standalone, options
from live.phone import Phone
from live.process import wait_until


def resident_mb(process):
    with open(f"/proc/{process.pid}/status") as status:
        return int(re.search(r"VmRSS:\s+(\d+)", status.read())[1]) // 1024


def udp(host, port=0):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind((host, port))
    return s


def heard(s, within=0.3):
    """All that comes until it is silent for so long."""
    s.settimeout(within)
    messages = []
    try:
        while True:
            messages.append(s.recv(65535))
    except TimeoutError:
        return messages


def request(method, uri, at, call_id, from_tag="f", to=None, more="", body=""):
    token = f"{random.getrandbits(64):x}"
    return (
        f"{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {at[0]}:{at[1]};branch=z9hG4bK{token};rport\r\nMax-Forwards: 70\r\n"
        f"From: <sip:2001@{at[0]}>;tag={from_tag}\r\nTo: {to or f'<{uri}>'}\r\nCall-ID: {call_id}\r\nCSeq: 100 {method}\r\n"
        f"Contact: <sip:2001@{at[0]}:{at[1]}>\r\n{more}Content-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


def rtp(sequence, ssrc):
    return struct.pack("!BBHII", 0x80, 0, sequence & 0xFFFF, sequence * 160, ssrc) + b"\x55" * 160


def status(message):
    return int(message.split(b" ", 2)[1]) if message.startswith(b"SIP/2.0") else 0


class Threats(unittest.TestCase):
    def test_wrong_credentials_are_not_remembered_and_not_amplified(self):
        """18,000 large REGISTERs with a wrong password once held a gigabyte for 32 s."""
        with Standalone(users(2001, 2)) as edge, udp("127.0.4.1") as s:
            server, at = edge.ways_in[0], s.getsockname()
            uri = f"sip:{server[0]}"
            s.sendto(request("REGISTER", uri, at, "first"), server)
            nonce = re.search(rb'nonce="([^"]+)"', heard(s)[0])[1].decode()

            def wrong(uri):
                return (
                    f'Authorization: Digest username="2001", realm="fairlead", nonce="{nonce}", uri="{uri}", '
                    f'response="{"0" * 32}", algorithm=MD5, qop=auth, nc=00000001, cnonce="c"\r\n'
                )

            before, began = resident_mb(edge.media), time.monotonic()
            for n in range(10000):
                s.sendto(request("REGISTER", uri, at, f"w{n}", more=wrong(uri), body="x" * 50000), server)
                if n % 20 == 0:
                    time.sleep(0.01)
                if n % 1000 == 0:
                    self.assertEqual(options(server, timeout=3.0), 200)
            counted = edge.metrics()
            wrongs = counted['fairlead_registrar_auth_total{verdict="wrong"}']
            self.assertGreater(wrongs, 3000, f"in {time.monotonic() - began:.1f} s")
            # Half a gigabyte would be held for 10,000 of them.
            self.assertLess(resident_mb(edge.media) - before, 150)
            heard(s)
            callee = f"sip:2002@{server[0]}"
            invite = request("INVITE", callee, at, "amplify", more=wrong(callee))
            s.sendto(invite, server)
            out = sum(len(message) for message in heard(s, 6.0))
            self.assertLessEqual(out, 3 * len(invite))
            self.assertEqual(edge.panics(), [])

    def test_a_third_party_neither_ends_a_call_nor_is_heard_in_it(self):
        with Standalone(users(2001, 2), rtp="20000-20009") as edge:
            server = edge.ways_in[0]
            with Phone("2001", server, host="127.0.2.1") as ann, Phone("2002", server, host="127.0.2.2") as bob:
                ann.register(), bob.register()
                call = ann.invite("2002")
                invite = bob.expect("INVITE")
                bob.answer(invite, body=bob.sdp())
                ok = call.answered()
                bob.expect("ACK")
                tag = re.search(r"tag=([^;>]+)", call.to)[1]
                ours = re.search(r"tag=([^;>]+)", invite.header("From"))[1]
                letter = "b" if tag[20] != "b" else "c"
                guesses = [(call.call_id, call.tag, guess) for guess in ("x", tag[:20] + letter + tag[21:], ours)]
                guesses += [(call.call_id, "guess", tag), ("another", call.tag, tag)]
                with udp("127.0.9.9") as mallory:
                    at = mallory.getsockname()
                    for call_id, from_tag, to_tag in guesses:
                        for method in ("BYE", "INVITE", "INFO", "CANCEL"):
                            to = f"<sip:2002@{server[0]}>;tag={to_tag}"
                            uri = f"sip:2002@{server[0]}"
                            mallory.sendto(request(method, uri, at, call_id, from_tag, to), server)
                            self.assertEqual([status(m) for m in heard(mallory, 0.1)], [481], (method, to_tag))
                self.assertEqual((heard(ann.socket, 0.1), heard(bob.socket, 0.1)), ([], []))
                relay = int(re.search(r"m=audio (\d+)", ok.body)[1])
                with udp("127.0.2.1", 40000) as a, udp("127.0.2.2", 40000) as b, udp("127.0.9.9") as mallory:
                    to_bob = int(re.search(r"m=audio (\d+)", invite.body)[1])

                    def inject():
                        for port in range(20000, 20010):
                            for n in range(10):
                                mallory.sendto(rtp(n, 1), (server[0], port))
                                mallory.sendto(struct.pack("!BBHI", 0x80, 203, 1, 1), (server[0], port))

                    inject()
                    self.assertEqual((len(heard(a)), len(heard(b))), (0, 0), "before anybody spoke")
                    for n in range(50):
                        a.sendto(rtp(n, 1), (server[0], relay))
                        b.sendto(rtp(n, 2), (server[0], to_bob))
                        time.sleep(0.002)
                    self.assertEqual((len(heard(a)), len(heard(b))), (50, 50))
                    inject()
                    self.assertEqual((len(heard(a)), len(heard(b)), len(heard(mallory))), (0, 0, 0), "in the call")
                self.assertGreater(edge.metrics()['fairlead_media_packets_dropped_total{reason="elsewhere"}'], 0)
                call.bye_with(bob)
            self.assertEqual(edge.panics(), [])

    def test_connections_that_say_nothing_or_never_end_are_bounded_and_closed(self):
        with Standalone(users(2001, 2)) as edge:
            server, files = edge.ways_in[0], edge.media.open_files()
            held = []
            for n in range(1200):
                s = socket.create_connection(server, timeout=3, source_address=("127.0.6.1", 0))
                held.append(s)
            for n, s in enumerate(held):
                begun = [b"OPTIONS sip:x SIP/2.0\r\nX: ", b"OPTIONS sip:x SIP/2.0\r\nX: " + b"a" * 60000, b"\r\n\r\n"][n % 3]
                try:
                    s.sendall(begun)
                except OSError:
                    pass
            refused = 'fairlead_sip_connections_refused_total{reason="per_ip"}'
            wait_until("200 are turned away", lambda: edge.metrics().get(refused, 0) >= 200)
            self.assertLess(resident_mb(edge.media), 250)
            began = time.monotonic()
            while edge.metrics()["fairlead_sip_connections"] > 0:
                self.assertEqual(options(server, timeout=3.0), 200)
                self.assertLess(time.monotonic() - began, 45)
                time.sleep(1)
            for s in held:
                s.close()
            wait_until("no descriptor is left over", lambda: edge.media.open_files() <= files + 5)
            self.assertEqual(edge.panics(), [])

    def test_the_admin_port_lets_nobody_in_and_shows_who_tried(self):
        token = "a-good-token"
        with Standalone(users(2001, 2), env={"FAIRLEAD_ADMIN_TOKEN": token}) as edge:

            def ask(path, given=None, body=None):
                connection = http.client.HTTPConnection("127.0.0.1", edge.admin_port, timeout=10)
                try:
                    headers = {"Authorization": f"Bearer {given}"} if given else {}
                    connection.request("POST" if body else "GET", path, body, headers)
                    return connection.getresponse().status
                except (BrokenPipeError, ConnectionResetError):
                    return 413
                finally:
                    connection.close()

            for given in (None, "x", token + "x", token[:-1]):
                for path in ("/v1/peers", "/openapi.json", "/v1/../metrics", "/%2e%2e/etc/passwd"):
                    self.assertEqual(ask(path, given), 401, (path, given))
            self.assertEqual(ask("/v1/peers", token), 200)
            self.assertEqual(ask("/v1/peers", token, os.urandom(1 << 20)), 413)
            for bomb in ("(?:a{0,1000}){0,1000}", "((((a{1,100}){1,100}){1,100}){1,100})", "[" * 500):
                began = time.monotonic()
                self.assertEqual(ask("/v1/peers?like=" + "".join(f"%{b:02x}" for b in bomb.encode()), token), 400)
                self.assertLess(time.monotonic() - began, 2)
            counted = edge.metrics()
            self.assertGreaterEqual(counted['fairlead_admin_refused_total{reason="unauthorized"}'], 16)
            self.assertGreaterEqual(counted['fairlead_admin_refused_total{reason="invalid"}'], 3)
            self.assertEqual(edge.panics(), [])


if __name__ == "__main__":
    unittest.main()
