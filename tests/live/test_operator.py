"""What the operator sees and does: the same answer through text, REST and gRPC, for the whole edge."""

import json
import subprocess
import time
import unittest
import urllib.error
import urllib.request
from pathlib import Path

from live.conf import GENERAL, users
from live.edge import BOTH, FAIRLEAD, Split, Standalone
from live.phone import Phone
from live.process import wait_until


def named(edge):
    """The channels, once one pod has answered and another is named as missing."""
    try:
        answer = edge.get("/v1/channels")
    except urllib.error.HTTPError:
        return None
    return answer if answer["missing"] else None


class Operator(unittest.TestCase):
    def test_a_call_as_chan_sip_shows_it(self):
        for shape in BOTH:
            limited = users(2001, 3, template="type=friend\nhost=dynamic\nqualify=no\ncall-limit=5\n")
            with self.subTest(shape.kind), shape(limited) as edge:
                with Phone("2001", edge.ways_in[0]) as ann, Phone("2002", edge.ways_in[1], host="127.0.2.2") as bob:
                    ann.register()
                    bob.register()
                    peers = edge.sip("show", "peers")
                    print("\n" + peers)
                    self.assertEqual(
                        peers.splitlines()[0].split(),
                        "Name/username Host Dyn Forcerport Comedia ACL Port Status Description".split(),
                    )
                    self.assertRegex(peers, r"(?m)^2001/2001 +127\.0\.2\.1 +D ")
                    self.assertEqual(len(edge.sip("show", "peers", "like", "^2001").splitlines()), 3)
                    peer = edge.sip("show", "peer", "2001")
                    self.assertRegex(peer, r"(?m)^  Secret +: <Set>")
                    self.assertNotIn("pw2001", peer)
                    self.assertIn("127.0.2.1", peer)
                    self.assertRegex(edge.sip("show", "users"), r"(?m)^2003")
                    call = ann.invite("2002")
                    invite = bob.expect("INVITE")
                    bob.answer(invite, 180, "Ringing")
                    ann.expect(180)
                    self.assertRegex(edge.sip("show", "inuse"), r"2002 +")
                    bob.answer(invite, body=bob.sdp())
                    call.answered()
                    bob.expect("ACK")
                    channels = wait_until("two legs", lambda: (t := edge.sip("show", "channels")) and "2 active SIP dialogs" in t and t)
                    print(channels)
                    self.assertNotIn("REGISTER", channels)
                    self.assertIn(call.call_id, edge.sip("show", "channel", call.call_id[:12]))
                    bridged = edge.sip("show", "bridged")
                    print(bridged)
                    self.assertTrue(bridged.rstrip().endswith("1 active SIP bridges"))
                    self.assertIn("ulaw", bridged)
                    stats = edge.sip("show", "channelstats")
                    print(stats)
                    rest = edge.get("/v1/channels")
                    self.assertEqual(len(rest["channels"]), 2, rest)
                    call.bye_with(bob)
                    wait_until("gone", lambda: "0 active SIP dialogs" in edge.sip("show", "channels"), within=3)

    def test_every_metric_is_on_the_page(self):
        page = (Path(__file__).parents[2] / "crates/fairlead-runtime/METRICS.md").read_text()
        with Standalone(users(2001, 2)) as edge:
            with Phone("2001", edge.ways_in[0]) as ann, Phone("2002", edge.ways_in[0], host="127.0.2.2") as bob:
                ann.register()
                bob.register()
                call = ann.invite("2002")
                bob.answer(bob.expect("INVITE"), 486, "Busy Here")
                call.refused(486)
            edge.sip("show", "peers")
            with urllib.request.urlopen(edge.admin_url + "/metrics", timeout=10) as answer:
                lines = answer.read().decode().splitlines()
            endings = {"counter": "_total", "info": "_info"}
            kinds = [line.split()[2:] for line in lines if line.startswith("# TYPE ")]
            missing = [name for name, kind in kinds if f"`{name}{endings.get(kind, '')}`" not in page]
            self.assertEqual(missing, [])

    def test_unregister(self):
        for shape in BOTH:
            with self.subTest(shape.kind), shape(users(2001, 1)) as edge:
                with Phone("2001", edge.ways_in[0]) as ann:
                    ann.register()
                    self.assertIn("Unregistered peer '2001'", edge.sip("unregister", "2001"))
                    self.assertRegex(edge.sip("show", "peers"), r"2001 +\(Unspecified\)")

    def test_a_realtime_peer_is_written_read_and_pruned(self):
        with Split(users(2001, 1, general=GENERAL + "rtcachefriends=yes\n")) as edge:
            edge.redis_cli("HSET", "fairlead:peer:{3001}", "name", "3001", "type", "friend", "host", "dynamic", "secret", "pw3001")
            with Phone("3001", edge.ways_in[0]) as phone:
                phone.register()
                self.assertRegex(edge.sip("show", "peers"), r"3001.*127\.0\.2\.1")
                self.assertEqual(edge.redis_cli("HGET", "fairlead:peer:{3001}", "ipaddr").strip(), "127.0.2.1")
                self.assertEqual(edge.redis_cli("HGET", "fairlead:peer:{3001}", "port").strip(), str(phone.port))
                self.assertGreater(int(edge.redis_cli("HGET", "fairlead:peer:{3001}", "regseconds").strip()), time.time())
                edge.redis_cli("HSET", "fairlead:peer:{3001}", "secret", "changed")
                pruned = edge.sip("prune", "realtime", "peer", "3001")
                self.assertIn("3001", pruned)
                self.assertIn(phone.register(expect=None).status, (401, 403))
                phone.secret = "changed"
                phone.register()

    def test_qualify_tells_the_round_trip_and_the_silence(self):
        conf = users(2001, 2, template="type=friend\nhost=dynamic\nqualify=yes\nqualifyfreq=2\n")
        for shape in BOTH:
            with self.subTest(shape.kind), shape(conf) as edge:
                with Phone("2001", edge.ways_in[0]) as ann:
                    ann.register()
                    deadline = time.monotonic() + 20
                    while time.monotonic() < deadline and "OK (" not in edge.sip("show", "peers"):
                        message = ann.receive(0.5)
                        if message and message.method == "OPTIONS":
                            ann.answer(message)
                    self.assertRegex(edge.sip("show", "peers"), r"2001.*OK \(\d+ ms\)")
                    wait_until("it is unreachable", lambda: "UNREACHABLE" in edge.sip("show", "peers"), within=30, every=0.5)

    def test_a_pod_that_does_not_answer_is_named(self):
        def signaling(edge):
            return [pod for pod in edge.get("/v1/pods")["pods"] if pod["role"] == "signaling"]

        with Split(users(2001, 1)) as edge:
            wait_until("both pods are members", lambda: len(signaling(edge)) == 2)
            edge.processes["signaling-1"].child.send_signal(19)  # SIGSTOP
            try:
                # What one registrar knows of the other's pods reaches admin within two beats.
                answer = wait_until("it is named", lambda: named(edge), within=10)
                self.assertEqual([pod["role"] for pod in answer["missing"]], ["signaling"], answer)
            finally:
                edge.processes["signaling-1"].child.send_signal(18)  # SIGCONT

    def test_bad_queries_get_a_problem_that_says_what_is_wrong(self):
        with Standalone(users(2001, 1)) as edge:
            for path, status in (("/v1/peers/none", 404), ("/v1/peers?limit=x", 400), ("/v1/peers?like=%28", 400), ("/v1/none", 404)):
                with self.assertRaises(urllib.error.HTTPError) as caught:
                    edge.get(path)
                self.assertEqual(caught.exception.code, status, path)
                self.assertEqual(caught.exception.headers["content-type"], "application/problem+json", path)
                self.assertTrue(json.loads(caught.exception.read())["detail"])

    def test_a_token_guards_all_but_the_probes(self):
        with Standalone(users(2001, 1), env={"FAIRLEAD_ADMIN_TOKEN": "s3cret-token"}) as edge:
            with self.assertRaises(urllib.error.HTTPError) as caught:
                edge.get("/v1/peers")
            self.assertEqual(caught.exception.code, 401)
            for path in ("/livez", "/readyz", "/metrics"):
                with urllib.request.urlopen(edge.admin_url + path, timeout=5) as answer:
                    self.assertEqual(answer.status, 200)

    def test_a_door_that_cannot_be_guarded_stops_the_program_before_it_begins_anything(self):
        for listen, token, said in (("127.0.0.1:8080", "short", "admin-token"), ("0.0.0.0:8080", None, "admin-token-file")):
            edge = Standalone(users(2001, 1))
            state = Path(edge.dir) / "state"
            words = ["standalone", "--sip-conf", edge.conf, "--state", str(state), "--admin", listen]
            words += ["--admin-token", token] if token else []
            done = subprocess.run([FAIRLEAD, *words], capture_output=True, text=True, timeout=10)
            self.assertEqual(done.returncode, 1)
            self.assertIn(said, done.stderr)
            self.assertNotIn("listening", done.stderr)
            self.assertFalse(state.exists())

    def test_sigterm_without_calls_ends_each_role_in_time(self):
        for shape in BOTH:
            with shape(users(2001, 1)) as edge:
                for name, process in edge.processes.items():
                    self.assertLess(process.terminate(within=5), 5, name)


if __name__ == "__main__":
    unittest.main()
