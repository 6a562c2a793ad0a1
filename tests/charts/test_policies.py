"""Who reaches whom when NetworkPolicies are enforced: every role, every role, every port, decided as a network plugin does.

What is expected is written here by hand, not read from the chart's table, so that a line added there by mistake fails.
"""

import ipaddress
import itertools
import unittest

import chart

OUTSIDE = "203.0.113.7"
PORTS = {
    "sip-udp": ("UDP", 5060),
    "sip-tcp": ("TCP", 5060),
    "rtp-first": ("UDP", 30000),
    "rtp-last": ("UDP", 30079),
    "beyond-rtp": ("UDP", 30080),
    "registrar": ("TCP", 7001),
    "mesh": ("TCP", 7002),
    "media": ("TCP", 7003),
    "admin": ("TCP", 8080),
    "health": ("TCP", 8081),
    "redis": ("TCP", 6379),
    "ssh": ("TCP", 22),
}
# Calls between roles.
GRPC = {
    ("signaling", "registrar", "registrar"),
    ("media", "registrar", "registrar"),
    ("admin", "registrar", "registrar"),
    ("operator", "registrar", "registrar"),
    ("signaling", "signaling", "mesh"),
    ("admin", "signaling", "mesh"),
    ("signaling", "media", "media"),
    ("admin", "media", "media"),
    ("registrar", "redis", "redis"),
}
# Those that speak to phones anywhere, hence to what stands open to anywhere.
ROAMING = ("signaling", "media", "test")
OPEN = {("signaling", "sip-udp"), ("signaling", "sip-tcp"), ("media", "rtp-first"), ("media", "rtp-last")}
MEASURED = ("signaling", "media", "registrar", "admin", "operator")


def expected(source, target, port):
    if (source, target, port) in GRPC:
        return True
    if (target, port) in OPEN:
        return source in ROAMING or source == "world"
    # The metrics stand open to whoever may send there at all, unless metricsFrom says otherwise.
    if port == "health" and target in MEASURED:
        return source in ROAMING or source == "world"
    return False


class Cluster:
    """Pods of a release under their policies."""

    def __init__(self, *sets):
        self.policies = list(chart.of("NetworkPolicy", *sets).values())
        self.pods = {role: pod["metadata"]["labels"] for role, pod in chart.workloads(*sets).items()}

    def rules(self, labels, side):
        """The rules for this pod on that side; None: nothing is forbidden."""
        found = None
        for policy in self.policies:
            spec = policy["spec"]
            if side.capitalize() in spec["policyTypes"] and spec["podSelector"]["matchLabels"].items() <= labels.items():
                found = (found or []) + (spec.get(side) or [])
        return found

    @staticmethod
    def matches(rule, peers, other, protocol, port):
        def is_port(wanted):
            last = wanted.get("endPort", wanted["port"])
            return wanted.get("protocol", "TCP") == protocol and wanted["port"] <= port <= last

        def is_peer(peer):
            if "ipBlock" in peer:
                address = OUTSIDE if other is None else "10.42.0.9"
                inside = ipaddress.ip_address(address) in ipaddress.ip_network(peer["ipBlock"]["cidr"])
                return inside and not any(
                    ipaddress.ip_address(address) in ipaddress.ip_network(out) for out in peer["ipBlock"].get("except", [])
                )
            if "namespaceSelector" in peer:
                return other == "monitoring"
            return isinstance(other, dict) and peer["podSelector"]["matchLabels"].items() <= other.items()

        ports, who = rule.get("ports"), rule.get(peers)
        return (not ports or any(map(is_port, ports))) and (not who or any(map(is_peer, who)))

    def reaches(self, source, target, port):
        protocol, number = PORTS[port]
        one, other = self.pods.get(source), self.pods.get(target)
        if one is not None:
            rules = self.rules(one, "egress")
            if rules is not None and not any(self.matches(rule, "to", other, protocol, number) for rule in rules):
                return False
        if other is not None:
            rules = self.rules(other, "ingress")
            if rules is not None and not any(self.matches(rule, "from", one, protocol, number) for rule in rules):
                return False
        return True


class Policies(unittest.TestCase):
    def test_every_role_reaches_what_it_needs_and_nothing_else(self):
        cluster = Cluster(*chart.SMALL)
        count = 0
        for source, target, port in itertools.product(("world",) + chart.ROLES, chart.ROLES, PORTS):
            with self.subTest(source=source, target=target, port=port):
                self.assertEqual(cluster.reaches(source, target, port), expected(source, target, port))
            count += 1
        self.assertEqual(count, 8 * 7 * 12)

    def test_it_is_the_same_however_the_world_reaches_it(self):
        ways = [(f"media.exposure={exposure}",) for exposure in ("nodePort", "loadBalancer", "hostPort", "podIP")]
        ways += [("signaling.service.split=true",), ("signaling.service.type=NodePort",), ("redis.persistence.enabled=true", "signaling.advertise={192.0.2.1}", "media.advertise={192.0.2.1}")]
        for way in ways:
            cluster = Cluster(*chart.SMALL, *way)
            for source, target, port in itertools.product(("world",) + chart.ROLES, chart.ROLES, PORTS):
                with self.subTest(way, source=source, target=target, port=port):
                    self.assertEqual(cluster.reaches(source, target, port), expected(source, target, port))

    def test_relays_in_the_network_of_their_nodes_are_reached_by_no_selector(self):
        cluster = Cluster(*chart.SMALL, "media.exposure=hostNetwork")
        # Its packets have the address of a node, and policies for it are not looked at: for the others it is somebody outside.
        del cluster.pods["media"]
        needed = {(source, target, port) for source, target, port in GRPC if "media" in (source, target)}
        self.assertEqual(len(needed), 3)
        for source, target, port in needed:
            self.assertTrue(cluster.reaches(source, target, port), (source, target, port))
        for source, target, port in itertools.product(cluster.pods, cluster.pods, PORTS):
            with self.subTest(source=source, target=target, port=port):
                # Who speaks to anywhere reaches what stands open to relays anywhere.
                open_to_relays = (target, port) == ("registrar", "registrar") and source in ROAMING
                self.assertEqual(cluster.reaches(source, target, port), open_to_relays or expected(source, target, port))

    def test_ports_that_the_url_of_redis_names_are_open(self):
        for sets, open_ones, shut in (
            (("redis.url=redis+cluster://a:7000\\,b:7001",), (7000, 7001, 6379), (7002,)),
            (("redis.url=redis://redis.example/2",), (6379, 26379), (7000,)),
            (("redis.url=rediss://m.example:11000", "networkPolicy.redisPorts={12000-12999}"), (11000, 12000, 12999), (6379, 13000)),
        ):
            cluster = Cluster(*sets)
            self.addCleanup(PORTS.pop, "other", None)
            for number in open_ones + shut:
                PORTS["other"] = ("TCP", number)
                self.assertEqual(cluster.reaches("registrar", "world", "other"), number in open_ones, (sets, number))

    def test_names_are_asked_for_where_the_pods_of_dns_listen(self):
        self.addCleanup(PORTS.pop, "dns", None)
        for sets, number, is_open in (((), 53, True), ((), 5353, False), (("networkPolicy.dnsPorts={53,5353}",), 5353, True)):
            PORTS["dns"] = ("UDP", number)
            self.assertEqual(Cluster(*chart.SMALL, *sets).reaches("registrar", "world", "dns"), is_open, (sets, number))

    def test_a_policy_names_no_port_that_nobody_listens_on(self):
        listening = {}
        for role, pod in chart.workloads(*chart.SMALL, "media.exposure=hostPort").items():
            listening[role] = {(port["protocol"], port["containerPort"]) for container in pod["spec"]["containers"] for port in container.get("ports", [])}
        for name, policy in chart.of("NetworkPolicy", *chart.SMALL, "media.exposure=hostPort").items():
            role = policy["metadata"]["labels"]["app.kubernetes.io/component"]
            for rule in policy["spec"].get("ingress") or []:
                for port in rule["ports"]:
                    for number in range(port["port"], port.get("endPort", port["port"]) + 1):
                        # Signaling names each number once (Helm 3 merges by number), whatever the protocol.
                        protocols = ("UDP", "TCP") if role == "signaling" else (port["protocol"],)
                        self.assertTrue({(protocol, number) for protocol in protocols} & listening[role], (name, port))

    def test_every_pod_is_under_a_policy_on_both_sides(self):
        cluster = Cluster(*chart.SMALL)
        for role, labels in cluster.pods.items():
            self.assertIsNotNone(cluster.rules(labels, "ingress"), role)
            self.assertIsNotNone(cluster.rules(labels, "egress"), role)

    def test_who_may_leave_the_cluster(self):
        cluster = Cluster(*chart.SMALL)
        roaming = [role for role in chart.ROLES if cluster.reaches(role, "world", "ssh")]
        self.assertEqual(sorted(roaming), sorted(ROAMING))

    def test_only_admin_and_operator_reach_the_api_server(self):
        PORTS["api"] = ("TCP", 6443)
        self.addCleanup(PORTS.pop, "api")
        cluster = Cluster(*chart.SMALL)
        callers = [role for role in chart.ROLES if role not in ROAMING and cluster.reaches(role, "world", "api")]
        self.assertEqual(sorted(callers), ["admin", "operator"])

    def test_every_role_of_ours_finds_names_and_redis_does_not_need_to(self):
        PORTS["dns"] = ("UDP", 53)
        self.addCleanup(PORTS.pop, "dns")
        cluster = Cluster(*chart.SMALL)
        self.assertEqual([role for role in chart.ROLES if not cluster.reaches(role, "world", "dns")], ["redis"])

    def test_metrics_and_admin_are_open_to_those_named(self):
        named = (
            *chart.SMALL,
            "networkPolicy.metricsFrom[0].namespaceSelector.matchLabels.team=watch",
            "networkPolicy.adminFrom[0].namespaceSelector.matchLabels.team=desk",
        )
        cluster = Cluster(*named)
        self.assertFalse(cluster.reaches("world", "registrar", "health"))
        self.assertFalse(cluster.reaches("signaling", "registrar", "health"))
        self.assertFalse(cluster.reaches("world", "admin", "admin"))
        policy = chart.of("NetworkPolicy", *named)["edge-fairlead-admin"]["spec"]["ingress"]
        self.assertIn([{"namespaceSelector": {"matchLabels": {"team": "desk"}}}], [rule["from"] for rule in policy])

    def test_redis_of_ones_own_is_reached_by_registrars_alone(self):
        cluster = Cluster("redis.url=rediss://redis.example:6380")
        PORTS["tls-redis"] = ("TCP", 6380)
        self.addCleanup(PORTS.pop, "tls-redis")
        callers = [role for role in cluster.pods if role not in ROAMING and cluster.reaches(role, "world", "tls-redis")]
        self.assertEqual(callers, ["registrar"])

    def test_listeners_and_slices_are_what_is_open(self):
        sets = (*chart.SMALL, "signaling.listeners.more.protocol=TCP", "signaling.listeners.more.port=5062", "media.ports.base=31000", "media.ports.count=10")
        ingress = chart.of("NetworkPolicy", *sets)["edge-fairlead-signaling"]["spec"]["ingress"]
        self.assertIn({"protocol": "TCP", "port": 5062}, ingress[0]["ports"])
        ingress = chart.of("NetworkPolicy", *sets)["edge-fairlead-media"]["spec"]["ingress"]
        self.assertIn({"protocol": "UDP", "port": 31000, "endPort": 31039}, ingress[0]["ports"])

    def test_there_are_none_when_they_are_not_wanted(self):
        self.assertEqual(chart.of("NetworkPolicy", *chart.SMALL, "networkPolicy.enabled=false"), {})


if __name__ == "__main__":
    unittest.main()
