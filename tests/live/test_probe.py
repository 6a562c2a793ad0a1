"""`fairlead probe`: what `helm test` runs, against a running edge."""

import json
import os
import subprocess
import tempfile
import unittest

from live.conf import users
from live.edge import BOTH, FAIRLEAD, Standalone

PHONES = users(100, 2, template="type=friend\nhost=dynamic\nqualify=no\ndisallow=all\nallow=ulaw\n")


def probe(edge, passwords=("pw100", "pw101"), *more):
    """Runs it with two passwords in files; its exit status and what it reports."""
    with tempfile.TemporaryDirectory() as folder:
        files = [os.path.join(folder, name) for name in ("caller", "callee")]
        for file, password in zip(files, passwords):
            with open(file, "w") as to:
                to.write(password + "\n")
        host, port = edge.ways_in[0]
        ended = subprocess.run(
            [FAIRLEAD, "probe", "--json", "--server", f"{host}:{port}", "--caller", "100", "--caller-password-file", files[0],
             "--callee", "101", "--callee-password-file", files[1], "--duration", "2s", "--wait", "5s", *more],
            capture_output=True, text=True, timeout=60)
        return ended.returncode, json.loads(ended.stdout)


class Probe(unittest.TestCase):
    def test_two_phones_call_and_hear_each_other_and_leave_nothing_behind(self):
        for shape in BOTH:
            for transport in ("udp", "tcp"):
                with self.subTest(shape.kind, transport=transport), shape(PHONES) as edge:
                    status, report = probe(edge, ("pw100", "pw101"), "--transport", transport)
                    self.assertEqual((status, report["failure"]), (0, None), report)
                    steps = [step["step"] for step in report["steps"]]
                    self.assertEqual(steps, ["resolve", "options", "register", "invite", "audio", "bye", "unregister"])
                    for direction in report["audio"]:
                        self.assertGreaterEqual(direction["received"], 95, direction)
                        self.assertEqual((direction["lost"], direction["elsewhere"]), (0, 0), direction)
                    self.assertIn("0 online", edge.sip("show", "peers"))
                    self.assertIn("0 active SIP dialogs", edge.sip("show", "channels"))

    def test_what_fails_is_named_and_both_are_unregistered_all_the_same(self):
        with Standalone(PHONES) as edge:
            status, report = probe(edge, ("pw100", "wrong"))
            self.assertEqual((status, report["failure"]["step"]), (1, "register"), report)
            self.assertIn("101", report["failure"]["hint"])
            self.assertEqual((report["steps"][-1]["step"], report["steps"][-1]["ok"]), ("unregister", True), report)
            self.assertEqual(report["audio"], [])
            self.assertIn("(Unspecified)", next(line for line in edge.sip("show", "peers").splitlines() if line.startswith("100 ")))


if __name__ == "__main__":
    unittest.main()
