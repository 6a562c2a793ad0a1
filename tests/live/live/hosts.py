"""Several hosts on one wire: network namespaces joined by a bridge, inside the namespace of the tests."""

import contextlib
import ctypes
import subprocess
import threading

CLONE_NEWNET = 0x40000000
LIBC = ctypes.CDLL(None, use_errno=True)


def run(*argv, stdin=None):
    subprocess.run(argv, check=True, text=True, input=stdin)


class Hosts:
    """`Hosts(a="10.90.0.11", …)`: one namespace each; the tests themselves are at 10.90.0.1."""

    core = "10.90.0.1"

    def __init__(self, **addresses):
        self.addresses = addresses

    def __enter__(self):
        run("ip", "link", "add", "wire", "type", "bridge")
        run("ip", "address", "add", f"{self.core}/24", "dev", "wire")
        run("ip", "link", "set", "wire", "up")
        for name, address in self.addresses.items():
            run("ip", "netns", "add", name)
            run("ip", "link", "add", f"to-{name}", "type", "veth", "peer", "name", "eth0", "netns", name)
            run("ip", "link", "set", f"to-{name}", "master", "wire", "up")
            run("ip", "-n", name, "address", "add", f"{address}/24", "dev", "eth0")
            run("ip", "-n", name, "link", "set", "eth0", "up")
            run("ip", "-n", name, "link", "set", "lo", "up")
        return self

    def __exit__(self, *_):
        for name in self.addresses:
            # A namespace takes its end of the wire along only after a while.
            run("ip", "link", "delete", f"to-{name}")
            run("ip", "netns", "delete", name)
        run("ip", "link", "delete", "wire")

    @contextlib.contextmanager
    def inside(self, name):
        """Sockets made in here are that host's. Only the calling thread moves."""
        with open(f"/proc/self/task/{threading.get_native_id()}/ns/net") as home, open(f"/run/netns/{name}") as there:
            self.move(there)
            try:
                yield
            finally:
                self.move(home)

    def move(self, namespace):
        if LIBC.setns(namespace.fileno(), CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns")

    def hears_only(self, name, source, port):
        """As behind a NAT: this host's UDP port hears nobody but `source`."""
        run("ip", "netns", "exec", name, "nft", "-f", "-", stdin=(
            "table inet nat_like {\nchain in {\ntype filter hook input priority 0;\n"
            f"ip saddr {source} udp dport {port} accept\nudp dport {port} counter drop\n}}\n}}\n"
        ))
