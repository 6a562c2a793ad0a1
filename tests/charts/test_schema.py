"""values.schema.json: every value has a type and a description, and what nobody knows is refused."""

import json
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

import yaml

import chart

SCHEMA = json.loads((chart.CHART / "values.schema.json").read_text())


def leaves(value, path=()):
    for key, inner in value.items():
        if isinstance(inner, dict) and inner:
            yield from leaves(inner, path + (key,))
        else:
            yield path + (key,), inner


def at(path):
    schema = SCHEMA
    for key in path:
        schema = schema["properties"][key]
    return schema


# Where keys are not ours to name: each says so in its description or hangs on one that does.
OPEN = {
    "global": "belong to the others",
    "initContainers": "left to the API server",
    "extraContainers": "left to the API server",
    "extraVolumes": "left to the API server",
    "extraObjects": "each a template",
}


def schemas(schema, path=()):
    """Every schema inside this one."""
    yield path, schema
    for word in ("properties", "definitions"):
        for key, inner in schema.get(word, {}).items():
            yield from schemas(inner, path + (key,))
    for word in ("items", "additionalProperties"):
        if isinstance(schema.get(word), dict):
            yield from schemas(schema[word], path + (word,))


def is_of(schema, word):
    return word in (schema["type"] if isinstance(schema.get("type"), list) else [schema.get("type")])


def words(path, value):
    """--set of a key that has dots in it."""
    return ".".join(key.replace(".", "\\.") for key in path) + f"={value}"


class Schema(unittest.TestCase):
    def test_every_leaf_of_the_values_has_a_type_and_a_description(self):
        count = 0
        for path, _ in leaves(chart.values()):
            schema = at(path)
            self.assertTrue(schema.get("type"), path)
            self.assertGreater(len(schema.get("description", "")), 3, path)
            count += 1
        self.assertGreater(count, 150)

    def test_an_unknown_key_is_refused_wherever_the_chart_names_the_keys(self):
        count = 0
        for path, schema in schemas(SCHEMA):
            if not is_of(schema, "object"):
                continue
            name = path[-2] if path and path[-1] == "items" else path[-1] if path else ""
            if name in OPEN:
                self.assertIn(OPEN[name], at(path[:-1] if path[-1] == "items" else path)["description"], path)
                continue
            rest = schema.get("additionalProperties")
            if isinstance(rest, dict):
                # A map with names of the user's own; what stands under them is said all the same.
                self.assertIn("type", rest, path)
            elif "allOf" in schema:
                [one] = schema["allOf"]
                self.assertIn(one["$ref"].rpartition("/")[2], SCHEMA["definitions"], path)
            else:
                self.assertIs(rest, False, path)
            count += 1
        self.assertGreater(count, 200)

    def test_helm_refuses_what_is_wrong_anywhere_and_names_it(self):
        paths = [path for path, schema in schemas({"properties": SCHEMA["properties"]}) if is_of(schema, "object") and not {"items", "additionalProperties"} & set(path)]
        paths = [path for path in paths if path[-1] not in OPEN and not isinstance(at(path).get("additionalProperties"), dict)]
        self.assertGreater(len(paths), 80)
        wrong = [words(path + ("nonsense",), 1) for path in paths]
        deep = {
            "signaling.affinity.podAntiAffinity.sometimes": 1,
            "media.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matches": 1,
            "signaling.tolerations[0].kee": "a",
            "signaling.topologySpreadConstraints[0].topologyKee": "a",
            "registrar.extraEnv[0].valueForm": 1,
            "registrar.extraEnvFrom[0].secret": "a",
            "registrar.extraVolumeMounts[0].path": "a",
            "registrar.autoscaling.metrics[0].cpu": 1,
            "signaling.autoscaling.behavior.scaleDown.policies[0].kind": "Pods",
            "networkPolicy.metricsFrom[0].selector": 1,
            "admin.access.viewer[0].nam": "a",
            "signaling.keda.triggers[0].meta": 1,
            "signaling.listeners.more.prot": "UDP",
            # Names of resources are free where they have a domain.
            "signaling.resources.limits.memori": "1Gi",
        }
        why = chart.refused(*wrong, *(f"{key}={value}" for key, value in deep.items()))
        for path in paths:
            place = "/" + "/".join(path)
            self.assertRegex(why, rf"at '{place}': .*nonsense", place)
        for key in deep:
            self.assertIn(f"'{key.rpartition('.')[2]}'", why, key)
        self.assertIn("'nonsense'", chart.refused("nonsense=1"))

    def test_what_kubernetes_knows_is_taken(self):
        chart.text(
            "signaling.resources.limits.nvidia\\.com/gpu=1",
            "signaling.resources.limits.hugepages-2Mi=4Mi",
            "signaling.resources.requests.cpu=1",
            "signaling.strategy.rollingUpdate.maxSurge=25%",
            "media.updateStrategy.rollingUpdate.partition=1",
            "media.autoscaling.behavior.scaleUp.policies[0].type=Pods,media.autoscaling.behavior.scaleUp.policies[0].value=1,media.autoscaling.behavior.scaleUp.policies[0].periodSeconds=60",
            "podSecurityContext.supplementalGroups={1,2}",
            "containerSecurityContext.seLinuxOptions.level=s0",
            "admin.affinity.podAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].weight=1",
            "admin.affinity.podAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].podAffinityTerm.topologyKey=zone",
            "admin.extraEnv[0].name=A,admin.extraEnv[0].valueFrom.secretKeyRef.name=s,admin.extraEnv[0].valueFrom.secretKeyRef.key=k",
        )

    def test_null_takes_a_default_away(self):
        maps = [path for path, schema in schemas({"properties": SCHEMA["properties"]}) if isinstance(schema.get("additionalProperties"), dict) and schema["additionalProperties"].get("type") == ["string", "null"] and "items" not in path]
        self.assertGreater(len(maps), 25)
        rest = [
            "redis.enabled=true,metrics.rules.enabled=true,metrics.dashboards.enabled=true,metrics.podMonitor.enabled=true,signaling.service.split=true",
            "signaling.service.sharedAddressAnnotations.metallb\\.io/allow-shared-ip=null",
            "signaling.resources.limits.memory=null",
            "podSecurityContext.runAsUser=null,podSecurityContext.fsGroup=null,redis.runAsUser=null",
        ]
        rendered = chart.objects(*(words(path + ("gone",), "null") for path in maps), *rest)
        for one in rendered:
            for place in (one, one["spec"]["template"] if one["kind"] in ("Deployment", "StatefulSet") else one):
                for kind in ("labels", "annotations"):
                    for key, value in place["metadata"].get(kind, {}).items():
                        self.assertIsInstance(value, str, (one["metadata"]["name"], key))
                        self.assertNotIn(key, ("gone", "metallb.io/allow-shared-ip"))
        pods = chart.workloads(*rest)
        self.assertNotIn("memory", pods["signaling"]["spec"]["containers"][0]["resources"]["limits"] or {})
        # As OpenShift wants it, which chooses by itself.
        for role in ("signaling", "redis"):
            self.assertNotIn("runAsUser", pods[role]["spec"]["securityContext"])
        # A whole group of them as well.
        chart.text(*(words(path, "null") for path in maps if path[0] in ("signaling", "media", "redis", "commonLabels", "commonAnnotations")), "signaling.tolerations=null,signaling.affinity=null,signaling.resources=null,redis.enabled=true")

    def test_null_of_one_role_takes_what_is_common_away(self):
        sets = ("commonAnnotations.team=voice", "media.podAnnotations.team=null")
        pods = chart.workloads(*sets)
        self.assertNotIn("annotations", pods["media"]["metadata"])
        self.assertEqual(pods["signaling"]["metadata"]["annotations"], {"team": "voice"})

    def test_a_chart_of_charts_may_have_globals_of_others_and_a_condition(self):
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            for name in ("fairlead", "fairlead-crds"):
                shutil.copytree(chart.CHART.parent / name, folder / "charts" / name)
            needs = [{"name": name, "version": "*", "condition": f"{name}.enabled"} for name in ("fairlead", "fairlead-crds")]
            (folder / "Chart.yaml").write_text(yaml.safe_dump({"apiVersion": "v2", "name": "house", "version": "1.0.0", "dependencies": needs}))
            ours = {
                "global": {"imageRegistry": "registry.example", "postgresql": {"auth": {"username": "u"}}, "storageClass": "fast"},
                "fairlead": {"enabled": True, "redis": {"enabled": True}},
                "fairlead-crds": {"enabled": True},
            }
            (folder / "values.yaml").write_text(yaml.safe_dump(ours))
            done = subprocess.run([chart.HELM, "template", "edge", str(folder)], capture_output=True, text=True)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn("image: \"registry.example/fairlead/fairlead:", done.stdout)
            self.assertIn("kind: CustomResourceDefinition", done.stdout)
            ours["fairlead"]["enabled"] = False
            (folder / "values.yaml").write_text(yaml.safe_dump(ours))
            done = subprocess.run([chart.HELM, "template", "edge", str(folder)], capture_output=True, text=True)
            self.assertNotIn("kind: Deployment", done.stdout)

    def test_wrong_values_are_refused(self):
        for wrong in [
            "signaling.replicas=two",
            "media.exposure=carrier-pigeon",
            "media.ports.base=29998",
            "media.ports.base=30001",
            "media.ports.count=19",
            "media.exposure=loadBalancer,media.ports.base=20000",
            "tls.internal.mode=on",
            "redis.url=http://redis",
            "redis.url=redis://user:word@redis:6379",
            "image.digest=sha256:12",
            "signaling.listeners.low.protocol=UDP,signaling.listeners.low.port=53",
            "signaling.listeners.odd.protocol=SCTP,signaling.listeners.odd.port=5060",
            "signaling.listeners.portless.protocol=UDP",
            "redis.enabled=true,redis.runAsUser=0",
            "operator.watchNamespaces=all",
        ]:
            with self.subTest(wrong):
                chart.refused(wrong)

    def test_relays_without_ports_are_refused(self):
        self.assertIn("media.maxReplicas=4", chart.refused("media.replicas=5"))
        self.assertIn("media.maxReplicas=4", chart.refused("media.autoscaling.enabled=true", "media.autoscaling.maxReplicas=5"))
        self.assertIn("no node ports", chart.refused("media.ports.base=32760"))
        chart.text("media.ports.base=32700", "media.ports.count=16")
        chart.text("media.exposure=podIP", "media.ports.base=10000", "media.ports.count=200", "media.maxReplicas=10", "media.replicas=10")

    def test_one_thing_alone_scales(self):
        self.assertIn("one of the two", chart.refused("signaling.autoscaling.enabled=true", "signaling.keda.enabled=true"))
        self.assertIn("triggers", chart.refused("signaling.keda.enabled=true"))


if __name__ == "__main__":
    unittest.main()
