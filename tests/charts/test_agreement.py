"""What the chart takes for granted about the program and its documents: metrics, flags, rights, runbooks, names."""

import json
import os
import re
import subprocess
import unittest

import yaml

import chart

METRICS = chart.ROOT / "crates/fairlead-runtime/METRICS.md"
NAME = re.compile(r"\b(?:fairlead|process)_[a-z0-9_]+")
SUFFIXES = re.compile(r"_(bucket|sum|count)$")


def written():
    """Metric names of METRICS.md."""
    return set(re.findall(r"^\| `([a-z0-9_]+)` \|", METRICS.read_text(), re.MULTILINE))


def used():
    """Metric names that alerts, dashboards, scaling and the README rely on → where."""
    sources = {"alerts": (chart.CHART / "files/alerts.yaml").read_text(), "values": (chart.CHART / "values.yaml").read_text()}
    for board in (chart.CHART / "files/dashboards").glob("*.json"):
        for panel in json.loads(board.read_text())["panels"]:
            sources[f"{board.name}: {panel['title']}"] = " ".join(target["expr"] for target in panel["targets"])
    sources["README"] = (chart.CHART / "docs/README.head.md").read_text()
    return {SUFFIXES.sub("", name): where for where, text in sources.items() for name in NAME.findall(text)}


class Metrics(unittest.TestCase):
    def test_every_metric_that_is_used_is_documented(self):
        known = written()
        self.assertGreater(len(known), 40)
        for name, where in used().items():
            self.assertIn(name, known, where)


def missing(pages):
    """Metrics that are used and that no page of a running pod has → where they are used."""
    known = set()
    for page in pages:
        for line in page.splitlines():
            if match := re.match(r"# TYPE (\S+) (\S+)", line):
                known.add(match[1] + {"counter": "_total", "info": "_info"}.get(match[2], ""))
    # METRICS.md: a counter with labels appears once it has counted something. Not so where an alert looks at it.
    later = set(re.findall(r"^\| `([a-z0-9_]+)` \| (?:counter|gauge) \| [a-z]", METRICS.read_text(), re.MULTILINE))
    watched = {SUFFIXES.sub("", name) for name in NAME.findall((chart.CHART / "files/alerts.yaml").read_text())}
    return {name: where for name, where in used().items() if name not in known and (name in watched or name not in later)}


class Alerts(unittest.TestCase):
    def test_every_alert_has_a_runbook_and_every_runbook_an_alert(self):
        rules = chart.of("PrometheusRule", *chart.SMALL, "metrics.rules.enabled=true")["edge-fairlead"]["spec"]["groups"][0]["rules"]
        headings = {heading.lower() for heading in re.findall(r"^## (\S+)$", (chart.CHART / "docs/runbooks.md").read_text(), re.MULTILINE)}
        links = {rule["annotations"]["runbook_url"].split("#")[1] for rule in rules}
        self.assertEqual(headings, links)
        for rule in rules:
            self.assertNotIn("SELECTOR", rule["expr"])
            self.assertEqual(rule["expr"].count("("), rule["expr"].count(")"), rule["alert"])

    def test_dashboards_are_json_for_a_sidecar(self):
        boards = chart.of("ConfigMap", *chart.SMALL, "metrics.dashboards.enabled=true")
        self.assertEqual(len(boards), 2)
        for name, board in boards.items():
            self.assertEqual(board["metadata"]["labels"]["grafana_dashboard"], "1", name)
            for text in board["data"].values():
                self.assertNotIn("SELECTOR", text)
                json.loads(text)


def documented(heading, until=None):
    """The table of the operator's README under these words: (group, resource, verb, name) of each right; no name is all."""
    text = (chart.ROOT / "crates/fairlead-operator/README.md").read_text()
    section = text[text.index(heading) :]
    section = section[: section.index(until)] if until else section
    rows = [[cell.strip() for cell in line.split("|")[1:5]] for line in section.splitlines() if line.startswith("| ")]
    for group, resources, verbs, names in rows[1:]:
        for resource in resources.split(", "):
            for verb in verbs.split(", "):
                for name in names.replace("FULL", "edge-fairlead").split(", "):
                    yield ("" if group == "(core)" else group, resource, verb, name)


def granted(role):
    """The same of a Role or ClusterRole."""
    return {
        (group, resource, verb, name)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
        for name in rule.get("resourceNames") or [""]
    }


class Rights(unittest.TestCase):
    """The operator's Role is what the operator's README asks for, no more and no less. That the role asks an API server for
    exactly this is a test of the crate (rights.rs)."""

    def test_the_operator_has_exactly_the_rights_that_its_readme_lists(self):
        own = set(documented("In the release's namespace:", "In each other namespace"))
        self.assertGreater(len(own), 20)
        self.assertEqual(granted(chart.of("Role", *chart.SMALL)["edge-fairlead-operator"]), own)
        others = set(documented("In each other namespace", "For the whole cluster"))
        role = chart.of("Role", *chart.SMALL, "operator.watchNamespaces={desks}")["sip-edge-fairlead-operator"]
        self.assertEqual([granted(role), role["metadata"]["namespace"]], [others, "desks"])
        cluster = set(documented("For the whole cluster"))
        self.assertEqual(granted(chart.of("ClusterRole", *chart.SMALL)["sip-edge-fairlead-operator"]), cluster)

    def test_the_operator_may_write_no_secret_that_it_does_not_make(self):
        def written(*sets):
            return {
                (verb, name.removeprefix("edge-fairlead-"))
                for _, resource, verb, name in granted(chart.of("Role", *sets)["edge-fairlead-operator"])
                if resource == "secrets" and verb not in ("get", "list", "watch")
            }

        none = ("redis.url=redis://r", "redis.existingSecret=r", "admin.existingSecret=a", "tls.internal.mode=cert-manager", "test.enabled=false")
        self.assertEqual(written(*none), set())
        self.assertEqual(written(*none[:2], *none[3:]), {("create", ""), ("update", "admin")})
        # Whatever it is told to make it may make.
        for sets in (chart.SMALL, none, ("redis.url=redis://r",), (*chart.SMALL, "redis.existingSecret=r"), (*chart.SMALL, "admin.existingSecret=a")):
            [container] = chart.workloads(*sets)["operator"]["spec"]["containers"]
            told = {arg.split("=")[1].removeprefix("edge-fairlead-") for arg in container["args"] if re.match("--(admin-token|redis-password)-secret=", arg)}
            self.assertEqual({name for _, name in written(*sets)} & {"admin", "redis"}, told, sets)

    def test_levels_of_people(self):
        roles = chart.of("Role", *chart.SMALL)

        def verbs(level, resource):
            return {verb for rule in roles[f"edge-fairlead-{level}"]["rules"] if resource in rule["resources"] for verb in rule["verbs"]}

        self.assertEqual(verbs("viewer", "sippeers"), {"get", "list"})
        self.assertEqual(verbs("viewer", "sippeers/channels"), {"list"})
        for resource in ("prune", "unregister", "qualify"):
            self.assertEqual(verbs("viewer", f"sippeers/{resource}"), set())
            self.assertEqual(verbs("agent", f"sippeers/{resource}"), set() if resource == "prune" else {"create"})
            self.assertTrue(verbs("admin", f"sippeers/{resource}") & {"create", "*"})
        for level in ("viewer", "agent", "admin"):
            self.assertEqual(
                granted(roles[f"edge-fairlead-use-as-{level}"]),
                {
                    ("", "serviceaccounts/token", "create", f"edge-fairlead-{level}"),
                    ("", "pods", "get", ""),
                    ("", "pods", "list", ""),
                    ("", "services", "get", "edge-fairlead-admin"),
                    ("", "pods/portforward", "get", ""),
                    ("", "pods/portforward", "create", ""),
                },
            )


@unittest.skipUnless(os.environ.get("FAIRLEAD_BIN"), "FAIRLEAD_BIN names no program")
class Flags(unittest.TestCase):
    def test_the_program_knows_every_flag(self):
        shapes = [
            chart.SMALL,
            (*chart.SMALL, "media.exposure=loadBalancer", "telemetry.otlpEndpoint=http://otlp:4317"),
            ("redis.tls.existingSecret=ca", "redis.existingSecret=redis", "media.advertise={192.0.2.1}", "signaling.advertise={192.0.2.1}"),
            ("tls.internal.mode=existing", "registrar.sipConf.existingSecret=conf", "operator.watchNamespaces={a,b}", "redis.url=redis://r"),
        ]
        for sets in shapes:
            for role, pod in chart.workloads(*sets).items():
                if role == "redis":
                    continue
                word, *args = pod["spec"]["containers"][0]["args"]
                known = subprocess.run([os.environ["FAIRLEAD_BIN"], word, "--help"], capture_output=True, text=True)
                self.assertEqual(known.returncode, 0, f"{word}: {known.stderr}")
                for arg in args:
                    flag = arg.split("=")[0]
                    self.assertRegex(known.stdout, rf"(?m)^\s+(-\w, )?{flag}\b", f"{word} {flag}")


class Examples(unittest.TestCase):
    def test_every_example_renders(self):
        found = chart.examples()
        self.assertGreaterEqual(len(found), 5)
        for file in found:
            with self.subTest(file.name):
                chart.text(files=(file,))

    def test_the_chart_of_kinds_keeps_them(self):
        self.assertEqual([one["metadata"]["name"] for one in chart.kinds()], ["sippeers.fairlead.dev"])
        for one in chart.kinds():
            self.assertEqual(one["kind"], "CustomResourceDefinition")
            self.assertEqual(one["metadata"]["annotations"]["helm.sh/resource-policy"], "keep")

    def test_the_chart_of_kinds_changes_nothing_but_labels(self):
        for one in chart.kinds():
            printed = yaml.safe_load((chart.KINDS / "files" / f"{one['spec']['names']['plural']}.yaml").read_text())
            self.assertLess(printed["metadata"].pop("labels").items(), one["metadata"]["labels"].items())
            self.assertEqual({**one, "metadata": {**one["metadata"], "labels": None}}, {**printed, "metadata": {**printed["metadata"], "labels": None}})


class Options(unittest.TestCase):
    def test_options_of_a_sippeer_without_an_effect_are_named(self):
        """What the table of a peer's options calls not yet honoured, the README of the kind names."""
        table = (chart.ROOT / "crates/fairlead-model/src/peer/options/peer.rs").read_text()
        honoured = dict(re.findall(r'Opt::new\(\s*"([^"]+)",\s*(\w+)', table))
        spec = (chart.ROOT / "crates/fairlead-operator/src/crd/spec.rs").read_text()
        columns = re.findall(r'^    (\w+): [^=\n]+ = "([^"]+)",', spec, re.MULTILINE)
        self.assertGreater(len(columns), 100)
        kept, never = set(), set()
        for field, column in columns:
            first, *rest = field.split("_")
            name = first + "".join(word.capitalize() for word in rest)
            if honoured[column] == "NotYet":
                kept.add(name)
            elif honoured[column] != "Yes":
                never.add(name)
        page = (chart.ROOT / "charts/fairlead-crds/README.md").read_text().split("## Options without an effect")[1]
        named = [set(re.findall(r"`(\w+)`", part)) for part in page.split("\n\n") if part.startswith("`a")]
        self.assertEqual(named, [kept, never])
        kind = yaml.safe_load((chart.ROOT / "charts/fairlead-crds/files/sippeers.yaml").read_text())
        spec = kind["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
        told = {name for name, schema in spec.items() if schema["description"].endswith("Not yet honoured.")}
        self.assertEqual(told, kept | never | {"callCompletion"})


if __name__ == "__main__":
    unittest.main()
