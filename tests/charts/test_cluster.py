"""The chart in front of a real API server: server-side dry runs, Pod Security, upgrades of ports by Helm 3 and Helm 4."""

import json
import os
import pathlib
import re
import socket
import subprocess
import time
import types
import unittest

import yaml

import chart
import test_agreement

NAMESPACE = "fairlead-chart-test"
SECURITY = "pod-security.kubernetes.io"


def kubectl(*words, stdin=None, check=True):
    done = subprocess.run(["kubectl", *words], input=stdin, capture_output=True, text=True)
    if check and done.returncode:
        raise AssertionError(f"kubectl {' '.join(words)}: {done.stderr.strip()}")
    return done


def level(enforce):
    kubectl("label", "namespace", NAMESPACE, "--overwrite", f"{SECURITY}/enforce={enforce}", f"{SECURITY}/warn={enforce}")


def dry_run(rendered):
    """Applies without applying; the API server's warnings."""
    # What a pod runs as has to be there for the API server to take the pod.
    accounts = [one for one in yaml.safe_load_all(rendered) if one and one["kind"] == "ServiceAccount"]
    kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(accounts))
    done = kubectl("apply", "--dry-run=server", "-n", NAMESPACE, "-f", "-", stdin=rendered)
    return [line for line in done.stderr.splitlines() if line.startswith("Warning:")]


def free_band(wanted):
    """The first of so many node ports that nobody has, as a value: other releases may run in the cluster."""
    services = json.loads(kubectl("get", "services", "-A", "-o", "json").stdout)["items"]
    taken = {port.get("nodePort") for service in services for port in service["spec"].get("ports", [])}
    taken |= {service["spec"].get("healthCheckNodePort") for service in services}
    # From the end: what Kubernetes hands out by itself is anywhere, and a Service of this very release may be first.
    for first in range(32768 - wanted, 30000, -2):
        if not taken & set(range(first, first + wanted)):
            return f"media.ports.base={first}"
    raise AssertionError("no node ports are free")


def install(namespace, sets, *words, own_band=False):
    """Installs the release `edge`, its relays on node ports that nobody has unless the values name some; what helm warned of."""
    helm = [os.environ["HELM"], "-n", namespace]
    for attempt in range(4):
        chosen = (*sets, *(() if own_band else (free_band(80),)))
        line = [*helm, "install", "edge", str(chart.CHART), "--wait", *words, *(word for one in chosen for word in ("--set", one))]
        done = subprocess.run(line, capture_output=True, text=True)
        # Kubernetes has given one away in between, to a Service that named none: it draws at random.
        if done.returncode and "provided port is already allocated" in done.stderr and not own_band and attempt < 3:
            subprocess.run([*helm, "uninstall", "edge", "--wait", "--ignore-not-found"], check=True, capture_output=True)
            continue
        if done.returncode:
            raise AssertionError(f"{' '.join(line)}: {done.stdout}{done.stderr}")
        return done.stderr


class Cluster(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        kubectl("create", "namespace", NAMESPACE)
        cls.addClassCleanup(kubectl, "delete", "namespace", NAMESPACE, "--wait=false", check=False)
        known = kubectl("get", "crd", "-o", "name").stdout
        files = [*pathlib.Path(os.environ["FAIRLEAD_KINDS"]).glob("*.yaml"), *(chart.KINDS / "files").glob("*.yaml")]
        for file in files:
            name = re.search(r"^  name: (\S+)", file.read_text(), re.MULTILINE)[1]
            if name not in known:
                kubectl("create", "-f", str(file))
                cls.addClassCleanup(kubectl, "delete", "-f", str(file), "--wait=false", check=False)
        kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")

    # ------------------------------------------------------------------ the schema

    def test_types_of_kubernetes_are_as_this_api_server_has_them(self):
        generate = types.ModuleType("generate")
        generate.__file__ = str(chart.ROOT / "charts/generate")
        exec(compile(pathlib.Path(generate.__file__).read_text(), generate.__file__, "exec"), generate.__dict__)
        ours = json.loads(generate.TYPES.read_text())
        version = json.loads(kubectl("get", "--raw", "/version").stdout)
        if f"{version['major']}.{version['minor']}" != ours["version"]:
            self.skipTest(f"kubernetes-types.json is of {ours['version']}")
        self.assertEqual(generate.kept(json.loads(kubectl("get", "--raw", "/openapi/v2").stdout)), ours["types"])

    # ------------------------------------------------------------------ dry runs

    def test_every_example_is_taken_in_a_restricted_namespace_without_a_warning(self):
        level("restricted")
        band = free_band(80)
        cases = {}
        for file in chart.examples():
            own = () if "base:" in file.read_text() else (band,)
            cases[file.name] = chart.text(*own, namespace=NAMESPACE, files=(file,))
        cases["defaults"] = chart.text(band, namespace=NAMESPACE)
        cases["first visit"] = chart.text(*chart.SMALL, band, "redis.image=localhost/redis:7", namespace=NAMESPACE)
        for mode in ("cert-manager", "existing", "off"):
            cases[f"tls {mode}"] = chart.text(*chart.SMALL, band, f"tls.internal.mode={mode}", namespace=NAMESPACE)
        taken = 0
        for name, rendered in cases.items():
            if "hostPort" in rendered or "hostNetwork" in rendered:
                continue
            with self.subTest(name):
                self.assertEqual(dry_run(rendered), [])
                taken += 1
        self.assertGreater(taken, 8)

    def test_host_ports_and_host_network_break_these_two_rules_and_no_other(self):
        for exposure, rules in {"hostPort": {"hostPort"}, "hostNetwork": {"host namespaces"}}.items():
            rendered = chart.text(*chart.SMALL, f"media.exposure={exposure}", namespace=NAMESPACE)
            level("privileged")
            self.assertEqual(dry_run(rendered), [])
            level("restricted")
            [warning] = dry_run(rendered)
            said = warning.split('"restricted:latest": ')[1]
            # RULE (details), RULE (details)
            self.assertEqual({rule.strip() for rule in re.findall(r"([a-zA-Z ]+) \([^)]*\)", said)}, rules)

    def test_kinds_of_others_are_taken(self):
        level("restricted")
        rendered = chart.text(free_band(80), namespace=NAMESPACE, files=(chart.ROOT / "deploy/examples/values-monitored.yaml",))
        kinds = {one["kind"] for one in yaml.safe_load_all(rendered) if one}
        self.assertLessEqual({"PodMonitor", "PrometheusRule", "ScaledObject", "HorizontalPodAutoscaler", "Certificate", "Issuer"}, kinds)
        self.assertEqual(dry_run(rendered), [])

    def test_an_upgrade_leaves_the_number_of_pods_to_what_scales(self):
        release = Release(os.environ["HELM"], "scaled")
        self.addCleanup(release.uninstall)
        sets = ("signaling.autoscaling.enabled=true", "registrar.replicas=0", "media.replicas=0", "admin.replicas=0", "operator.replicas=0")
        release.upgrade(*sets)
        kubectl("-n", NAMESPACE, "scale", "deployment", "scaled-fairlead-signaling", "--replicas=3")
        release.upgrade(*sets, "commonLabels.round=two")
        number = kubectl("-n", NAMESPACE, "get", "deployment", "scaled-fairlead-signaling", "-o", "jsonpath={.spec.replicas}").stdout
        self.assertEqual(number, "3")

    # ------------------------------------------------------------------ ports of the SIP Service

    def test_helm_4_holds_ports_through_upgrades(self):
        self.upgrades(Release(os.environ["HELM"], "four", operator=0), patience=0)

    def test_helm_4_holds_ports_of_split_services_through_upgrades(self):
        self.upgrades(Release(os.environ["HELM"], "four-split", operator=0), "signaling.service.split=true", patience=0)

    def test_helm_3_holds_ports_of_split_services_through_upgrades(self):
        self.upgrades(Release(os.environ["HELM3"], "three-split", operator=0), "signaling.service.split=true", patience=0)

    @unittest.skipUnless(os.environ.get("FAIRLEAD_IMAGE"), "FAIRLEAD_IMAGE names no image that the cluster has")
    def test_helm_3_holds_ports_through_upgrades_with_the_operator_role(self):
        # Taking one of two protocols away is beyond Helm 3: it asks for a Service without ports. The README says so.
        self.upgrades(Release(os.environ["HELM3"], "three", operator=1), patience=20, shrink=False)

    def upgrades(self, release, *sets, patience, shrink=True):
        self.addCleanup(release.uninstall)
        more = ("signaling.listeners.more.protocol=TCP", "signaling.listeners.more.port=5061")
        steps = [
            (("signaling.listeners.tcp.enabled=false",), {"5060/UDP"}),
            ((), {"5060/UDP", "5060/TCP"}),
            (more, {"5060/UDP", "5060/TCP", "5061/TCP"}),
            ((), {"5060/UDP", "5060/TCP"}),
        ]
        if shrink:
            steps.append(steps[0])
        for step, wanted in steps:
            release.upgrade(*sets, *step)
            until = time.time() + patience
            while (ports := release.sip_ports()) != wanted and time.time() < until:
                time.sleep(0.5)
            self.assertEqual(ports, wanted, step)


@unittest.skipUnless(os.environ.get("FAIRLEAD_IMAGE"), "FAIRLEAD_IMAGE names no image that the cluster has")
class Running(unittest.TestCase):
    """A release that runs, in a restricted namespace."""

    NAMESPACE = "fairlead-chart-run"

    @classmethod
    def setUpClass(cls):
        kubectl("create", "namespace", cls.NAMESPACE)
        cls.addClassCleanup(kubectl, "delete", "namespace", cls.NAMESPACE, "--wait=false", check=False)
        kubectl("label", "namespace", cls.NAMESPACE, f"{SECURITY}/enforce=restricted")
        if "sippeers.fairlead.dev" not in kubectl("get", "crd", "-o", "name").stdout:
            kubectl("create", "-f", str(chart.KINDS / "files"))
        repository, _, tag = os.environ["FAIRLEAD_IMAGE"].rpartition(":")
        redis = os.environ.get("FAIRLEAD_REDIS", "localhost/redis:7")
        sets = (f"image.repository={repository}", f"image.tag={tag}", "redis.enabled=true", f"redis.image={redis}")
        # A namespace whose pods have an hour to end is looked at again after half of that only.
        cls.addClassCleanup(cls.helm, "uninstall", "edge", "--wait", "--ignore-not-found", check=False)
        install(cls.NAMESPACE, sets, "--timeout", "180s")

    @classmethod
    def helm(cls, *words, check=True):
        done = subprocess.run([os.environ["HELM"], *words, "-n", cls.NAMESPACE], capture_output=True, text=True)
        if check and done.returncode:
            raise AssertionError(f"helm {' '.join(words)}: {done.stdout}{done.stderr}")
        return done.stdout + done.stderr

    def get(self, *words):
        return json.loads(kubectl("-n", self.NAMESPACE, "get", *words, "-o", "json").stdout)["items"]

    def test_1_two_phones_call_each_other_and_nothing_of_them_stays(self):
        said = self.helm("test", "edge", "--timeout", "180s")
        self.assertIn("lost 0", said)
        self.assertEqual(self.of_the_test(), [])

    def test_2_every_metric_that_is_used_is_there_once_a_call_was_made(self):
        pages = []
        for pod in self.get("pods", "-l", "app.kubernetes.io/component notin (redis, test)"):
            pod = pod["metadata"]["name"]
            pages.append(kubectl("get", "--raw", f"/api/v1/namespaces/{self.NAMESPACE}/pods/{pod}:8081/proxy/metrics").stdout)
        self.assertEqual(test_agreement.missing(pages), {})

    def test_3_a_call_that_fails_leaves_nothing_either(self):
        self.upgrade("test.target=edge-fairlead-sip:5999", "test.timeoutSeconds=10")
        self.assertIn("failed", self.helm("test", "edge", "--timeout", "120s", check=False))
        self.assertEqual(self.of_the_test(), [])

    def of_the_test(self):
        left = self.get("secrets,sippeers,pods", "-l", "app.kubernetes.io/component=test")
        return [one["metadata"]["name"] for one in left if "deletionTimestamp" not in one["metadata"]]

    def upgrade(self, *sets):
        words = [word for one in sets for word in ("--set", one)]
        self.helm("upgrade", "edge", str(chart.CHART), "--reuse-values", *words)

    def test_4_an_upgrade_without_a_change_restarts_nothing(self):
        def pods():
            return {pod["metadata"]["uid"] for pod in self.get("pods")}

        before = pods()
        self.upgrade()
        time.sleep(3)
        self.assertEqual(pods(), before)

    def test_5_uninstalling_leaves_nothing(self):
        self.helm("uninstall", "edge", "--wait", "--timeout", "120s")
        until = time.time() + 60
        kinds = "deployments,statefulsets,pods,services,secrets,configmaps,serviceaccounts,roles,rolebindings,leases,networkpolicies,poddisruptionbudgets,persistentvolumeclaims,sippeers"
        while (left := self.left(kinds)) and time.time() < until:
            time.sleep(1)
        self.assertEqual(left, [])
        cluster = kubectl("get", "clusterroles,clusterrolebindings", "-o", "name").stdout
        self.assertNotIn(self.NAMESPACE, cluster)

    def left(self, kinds):
        # What every namespace has.
        names = [f"{one['kind']}/{one['metadata']['name']}" for one in self.get(kinds)]
        return [name for name in names if name not in ("ConfigMap/kube-root-ca.crt", "ServiceAccount/default")]


REDIS = """
apiVersion: v1
kind: Service
metadata: {name: redis}
spec: {selector: {app: redis}, ports: [{port: 6379}]}
---
apiVersion: v1
kind: Secret
metadata: {name: redis}
stringData: {password: word}
---
apiVersion: v1
kind: Pod
metadata: {name: redis, labels: {app: redis}}
spec:
  securityContext: {runAsNonRoot: true, runAsUser: 65532, seccompProfile: {type: RuntimeDefault}}
  containers:
    - name: redis
      image: IMAGE
      args: [--save, "", --maxmemory-policy, noeviction, --requirepass, word]
      securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
"""


@unittest.skipUnless(os.environ.get("FAIRLEAD_IMAGE"), "FAIRLEAD_IMAGE names no image that the cluster has")
class Examples(unittest.TestCase):
    """Examples of values as releases that run, but for what hangs on a cloud or on the house: what is set anew is here."""

    OURS = "redis.url=redis://redis:6379"
    INSTALLED = {
        # With Redis behind Sentinel: tests/e2e installs such a one.
        "values-bare-metal.yaml": ("restricted", OURS),
        "values-managed-cloud.yaml": ("restricted", OURS),
        "values-no-balancer.yaml": ("restricted",),
        "values-host-network.yaml": ("privileged",),
        # No volumes and no labelled node in the cluster of these tests.
        "values-one-address.yaml": ("privileged", "signaling.nodeSelector=null", "media.nodeSelector=null", "redis.persistence.enabled=false"),
    }
    ELSEWHERE = {
        "values-redis-sentinel.yaml": "tests/e2e redis_behind_sentinel_fails_over",
        "values-redis-cluster.yaml": "tests/e2e redis_as_a_cluster",
        "values-redis-tls.yaml": "tests/e2e redis_with_tls_and_a_user",
        "values-monitored.yaml": "test_kinds_of_others_are_taken",
    }

    def test_every_example_is_tried_somewhere(self):
        self.assertEqual({file.name for file in chart.examples()}, {*self.INSTALLED, *self.ELSEWHERE})

    def test_bare_metal(self):
        self.runs("values-bare-metal.yaml")

    def test_managed_cloud(self):
        self.runs("values-managed-cloud.yaml")

    def test_no_balancer(self):
        self.runs("values-no-balancer.yaml")

    def test_host_network(self):
        self.runs("values-host-network.yaml")

    def test_one_address(self):
        self.runs("values-one-address.yaml")

    def runs(self, name):
        enforce, *sets = self.INSTALLED[name]
        namespace = f"fairlead-chart-{name.removeprefix('values-').removesuffix('.yaml')}"
        kubectl("create", "namespace", namespace)
        self.addCleanup(kubectl, "delete", "namespace", namespace, check=False)
        kubectl("label", "namespace", namespace, f"{SECURITY}/enforce={enforce}")
        redis = os.environ.get("FAIRLEAD_REDIS", "localhost/redis:7")
        file = chart.ROOT / "deploy/examples" / name
        values = yaml.safe_load(file.read_text())
        if not values["redis"].get("enabled"):
            kubectl("-n", namespace, "apply", "-f", "-", stdin=REDIS.replace("IMAGE", redis))
        repository, _, tag = os.environ["FAIRLEAD_IMAGE"].rpartition(":")
        sets += [f"image.repository={repository}", f"image.tag={tag}", f"redis.image={redis}"]
        self.addCleanup(subprocess.run, [os.environ["HELM"], "uninstall", "edge", "-n", namespace, "--wait"], capture_output=True)
        own_band = "base" in values.get("media", {}).get("ports", {})
        said = install(namespace, sets, "-f", str(file), "--timeout", "120s", own_band=own_band)
        self.assertNotIn("Warning", said)
        pods = json.loads(kubectl("-n", namespace, "get", "pods", "-o", "json").stdout)["items"]
        roles = {pod["metadata"]["labels"].get("app.kubernetes.io/component") for pod in pods}
        self.assertLessEqual({"signaling", "media", "registrar", "admin", "operator"}, roles)
        # Ready is one thing; where the world reaches it is known a moment later.
        for role in ("signaling", "media"):
            for pod in [pod["metadata"]["name"] for pod in pods if pod["metadata"]["labels"].get("app.kubernetes.io/component") == role]:
                until = time.time() + 20
                while not (known := re.search(rf"^fairlead_{role}_address_known 1$", self.metrics(namespace, pod), re.MULTILINE)) and time.time() < until:
                    time.sleep(0.5)
                self.assertTrue(known, f"{pod} knows no address")

    def metrics(self, namespace, pod):
        return kubectl("get", "--raw", f"/api/v1/namespaces/{namespace}/pods/{pod}:8081/proxy/metrics").stdout


@unittest.skipUnless(os.environ.get("FAIRLEAD_REDIS_IMAGES"), "FAIRLEAD_REDIS_IMAGES names no images of Redis that the cluster has")
class SmallRedis(unittest.TestCase):
    """The pod of redis.enabled, in a restricted namespace: every kind of image as every kind of user."""

    NAMESPACE = "fairlead-chart-redis"
    # That of our image, that of the official ones, one as OpenShift gives them (with the image's own group).
    USERS = (65532, 999, 1000680000)

    def test_every_kind_of_image_starts_as_any_user_but_root(self):
        kubectl("create", "namespace", self.NAMESPACE)
        self.addCleanup(kubectl, "delete", "namespace", self.NAMESPACE, "--wait=false", check=False)
        kubectl("label", "namespace", self.NAMESPACE, f"{SECURITY}/enforce=restricted")
        names = {}
        for number, image in enumerate(os.environ["FAIRLEAD_REDIS_IMAGES"].split()):
            for user in self.USERS:
                release = f"r{number}-{user}"
                names[f"{release}-fairlead-redis"] = (image, user)
                group = ("podSecurityContext.runAsGroup=null", f"podSecurityContext.fsGroup={user}") if user > 2**20 else ()
                sets = ("redis.enabled=true", f"redis.image={image}", f"redis.runAsUser={user}", *group, "serviceAccounts.create=false", "serviceAccounts.names.pod=default")
                rendered = chart.objects(*sets, release=release, namespace=self.NAMESPACE)
                redis = [one for one in rendered if one["metadata"]["name"] == f"{release}-fairlead-redis" and one["kind"] in ("Deployment", "Service")]
                self.assertEqual(len(redis), 2)
                kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(redis))
                kubectl("-n", self.NAMESPACE, "create", "secret", "generic", f"{release}-fairlead-redis", "--from-literal=password=word")
        kubectl("-n", self.NAMESPACE, "wait", "--for=condition=Available", "deployments", "--all", "--timeout=90s")
        for name, (image, user) in names.items():
            with self.subTest(image=image, user=user):
                said = self.ask(name, "PING", "AUTH word", "CONFIG GET maxmemory-policy", "CONFIG GET appendonly", "SET a b", "DBSIZE")
                self.assertRegex(said, "(?s)NOAUTH.*OK.*maxmemory-policy.*noeviction.*appendonly.*yes.*OK.*:1")

    def ask(self, name, *questions):
        """What the Redis behind a Service answers to these lines."""
        forward = subprocess.Popen(["kubectl", "-n", self.NAMESPACE, "port-forward", f"service/{name}", ":6379"], stdout=subprocess.PIPE, text=True)
        try:
            port = int(re.search(r":(\d+) ->", forward.stdout.readline())[1])
            with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
                connection.sendall("".join(f"{question}\r\n" for question in (*questions, "QUIT")).encode())
                said = b""
                while more := connection.recv(4096):
                    said += more
            return said.decode()
        finally:
            forward.terminate()
            forward.wait()
            forward.stdout.close()


class Release:
    """A release whose pods are not started, but the operator role when it is asked for."""

    def __init__(self, helm, name, operator=0):
        self.helm, self.name, self.operator = helm, name, operator

    def run(self, *words):
        done = subprocess.run([self.helm, *words, "-n", NAMESPACE], capture_output=True, text=True)
        if done.returncode:
            raise AssertionError(f"{self.helm} {' '.join(words)}: {done.stderr.strip()}")

    def upgrade(self, *sets):
        none = [f"{role}.replicas=0" for role in ("signaling", "registrar", "media", "admin")]
        # Each release of these tests has its own band of node ports.
        own = [f"operator.replicas={self.operator}", "media.exposure=podIP", "test.enabled=false"]
        if image := os.environ.get("FAIRLEAD_IMAGE"):
            repository, _, tag = image.rpartition(":")
            own += [f"image.repository={repository}", f"image.tag={tag}"]
        words = [word for one in [*none, *own, *sets] for word in ("--set", one)]
        self.run("upgrade", "--install", self.name, str(chart.CHART), *words)

    def uninstall(self):
        self.run("uninstall", self.name)

    def sip_ports(self):
        services = json.loads(kubectl("-n", NAMESPACE, "get", "services", "-o", "json", "-l", f"app.kubernetes.io/instance={self.name},app.kubernetes.io/component=signaling").stdout)
        return {f"{port['port']}/{port['protocol']}" for service in services["items"] for port in service["spec"]["ports"]}


if __name__ == "__main__":
    unittest.main()
