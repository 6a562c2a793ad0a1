"""What holds for all objects, whatever the values."""

import re
import unittest

import yaml

import chart

EVERYTHING = (
    "redis.enabled=true",
    "redis.persistence.enabled=true",
    "tls.internal.mode=cert-manager",
    "metrics.podMonitor.enabled=true",
    "metrics.rules.enabled=true",
    "metrics.dashboards.enabled=true",
    "signaling.service.split=true",
    "signaling.autoscaling.enabled=true",
    "registrar.autoscaling.enabled=true",
    "registrar.sipConf.text=[general]",
    "operator.watchNamespaces={other}",
    "admin.access.viewer[0].kind=Group",
    "admin.access.viewer[0].name=desk",
    "admin.access.viewer[0].apiGroup=rbac.authorization.k8s.io",
)
# Kubernetes' quantities, as far as the chart uses them.
UNITS = {"m": 0.001, "": 1, "Mi": 2**20, "Gi": 2**30}


def quantity(words):
    number, unit = re.fullmatch(r"([0-9.]+)([a-zA-Z]*)", str(words)).groups()
    return float(number) * UNITS[unit]


class Objects(unittest.TestCase):
    def test_every_object_carries_the_recommended_labels(self):
        everything = [("kinds", "edge-crds", "fairlead-crds", chart.kinds())]
        everything += [(sets, "edge", "fairlead", chart.objects(*sets)) for sets in (chart.SMALL, EVERYTHING)]
        everything += [(file.name, "edge", "fairlead", chart.objects(files=(file,))) for file in chart.examples()]
        every = {role: f"app.kubernetes.io/{role}" for role in ("name", "instance", "version", "component", "part-of", "managed-by")}
        count = 0
        for place, release, name, objects in everything:
            version = yaml.safe_load((chart.CHART.parent / name / "Chart.yaml").read_text())
            for one in objects:
                # A claim template, a pod of a workload are not objects; what Kubernetes makes of them is theirs to label.
                with self.subTest(place, kind=one["kind"], name=one["metadata"]["name"]):
                    labels = one["metadata"]["labels"]
                    self.assertLessEqual({*every.values(), "helm.sh/chart"}, set(labels))
                    self.assertEqual(labels[every["name"]], "fairlead")
                    self.assertEqual(labels[every["part-of"]], "fairlead")
                    self.assertEqual(labels[every["instance"]], release)
                    self.assertEqual(labels[every["managed-by"]], "Helm")
                    self.assertEqual(labels[every["version"]], version["appVersion"])
                    self.assertEqual(labels["helm.sh/chart"], f"{name}-{version['version']}")
                    self.assertIn(labels[every["component"]], chart.ROLES)
                count += 1
        self.assertGreater(count, 400)

    def test_no_service_selects_the_test(self):
        test = chart.of("Pod", *EVERYTHING)["edge-fairlead-test"]["metadata"]["labels"]
        for name, service in chart.of("Service", *EVERYTHING).items():
            selector = service["spec"]["selector"]
            self.assertFalse(selector.items() <= test.items(), name)

    def test_every_selector_finds_the_pods_of_one_role(self):
        pods = {role: pod["metadata"]["labels"] for role, pod in chart.workloads(*EVERYTHING).items()}
        for one in chart.objects(*EVERYTHING):
            spec = one.get("spec", {})
            selector = spec.get("selector") if one["kind"] == "Service" else spec.get("selector", {}).get("matchLabels") if one["kind"] in ("Deployment", "StatefulSet", "PodDisruptionBudget") else None
            if selector is None:
                continue
            # A label that the StatefulSet's controller gives.
            selector = {key: value for key, value in selector.items() if not key.startswith("statefulset.")}
            found = [role for role, labels in pods.items() if selector.items() <= labels.items()]
            self.assertEqual(found, [one["metadata"]["labels"]["app.kubernetes.io/component"]], one["metadata"]["name"])

    def test_rendering_twice_gives_the_same_bytes(self):
        for sets in (chart.SMALL, EVERYTHING):
            self.assertEqual(chart.text(*sets), chart.text(*sets))

    def test_no_secret_is_rendered(self):
        for mode in ("generated", "cert-manager", "existing", "off"):
            for name, secret in chart.of("Secret", "redis.enabled=true", f"tls.internal.mode={mode}").items():
                self.assertEqual([name, secret.get("data"), secret.get("stringData")], [name, None, None])
            self.assertNotRegex(chart.text("redis.enabled=true", f"tls.internal.mode={mode}"), "BEGIN [A-Z ]*(KEY|CERTIFICATE)")

    def test_secrets_that_come_later_are_waited_for(self):
        for role, pod in chart.workloads(*chart.SMALL).items():
            for volume in pod["spec"].get("volumes") or []:
                if "secret" in volume and role != "test":
                    self.assertTrue(volume["secret"].get("optional"), (role, volume["name"]))

    def test_nothing_restarts_pods_for_what_they_reload(self):
        for role, pod in chart.workloads(*EVERYTHING).items():
            # A registrar carries no call, and reads sip.conf at its start alone.
            checksums = [key for key in pod["metadata"].get("annotations") or {} if "checksum" in key]
            self.assertEqual(checksums, ["checksum/sip-conf"] if role == "registrar" else [], role)
            self.assertNotIn("helm.sh/chart", pod["metadata"]["labels"]) if role != "test" else None

    def test_a_new_chart_of_the_same_program_changes_no_pod(self):
        for role, pod in chart.workloads(*chart.SMALL).items():
            if role != "test":
                self.assertNotIn("app.kubernetes.io/version", pod["metadata"]["labels"], role)

    def test_only_operator_and_admin_hold_a_token(self):
        for sets in (chart.SMALL, EVERYTHING):
            holders = [role for role, pod in chart.workloads(*sets).items() if pod["spec"]["automountServiceAccountToken"]]
            self.assertEqual(sorted(holders), ["admin", "operator"])
            for account in chart.of("ServiceAccount", *sets).values():
                self.assertFalse(account["automountServiceAccountToken"])

    def test_no_right_on_secrets_reaches_beyond_a_namespace(self):
        for name, role in chart.of("ClusterRole", *EVERYTHING).items():
            for rule in role["rules"]:
                self.assertNotIn("secrets", rule["resources"], name)
                self.assertNotIn("*", rule["resources"] + rule["verbs"] + rule["apiGroups"], name)

    def test_every_container_is_restricted(self):
        for exposure in ("nodePort", "loadBalancer", "podIP"):
            for role, pod in chart.workloads(*chart.SMALL, f"media.exposure={exposure}").items():
                spec = pod["spec"]
                self.assertFalse(spec.get("hostNetwork"), role)
                self.assertTrue(spec["securityContext"]["runAsNonRoot"], role)
                self.assertEqual(spec["securityContext"]["seccompProfile"], {"type": "RuntimeDefault"}, role)
                for container in spec["containers"]:
                    context = container["securityContext"]
                    self.assertEqual(context["capabilities"], {"drop": ["ALL"]}, role)
                    self.assertFalse(context["allowPrivilegeEscalation"], role)
                    self.assertTrue(context["readOnlyRootFilesystem"], role)
                    for port in container.get("ports", []):
                        self.assertNotIn("hostPort", port, role)
                        self.assertGreaterEqual(port["containerPort"], 1024, role)

    def test_all_requests_of_the_defaults_fit_a_node_of_two_cores(self):
        cpu = memory = 0
        for one in chart.objects(*chart.SMALL):
            if one["kind"] not in ("Deployment", "StatefulSet", "Pod"):
                continue
            spec = one["spec"]["template"]["spec"] if "template" in one["spec"] else one["spec"]
            requests = spec["containers"][0]["resources"]["requests"]
            # One more of each while a new release comes.
            count = one["spec"].get("replicas", 1) + (one["kind"] == "Deployment")
            cpu += count * quantity(requests["cpu"])
            memory += count * quantity(requests["memory"])
        # A quarter of the node is left to what a cluster brings along.
        self.assertLess(cpu, 1.5)
        self.assertLess(memory, 1.5 * UNITS["Gi"])

    def test_defaults_are_as_promised(self):
        replicas = {name: one["spec"]["replicas"] for kind in ("Deployment", "StatefulSet") for name, one in chart.of(kind, *chart.SMALL).items()}
        self.assertEqual(
            replicas,
            {
                "edge-fairlead-signaling": 2,
                "edge-fairlead-registrar": 2,
                "edge-fairlead-media": 2,
                "edge-fairlead-admin": 1,
                "edge-fairlead-operator": 1,
                "edge-fairlead-redis": 1,
            },
        )
        signaling = chart.of("Deployment", *chart.SMALL)["edge-fairlead-signaling"]["spec"]
        self.assertEqual(signaling["strategy"]["rollingUpdate"]["maxUnavailable"], 0)
        for role, pod in chart.workloads(*chart.SMALL).items():
            for spread in pod["spec"].get("topologySpreadConstraints") or []:
                self.assertEqual(spread["whenUnsatisfiable"], "ScheduleAnyway", role)

    def test_a_node_can_be_drained_at_any_number_of_replicas(self):
        for name, budget in chart.of("PodDisruptionBudget", *chart.SMALL, "signaling.replicas=1", "media.replicas=1", "registrar.replicas=1").items():
            self.assertNotIn("minAvailable", budget["spec"], name)
            self.assertGreaterEqual(budget["spec"]["maxUnavailable"], 1, name)

    def test_kubernetes_waits_longer_than_a_drain(self):
        for role, pod in chart.workloads(*chart.SMALL).items():
            if role in ("redis", "test"):
                continue
            args = pod["spec"]["containers"][0]["args"]
            drain = next(int(arg[len("--drain-timeout=") : -1]) for arg in args if arg.startswith("--drain-timeout="))
            sleep = pod["spec"]["containers"][0].get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
            self.assertGreater(pod["spec"]["terminationGracePeriodSeconds"], drain + sleep, role)

    def test_probes_look_at_the_process_alone(self):
        for role, pod in chart.workloads(*chart.SMALL).items():
            if role in ("redis", "test"):
                continue
            container = pod["spec"]["containers"][0]
            self.assertEqual(container["livenessProbe"]["httpGet"], {"path": "/livez", "port": "health"}, role)
            self.assertEqual(container["readinessProbe"]["httpGet"], {"path": "/readyz", "port": "health"}, role)
            self.assertIn({"name": "health", "containerPort": 8081, "protocol": "TCP"}, container["ports"], role)

    def test_names_are_short_enough_for_what_hangs_on_them(self):
        for one in chart.objects(*EVERYTHING, release="a-release-with-a-name-as-long-as-helm-lets-it-be-53chars"[:53]):
            self.assertLessEqual(len(one["metadata"]["name"]), 63, one["metadata"]["name"])

    def test_no_list_that_helm_3_merges_by_number_has_a_number_twice(self):
        # One Service is the exception, and the operator role repairs it.
        for role, pod in chart.workloads(*EVERYTHING).items():
            for container in pod["spec"]["containers"]:
                numbers = [port["containerPort"] for port in container.get("ports", [])]
                self.assertEqual(len(numbers), len(set(numbers)), role)
        for name, service in chart.of("Service", *EVERYTHING).items():
            numbers = [port["port"] for port in service["spec"]["ports"]]
            self.assertEqual(len(numbers), len(set(numbers)), name)

    def test_a_relay_has_the_same_port_numbers_everywhere(self):
        for exposure in ("nodePort", "loadBalancer"):
            services = chart.of("Service", *chart.SMALL, f"media.exposure={exposure}")
            for ordinal in range(4):
                service = services[f"edge-fairlead-media-{ordinal}"]["spec"]
                numbers = [port["port"] for port in service["ports"]]
                self.assertEqual(numbers, list(range(30000 + 20 * ordinal, 30020 + 20 * ordinal)))
                for port in service["ports"]:
                    self.assertEqual({port["port"]}, {port["targetPort"], port["nodePort"]})
                self.assertEqual(service["externalTrafficPolicy"], "Local")
                self.assertTrue(service["publishNotReadyAddresses"])
                self.assertEqual(service["selector"]["statefulset.kubernetes.io/pod-name"], f"edge-fairlead-media-{ordinal}")
            self.assertNotIn("edge-fairlead-media-4", services)


if __name__ == "__main__":
    unittest.main()
