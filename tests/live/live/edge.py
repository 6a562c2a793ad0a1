"""The edge under test, as one process or as many."""

import itertools
import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

from .process import Process, wait_until

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.abspath(os.path.join(HERE, "..", "..", ".."))
FAIRLEAD = os.environ.get("FAIRLEAD_BIN") or os.path.join(ROOT, "target", "debug", "fairlead")


# Below those that the system gives to outgoing connections: one of these could be taken before its process listens.
PORTS = itertools.cycle(range(23_000, 32_000))


def free_port(host="127.0.0.1"):
    for port in PORTS:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                s.bind((host, port))
                return port
            except OSError:
                continue


class Edge:
    """What both shapes have in common: an admin API, SIP addresses, a folder."""

    def __init__(self, sip_conf, env=None):
        self.dir = tempfile.mkdtemp(prefix="fairlead-live-")
        self.conf = os.path.join(self.dir, "sip.conf")
        with open(self.conf, "w") as f:
            f.write(sip_conf)
        self.admin_port = free_port()
        self.env = env or {}
        self.core = "127.0.0.1"
        self.health = {}
        self.processes = {}

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_):
        self.stop()

    def process(self, name, *argv, netns=None):
        """Starts `fairlead ARGV…` under a name, perhaps on another host."""
        p = Process(name, [FAIRLEAD, *argv], os.path.join(self.dir, f"{name}.log"), self.env, netns)
        self.processes[name] = p
        return p.start()

    def restart(self, name):
        return self.processes[name].start()

    def stop(self):
        late = []
        for p in reversed(list(self.processes.values())):
            try:
                p.terminate(within=10)
            except AssertionError as error:
                late.append(f"{error}\n{p.output()[-1500:]}")
        if late:
            raise AssertionError("\n".join(late))

    def panics(self):
        """Lines of any log that tell of a panic."""
        return [
            f"{name}: {line}"
            for name, p in self.processes.items()
            for line in p.output().splitlines()
            if "panicked at" in line
        ]

    @property
    def admin_url(self):
        return f"http://127.0.0.1:{self.admin_port}"

    def get(self, path, method="GET", body=None):
        """One REST query; the JSON answer."""
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(
            self.admin_url + path, data=data, method=method, headers={"content-type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            text = answer.read().decode()
        return json.loads(text) if text else None

    def contacts(self):
        """Contact URIs of all peers by name, as the API tells them, page by page."""
        contacts, cursor = {}, ""
        while True:
            page = self.get(f"/v1/peers?limit=1000{cursor}")
            contacts.update((peer["name"], [c["uri"] for c in peer["contacts"]]) for peer in page["peers"])
            if not page.get("next"):
                return contacts
            cursor = f"&cursor={page['next']}"

    def metrics(self, url=None):
        """All samples of /metrics as {name{labels}: value}."""
        with urllib.request.urlopen((url or self.admin_url) + "/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        return {k: float(v) for k, v in (line.rsplit(" ", 1) for line in lines if line and line[0] != "#")}

    def sip(self, *words):
        """`fairlead sip WORDS…`: what it prints."""
        done = subprocess.run(
            [FAIRLEAD, "sip", "--admin-url", self.admin_url, *words],
            capture_output=True, text=True, timeout=30, env={**os.environ, **self.env},
        )
        if done.returncode not in (0, 1):
            raise AssertionError(f"sip {' '.join(words)} ended with {done.returncode}: {done.stderr}")
        return done.stdout

    def wait_ready(self):
        wait_until("admin is ready", lambda: self.is_ready(), within=30)
        source = None if self.core.startswith("127") else self.core
        for address in self.sip_addresses:
            wait_until(f"{address} answers OPTIONS", lambda a=address: options(a, source=source), within=30)

    def is_ready(self):
        for name, p in self.processes.items():
            if not p.is_running():
                raise RuntimeError(f"{name} ended: {p.output()[-2000:]}")
        return all(self.answers_ready(url) for url in (self.admin_url, *self.health.values()))

    def answers_ready(self, url):
        try:
            with urllib.request.urlopen(url + "/readyz", timeout=2) as answer:
                return answer.status == 200
        except urllib.error.HTTPError:
            return False


class Standalone(Edge):
    """All roles in one process with the embedded store."""

    kind = "standalone"

    def __init__(self, sip_conf, host="127.0.1.1", rtp="20000-20399", env=None, more=()):
        super().__init__(sip_conf, env)
        self.sip_addresses = [(host, 5060)]
        self.argv = [
            "standalone", "--sip-conf", self.conf, "--state", os.path.join(self.dir, "state"),
            "--admin", f"127.0.0.1:{self.admin_port}", "--rtp-ports", rtp, "--rtp-advertise", host,
            "--listen", f"udp:{host}:5060", "--listen", f"tcp:{host}:5060", *more,
        ]

    def start(self):
        self.process("standalone", *self.argv)
        self.wait_ready()

    @property
    def ways_in(self):
        return [self.sip_addresses[0], self.sip_addresses[0]]

    @property
    def media(self):
        return self.processes["standalone"]


class Split(Edge):
    """Two signaling, two registrar, one media, one admin, and Redis."""

    kind = "split"

    def __init__(self, sip_conf, hosts=("127.0.1.1", "127.0.1.2"), rtp="20000-20399", env=None, core="127.0.0.1",
                 netns=(None, None), workers=None, registrars=2, at_first=None, more=()):
        super().__init__(sip_conf, env)
        self.hosts, self.rtp, self.core, self.netns, self.workers = list(hosts), rtp, core, netns, workers
        self.more = more
        self.at_first = registrars if at_first is None else at_first
        self.sip_addresses = [(h, 5060) for h in hosts]
        self.redis_port = free_port()
        self.registrars = [f"{core}:{free_port(core)}" for _ in range(registrars)]
        inner = [host if ns else core for host, ns in zip(hosts, netns)]
        self.mesh = [f"{host}:{free_port()}" for host in inner]
        self.media_grpc = f"{core}:{free_port(core)}"
        self.health = {f"signaling-{i}": f"http://{host}:{free_port()}" for i, host in enumerate(inner)}

    def start(self):
        self.start_redis()
        for i in range(self.at_first):
            self.start_registrar(i)
        both = self.at_registrars
        self.process(
            "media", "media", *both, "--rtp-ports", self.rtp,
            "--rtp-advertise", self.hosts[0] if self.core.startswith("127") else self.core, "--listen-grpc", self.media_grpc,
        )
        for i in range(len(self.hosts)):
            self.start_signaling(i)
        self.process("admin", "admin", *both, "--listen", f"127.0.0.1:{self.admin_port}")
        self.wait_ready()

    @property
    def at_registrars(self):
        return [word for address in self.registrars for word in ("--registrar", address)]

    def start_signaling(self, i):
        host = self.hosts[i]
        return self.process(
            f"signaling-{i}", "signaling", *self.at_registrars,
            "--listen", f"udp:{host}:5060", "--listen", f"tcp:{host}:5060",
            "--mesh", self.mesh[i], "--listen-health", self.health[f"signaling-{i}"].removeprefix("http://"),
            *(["--shards", str(self.workers)] if self.workers else []), *self.more,
            netns=self.netns[i] if i < len(self.netns) else None,
        )

    def add_signaling(self, host):
        """One more pod, ready when this returns; its number."""
        i = len(self.hosts)
        self.hosts.append(host)
        self.mesh.append(f"{self.core}:{free_port()}")
        self.health[f"signaling-{i}"] = url = f"http://{self.core}:{free_port()}"
        self.start_signaling(i)
        wait_until(f"signaling-{i} is ready", lambda: self.answers_ready(url))
        return i

    def start_registrar(self, i):
        """Starts one of the registrars whose addresses the other roles were given."""
        return self.process(
            f"registrar-{i}", "registrar", "--redis", f"redis://127.0.0.1:{self.redis_port}",
            "--sip-conf", self.conf, "--listen-grpc", self.registrars[i],
        )

    def end(self, name):
        """Ends a process in good order, for good; the seconds it took."""
        return self.processes.pop(name).terminate(within=10)

    def empty_redis(self):
        """Redis dies, and comes back at the same address with an empty disk."""
        self.redis.kill()
        shutil.rmtree(os.path.join(self.dir, "redis"))
        self.start_redis()

    def start_redis(self):
        folder = os.path.join(self.dir, "redis")
        os.makedirs(folder, exist_ok=True)
        self.redis = Process(
            "redis",
            ["redis-server", "--port", str(self.redis_port), "--bind", "127.0.0.1", "--dir", folder,
             "--appendonly", "yes", "--appendfsync", "everysec", "--save", ""],
            os.path.join(self.dir, "redis.log"),
        ).start()
        wait_until("Redis answers", lambda: self.redis_cli("PING").strip() == "PONG")

    def redis_cli(self, *words, stdin=None):
        return subprocess.run(
            ["redis-cli", "-p", str(self.redis_port), *words], capture_output=True, text=True, timeout=30, input=stdin
        ).stdout

    def stop(self):
        try:
            super().stop()
        finally:
            self.redis.kill()

    @property
    def ways_in(self):
        return self.sip_addresses

    @property
    def media(self):
        return self.processes["media"]


def options(address, timeout=1.0, source=None):
    """Sends OPTIONS over UDP, again as timer E of RFC 3261 has it: a flooded socket loses datagrams. The status of the answer."""
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as s:
        s.bind((source or ("127.0.0.1" if family == socket.AF_INET else "::1"), 0))
        host, port = s.getsockname()[:2]
        host, to = (f"[{host}]", f"[{address[0]}]") if ":" in host else (host, address[0])
        token = f"{time.monotonic_ns():x}"
        request = (
            f"OPTIONS sip:{to} SIP/2.0\r\nVia: SIP/2.0/UDP {host}:{port};branch=z9hG4bK{token}\r\n"
            f"Max-Forwards: 70\r\nFrom: <sip:ping@{host}>;tag={token}\r\nTo: <sip:{to}>\r\n"
            f"Call-ID: {token}@ping\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
        ).encode()
        until, again = time.monotonic() + timeout, 0.5
        while (left := until - time.monotonic()) > 0:
            s.sendto(request, address)
            s.settimeout(min(again, left))
            try:
                return int(s.recv(65535).split(b" ", 2)[1])
            except TimeoutError:
                again *= 2
        raise TimeoutError(f"no answer to OPTIONS within {timeout} s")


BOTH = (Standalone, Split)
