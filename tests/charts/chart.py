"""What the tests of the chart share: rendering it, and looking through what comes out."""

import functools
import os
import pathlib
import subprocess

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
CHART = ROOT / "charts" / "fairlead"
KINDS = ROOT / "charts" / "fairlead-crds"
HELM = os.environ.get("HELM", "helm")
ROLES = ("signaling", "media", "registrar", "admin", "operator", "redis", "test")
SMALL = ("redis.enabled=true",)


def values():
    return yaml.safe_load((CHART / "values.yaml").read_text())


def text(*sets, release="edge", namespace="sip", files=()):
    """What `helm template` prints."""
    command = [HELM, "template", release, str(CHART), "-n", namespace]
    for file in files:
        command += ["-f", str(file)]
    for one in sets:
        command += ["--set", one]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise AssertionError(done.stderr.strip())
    return done.stdout


@functools.cache
def kinds():
    """What the chart of kinds makes."""
    done = subprocess.run([HELM, "template", "edge-crds", str(KINDS)], capture_output=True, text=True, check=True)
    return [one for one in yaml.safe_load_all(done.stdout) if one]


@functools.cache
def objects(*sets, **other):
    """The objects that come out."""
    return [one for one in yaml.safe_load_all(text(*sets, **other)) if one]


def of(kind, *sets, **other):
    return {one["metadata"]["name"]: one for one in objects(*sets, **other) if one["kind"] == kind}


def refused(*sets):
    """Why these values are refused."""
    try:
        text(*sets)
    except AssertionError as why:
        return str(why)
    raise AssertionError(f"{sets} were taken")


def workloads(*sets, **other):
    """Component → the pod template (or pod) of every workload."""
    found = {}
    for one in objects(*sets, **other):
        if one["kind"] in ("Deployment", "StatefulSet"):
            template = one["spec"]["template"]
        elif one["kind"] == "Pod":
            template = one
        else:
            continue
        found[one["metadata"]["labels"]["app.kubernetes.io/component"]] = template
    return found


def examples():
    return sorted((ROOT / "deploy" / "examples").glob("values-*.yaml"))
