"""deploy/image: which engine it takes and with what words, seen by stand-ins that write down how they were called.

Docker and podman do not run where these tests do. Buildah makes an image twice, with a stand-in for the program; the whole
of that, compilers included, is `tests/run.sh image`.
"""

import json
import os
import pathlib
import shutil
import subprocess
import tarfile
import tempfile
import unittest

import chart

NAME = "localhost/fairlead:dev"
ROOTS = pathlib.Path("/usr/share/ca-certificates/mozilla")
# What the script calls beside engines. Nothing else is on its PATH, so that an engine of this machine is not found.
TOOLS = "bash sed date uname cat env rm mkdir mktemp dirname realpath install chmod find touch stat git head cut basename".split()
ENGINE = """#!/bin/sh
echo "$(basename "$0") $*" >>"$CALLS"
case "$(basename "$0") $*" in
    "docker version"*) [ -n "$DAEMON" ] ;;
    "docker buildx version"*) [ -n "$BUILDX" ] ;;
    "podman info"*) [ -n "$PODMAN" ] ;;
    "docker save -o "*) echo image >"$3" ;;
    "podman save --format docker-archive -o "*) echo image >"$5" ;;
    *" push "*) for word; do :; done; word=${word#docker-archive:}; echo image >"${word%%:*}" ;;
esac
"""
CARGO = """#!/bin/sh
while [ "$1" != --target ]; do [ "$1" != --profile ] || profile=$2; shift; done
mkdir -p "target/$2/$profile" && echo program >"target/$2/$profile/fairlead"
"""


@unittest.skipUnless(ROOTS.is_dir(), f"{ROOTS} is not there: package ca-certificates")
class Image(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)
        project = self.folder / "project"
        (project / "deploy").mkdir(parents=True)
        for file in ("deploy/image", "deploy/Dockerfile", "Cargo.toml"):
            shutil.copy(chart.ROOT / file, project / file)
        self.write(project / "deploy/sbom", "#!/bin/sh\necho '{}'\n")
        self.bin = self.folder / "bin"
        self.bin.mkdir()
        for tool in TOOLS:
            (self.bin / tool).symlink_to(shutil.which(tool))
        self.write(self.bin / "cargo", CARGO)

    def write(self, file, text):
        file.write_text(text)
        file.chmod(0o755)

    def run_image(self, *words, engines=(), **settings):
        """How it ended, what it said, how engines were called."""
        for engine in ("docker", "podman", "buildah"):
            (self.bin / engine).unlink(missing_ok=True)
            if engine in engines:
                self.write(self.bin / engine, ENGINE)
        calls = self.folder / "calls"
        calls.write_text("")
        environment = {"PATH": str(self.bin), "CALLS": str(calls), "HOME": str(self.folder), "TMPDIR": str(self.folder), "SOURCE_DATE_EPOCH": "1700000000"}
        done = subprocess.run([self.folder / "project/deploy/image", *words], env=environment | settings, cwd=self.folder, capture_output=True, text=True)
        return done.returncode, done.stderr, calls.read_text().splitlines()

    def builds(self, calls):
        return [call for call in calls if " build " in call or " bud " in call]

    def test_docker_builds_by_buildx_into_its_own_store(self):
        code, said, calls = self.run_image(NAME, engines=("docker", "podman", "buildah"), DAEMON="1", BUILDX="1", PODMAN="1")
        self.assertEqual(code, 0, said)
        [build] = self.builds(calls)
        self.assertRegex(build, r"^docker buildx build --provenance=false --platform linux/(amd64|arm64) ")
        self.assertIn(f"--output type=docker,name={NAME},rewrite-timestamp=true .", build)
        self.assertIn("--build-arg CREATED=2023-11-14T22:13:20Z -f deploy/Dockerfile", build)
        self.assertFalse([call for call in calls if " save " in call])
        self.assertTrue((self.folder / "project/target/image/fairlead.cdx.json").exists())

    def test_docker_saves_an_archive(self):
        code, said, calls = self.run_image(NAME, "out/fairlead.tar", engines=("docker",), DAEMON="1", BUILDX="1")
        self.assertEqual(code, 0, said)
        self.assertEqual(calls[-1], f"docker save -o {self.folder}/out/fairlead.tar {NAME}")
        self.assertTrue((self.folder / "out/fairlead.cdx.json").exists())

    def test_podman_is_taken_where_docker_lacks_its_daemon_or_buildx(self):
        for settings in ({"DAEMON": "1"}, {"BUILDX": "1"}, {}):
            code, said, calls = self.run_image(NAME, "fairlead.tar", engines=("docker", "podman"), PODMAN="1", **settings)
            self.assertEqual(code, 0, said)
            [build] = self.builds(calls)
            self.assertTrue(build.startswith("podman build --format oci --identity-label=false --timestamp 1700000000 --platform linux/"), build)
            self.assertTrue(build.endswith(f"-f deploy/Dockerfile -t {NAME} ."), build)
            self.assertEqual(calls[-1], f"podman save --format docker-archive -o {self.folder}/fairlead.tar {NAME}")

    def test_buildah_is_the_last_and_needs_no_store_for_an_archive(self):
        code, said, calls = self.run_image(NAME, "fairlead.tar", engines=("docker", "podman", "buildah"))
        self.assertEqual(code, 0, said)
        [build] = self.builds(calls)
        self.assertRegex(build, r"^buildah --root \S+/root --runroot \S+/run --storage-driver vfs bud ")
        self.assertIn("--identity-label=false --timestamp 1700000000", build)
        self.assertEqual(sorted(path.name for path in self.folder.iterdir() if "fairlead-image" in path.name), [])

    def test_without_any_it_says_why_of_each(self):
        code, said, _ = self.run_image(NAME, engines=("docker", "podman"), DAEMON="1")
        self.assertEqual(code, 1)
        for why in ("docker has no buildx", "podman does not work", "buildah is not on PATH"):
            self.assertIn(why, said)

    def test_the_engine_that_is_asked_for_is_taken_or_nothing(self):
        code, said, calls = self.run_image(NAME, engines=("docker", "podman", "buildah"), DAEMON="1", BUILDX="1", FAIRLEAD_ENGINE="buildah")
        self.assertEqual(code, 0, said)
        self.assertRegex(self.builds(calls)[0], "^buildah bud ")
        code, said, calls = self.run_image(NAME, engines=("docker", "podman"), BUILDX="1", PODMAN="1", FAIRLEAD_ENGINE="docker")
        self.assertEqual((code, self.builds(calls)), (1, []))
        self.assertIn("docker has no daemon that answers", said)
        code, said, _ = self.run_image(NAME, engines=("docker",), FAIRLEAD_ENGINE="kaniko")
        self.assertEqual(code, 1)
        self.assertIn("kaniko: docker, podman or buildah", said)

    def test_two_builds_say_the_same_to_the_engine(self):
        first = self.run_image(NAME, engines=("podman",), PODMAN="1")[2]
        self.assertEqual(self.run_image(NAME, engines=("podman",), PODMAN="1")[2], first)

    @unittest.skipUnless(shutil.which("buildah"), "buildah is not there")
    def test_buildah_gives_one_digest_in_two_folders(self):
        manifests = []
        for name in ("project", "a-folder-with-another-name"):
            if name != "project":
                (self.folder / "project").rename(self.folder / name)
            # Whoever runs the tests may build elsewhere; the stand-in for cargo does not.
            elsewhere = {"CARGO_TARGET_DIR": str(self.folder / name / "target")}
            environment = os.environ | elsewhere | {"PATH": f"{self.bin}:{os.environ['PATH']}", "SOURCE_DATE_EPOCH": "1700000000", "FAIRLEAD_ENGINE": "buildah"}
            archive = self.folder / f"{name}.tar"
            done = subprocess.run([self.folder / name / "deploy/image", NAME, archive], env=environment, capture_output=True, text=True)
            self.assertEqual(done.returncode, 0, done.stderr)
            with tarfile.open(archive) as tar:
                [manifest] = json.load(tar.extractfile("manifest.json"))
                config = json.load(tar.extractfile(manifest["Config"]))
            manifests.append(manifest)
        self.assertEqual(manifests[0], manifests[1])
        self.assertEqual(config["config"]["User"], "65532:65532")
        self.assertEqual(config["config"]["Entrypoint"], ["/fairlead"])
        self.assertEqual(config["created"], "2023-11-14T22:13:20Z")
        self.assertIn("org.opencontainers.image.revision", config["config"]["Labels"])


if __name__ == "__main__":
    unittest.main()
