"""Ten thousand datagrams and connections of garbage: nothing panics, everything is counted, service goes on."""

import random
import socket
import time
import unittest

from live.conf import users
from live.edge import Standalone, options
from live.phone import Phone

SEED = 20250601
GOOD = (
    b"INVITE sip:2001@127.0.1.1 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.4.1:5090;branch=z9hG4bKabc;rport\r\nMax-Forwards: 70\r\n"
    b"From: \"Mallory\" <sip:m@127.0.4.1>;tag=1\r\nTo: <sip:2001@127.0.1.1>\r\nCall-ID: garbage@127.0.4.1\r\nCSeq: 1 INVITE\r\n"
    b"Contact: <sip:m@127.0.4.1:5090>\r\nContent-Type: application/sdp\r\nContent-Length: 129\r\n\r\n"
    b"v=0\r\no=- 1 1 IN IP4 127.0.4.1\r\ns=-\r\nc=IN IP4 127.0.4.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\na=ptime:20\r\na=sendrecv\r\n"
)


def garbage(rng):
    """One piece: truncated, mutated, oversized or binary."""
    kind = rng.randrange(5)
    if kind == 0:
        return GOOD[: rng.randrange(1, len(GOOD))]
    if kind == 1:
        data = bytearray(GOOD)
        for _ in range(rng.randrange(1, 30)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        return bytes(data)
    if kind == 2:
        name = rng.choice([b"Via: ", b"From: ", b"X: ", b"Contact: <", b"Route: "])
        return GOOD.replace(b"Max-Forwards", name + b"a" * rng.randrange(1000, 60000) + b"\r\nMax-Forwards")
    if kind == 3:
        return rng.randbytes(rng.randrange(1, 2000))
    lines = GOOD.split(b"\r\n")
    for _ in range(rng.randrange(1, 5)):
        i, j = rng.randrange(len(lines)), rng.randrange(len(lines))
        lines[i] = rng.choice([lines[j], b"", lines[i] * 2, lines[i][::-1], b"Content-Length: -1", b"CSeq: 99999999999 INVITE"])
    return b"\r\n".join(lines)


class Garbage(unittest.TestCase):
    def dropped(self, edge):
        return {k: v for k, v in edge.metrics().items() if "malformed" in k or "dropped" in k}

    def test_ten_thousand_of_each(self):
        with Standalone(users(2001, 2)) as edge:
            server, rng = edge.ways_in[0], random.Random(SEED)
            before = sum(self.dropped(edge).values())
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
                s.bind(("127.0.4.1", 0))
                for i in range(10000):
                    s.sendto(garbage(rng)[:65000], server)
                    if i % 500 == 0:
                        self.assertEqual(options(server, timeout=10.0), 200, f"after {i} datagrams")
                        time.sleep(0.02)
            for i in range(10000):
                with socket.create_connection(server, timeout=5, source_address=("127.0.4.2", 0)) as s:
                    try:
                        s.sendall(garbage(rng))
                    except (ConnectionError, TimeoutError):
                        pass
                if i % 500 == 0:
                    self.assertEqual(options(server, timeout=10.0), 200, f"after {i} connections")
            with Phone("2001", server) as phone:
                phone.register()
            counted = self.dropped(edge)
            self.assertGreater(sum(counted.values()) - before, 5000, counted)
            self.assertGreater(len([v for v in counted.values() if v > 0]), 5, "by reason")
            self.assertEqual(edge.panics(), [])
            print("\n  counted:", {k: int(v) for k, v in sorted(counted.items()) if v > 0})


if __name__ == "__main__":
    unittest.main()
