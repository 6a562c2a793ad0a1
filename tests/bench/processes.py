#!/usr/bin/env python3
"""CPU per operation of whole processes, with SIPp as the phones.

    tests/bench/processes.py                               standalone and split, REGISTER and calls
    tests/bench/processes.py --shape standalone --what register
    tests/bench/processes.py --peer kamailio,127.0.20.1,4711,10001

`--peer NAME,IP,PID,FIRST_USER` measures another SIP server in the same run, with the same scenarios: it must know
10,000 users from FIRST_USER on, with passwords `pwNUMBER`. CPU is user and system time of the whole process tree of the
server, SIPp not included; every figure is CPU seconds per 1,000 operations. Nothing here fails on time.

`--what relay` measures CPU per RTP packet: of the media role alone with `fairlead-rtpload` (build it in release too), of
standalone, whose relay is reached through SIP only, with a hundred calls of SIPp that sound both ways.
"""

import argparse
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "live"))
os.environ.setdefault(
    "FAIRLEAD_BIN", os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "target", "release", "fairlead")
)

from live.conf import GENERAL, users  # noqa: E402
from live.edge import Split, Standalone  # noqa: E402
from live.sipp import Sipp, credentials  # noqa: E402

A, B = ("127.0.2.1", 5070), ("127.0.2.2", 5080)
TICKS = os.sysconf("SC_CLK_TCK")
RTPLOAD = os.path.join(os.path.dirname(os.environ["FAIRLEAD_BIN"]), "fairlead-rtpload")


def tree(pid):
    """A process and all below it."""
    children = {}
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{entry}/stat") as stat:
                children.setdefault(int(stat.read().rsplit(")", 1)[1].split()[1]), []).append(int(entry))
        except OSError:
            continue
    found, todo = [], [pid]
    while todo:
        found.append(todo.pop())
        todo += children.get(found[-1], [])
    return found


def cpu(pids):
    """User and system seconds so far, from the scheduler's exact count where the kernel tells it."""
    total = 0.0
    for pid in pids:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/schedstat") as stat:
                total += int(stat.read().split()[0]) / 1e9
    return total


class Peer:
    """Another server that runs already."""

    def __init__(self, text):
        self.name, ip, pid, first = text.split(",")
        self.way_in, self.pids, self.first = (ip, 5060), tree(int(pid)), int(first)
        self.ways_in = [self.way_in, self.way_in]

    def cpu(self):
        return {self.name: cpu(self.pids)}


class Ours:
    """A Fairlead edge of one shape."""

    def __init__(self, shape, conf):
        self.edge, self.name, self.first = shape(conf), shape.kind, 10001

    def __enter__(self):
        self.edge.start()
        self.ways_in = self.edge.ways_in
        return self

    def __exit__(self, *_):
        self.edge.stop()

    def cpu(self):
        parts = {name: cpu([p.pid]) for name, p in self.edge.processes.items()}
        if hasattr(self.edge, "redis"):
            parts["redis"] = cpu([self.edge.redis.pid])
        return parts


def measured(server, what, count, run):
    """Runs a load and prints what each process used of it."""
    before, began = server.cpu(), time.monotonic()
    done = run()
    seconds, after = time.monotonic() - began, server.cpu()
    used = {name: after[name] - before[name] for name in after}
    total = sum(used.values())
    parts = ", ".join(f"{name} {value * 1000 / count:.3f}" for name, value in sorted(used.items())) if len(used) > 1 else ""
    failed = f", {done['failed']} FAILED" if done["failed"] else ""
    print(f"{server.name:12} {what:34} {total * 1000 / count:8.3f} s/1000   {done['ok'] / seconds:8.0f}/s{failed}   {parts}", flush=True)
    return total * 1000 / count


def contact_rows(first, count, local):
    return [(str(n), credentials(str(n)), f"{local[0]}:{local[1]}") for n in range(first, first + count)]


def register(server, count, rate, at_once):
    rows = contact_rows(server.first, 10000, A)
    return Sipp("register", server.ways_in[0], A, rows, calls=count, rate=rate, at_once=at_once, limit=300).run()


def call(server, scenario, count, rate):
    callers, callees = range(server.first, server.first + 1000), range(server.first + 1000, server.first + 2000)
    rows = [(str(a), str(b), credentials(str(a))) for a, b in zip(callers, callees)]
    phones = Sipp("uas", server.ways_in[1], B, limit=300).start()
    try:
        return Sipp(scenario, server.ways_in[0], A, rows, calls=count, rate=rate, pause=20, limit=300).run()
    finally:
        phones.stop()


def relay(server):
    """CPU per relayed packet."""
    edge = server.edge
    if isinstance(edge, Split):
        for calls in (100, 500, 1000):
            subprocess.run(
                [RTPLOAD, "load", "--relay", edge.media_grpc, "--pid", str(edge.media.pid), "--calls", str(calls)], check=True
            )
        subprocess.run([RTPLOAD, "floor", "--calls", "500"], check=True)
        return
    callers, callees = range(server.first, server.first + 100), range(server.first + 100, server.first + 200)
    for numbers, local in ((callers, A), (callees, B)):
        Sipp("register", server.ways_in[0], local, contact_rows(numbers[0], 100, local), calls=100, rate=200).run()
    rows = [(str(a), str(b), credentials(str(a))) for a, b in zip(callers, callees)]
    phones = Sipp("uas-media", server.ways_in[1], B, calls=100, limit=90).start()
    caller = Sipp("uac-media", server.ways_in[0], A, rows, calls=100, rate=50, at_once=100, pause=25000, limit=90).start()
    try:
        time.sleep(8)
        sent = "fairlead_media_packets_sent_total"
        before, packets = sum(server.cpu().values()), edge.metrics()[sent]
        time.sleep(12)
        used, packets = sum(server.cpu().values()) - before, edge.metrics()[sent] - packets
        caller.wait()
    finally:
        caller.stop()
        phones.stop()
    print(f"{server.name:12} relay, {packets / 12:.0f} packets/s: {used * 1e6 / packets:.2f} us of CPU per packet", flush=True)


def bench(server, options):
    ratios = {}
    if options.what == "relay":
        relay(server)
    if options.what in ("all", "register"):
        register(server, 2000, 500, None)
        ratios["register 500/s"] = measured(server, "REGISTER (401+200) at 500/s", 8000, lambda: register(server, 8000, 500, None))
        ratios["register max"] = measured(
            server, "REGISTER (401+200), 40 at once", options.count, lambda: register(server, options.count, 100000, 40)
        )
    if options.what in ("all", "call"):
        for first, local in ((server.first, A), (server.first + 1000, B)):
            Sipp("register", server.ways_in[0], local, contact_rows(first, 1000, local), calls=1000, rate=500).run()
        for rate, count in ((100, 1500), (300, 3000)):
            ratios[f"call {rate}/s"] = measured(
                server, f"call ({options.scenario}), media set up, {rate}/s", count, lambda: call(server, options.scenario, count, rate)
            )
    return ratios


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=("standalone", "split", "both", "none"), default="both")
    parser.add_argument("--what", choices=("register", "call", "relay", "all"), default="all")
    parser.add_argument("--count", type=int, default=40000, help="REGISTERs of the closed loop (default 40000)")
    parser.add_argument("--scenario", default="uac", help="call scenario of tests/live/scenarios: uac with digest (default), uac-open without")
    parser.add_argument("--peer", action="append", default=[], metavar="NAME,IP,PID,FIRST_USER")
    options = parser.parse_args()
    found = {}
    for text in options.peer:
        peer = Peer(text)
        found[peer.name] = bench(peer, options)
    more = "insecure=invite,port\n" if options.scenario == "uac-open" else ""
    conf = users(10001, 10000, GENERAL, template="type=friend\nhost=dynamic\nqualify=no\n" + more)
    for shape in {"standalone": [Standalone], "split": [Split], "both": [Standalone, Split], "none": []}[options.shape]:
        with Ours(shape, conf) as server:
            found[server.name] = bench(server, options)
    peers = [Peer(p).name for p in options.peer]
    for name in set(found) - set(peers):
        for peer in peers:
            for what, value in found[name].items():
                if found[peer].get(what):
                    print(f"{name} uses {value / found[peer][what]:.2f} of what {peer} uses: {what}")


if __name__ == "__main__":
    main()
