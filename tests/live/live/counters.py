"""Packets as the kernel counts them, by nftables, in this network namespace."""

import json
import subprocess


class Counters:
    """Counts UDP packets to high ports (RTP, not SIP) by source and destination address."""

    def __init__(self, pairs, first_port=6000):
        self.pairs = pairs
        rules = "".join(
            f"ip saddr {a} ip daddr {b} udp dport >= {first_port} counter name p{i}\n" for i, (a, b) in enumerate(pairs)
        )
        counters = "".join(f"counter p{i} {{}}\n" for i in range(len(pairs)))
        subprocess.run(
            ["nft", "-f", "-"], check=True, text=True,
            input=f"table inet live {{\n{counters}chain in {{ type filter hook input priority 0;\n{rules} }}\n}}\n",
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        subprocess.run(["nft", "delete", "table", "inet", "live"], check=False)

    def read(self):
        """Packets by pair, in the order given."""
        out = subprocess.run(["nft", "-j", "list", "counters", "table", "inet", "live"], check=True, capture_output=True)
        found = {c["counter"]["name"]: c["counter"]["packets"] for c in json.loads(out.stdout)["nftables"] if "counter" in c}
        return [found[f"p{i}"] for i in range(len(self.pairs))]
