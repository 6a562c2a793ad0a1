"""SIPp as foreign phones."""

import csv
import glob
import os
import subprocess
import tempfile

SCENARIOS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "scenarios")


class Sipp:
    """One SIPp process with one scenario."""

    def __init__(self, scenario, server, local, rows=(), calls=None, rate=None, at_once=None, pause=None,
                 transport="u1", limit=60, more=()):
        self.dir = tempfile.mkdtemp(prefix="fairlead-sipp-")
        self.scenario, self.limit = scenario, limit
        if scenario.endswith("-media"):
            os.symlink(sound(), self.path("sound.ulaw"))
        argv = ["sipp", f"{server[0]}:{server[1]}", "-sf", os.path.join(SCENARIOS, scenario + ".xml"),
                "-i", local[0], "-p", str(local[1]), "-mi", local[0], "-nostdin", "-t", transport,
                "-timer_resol", "5", "-timeout", f"{limit}s", "-timeout_error",
                "-trace_stat", "-stf", self.path("stat.csv"), "-fd", "1",
                "-trace_err", "-error_file", self.path("errors.log"), "-buff_size", "1048576"]
        if rows:
            with open(self.path("rows.csv"), "w") as f:
                f.write("SEQUENTIAL\n" + "".join(";".join(row) + ";\n" for row in rows))
            argv += ["-inf", self.path("rows.csv")]
        if calls is not None:
            argv += ["-m", str(calls)]
        if rate is not None:
            argv += ["-r", str(rate)]
        if at_once is not None:
            argv += ["-l", str(at_once)]
        if pause is not None:
            argv += ["-d", str(pause)]
        self.argv = argv + list(more)
        self.child = None

    def path(self, name):
        return os.path.join(self.dir, name)

    def start(self):
        self.out = open(self.path("screen.log"), "wb")
        self.child = subprocess.Popen(
            self.argv, cwd=self.dir, stdin=subprocess.DEVNULL, stdout=self.out, stderr=subprocess.STDOUT,
            env={**os.environ, "TERM": "dumb"}, start_new_session=True,
        )
        return self

    def wait(self):
        """Waits for its end; how many calls succeeded and failed."""
        self.child.wait(self.limit + 20)
        self.out.close()
        return self.counts()

    def run(self):
        self.start()
        return self.wait()

    def counts(self):
        with open(self.path("stat.csv")) as f:
            rows = list(csv.reader(f, delimiter=";"))
        row = dict(zip(rows[0], rows[-1]))
        return {
            "ok": int(row["SuccessfulCall(C)"]),
            "failed": int(row["FailedCall(C)"]),
            "retransmissions": int(row["Retransmissions(C)"]),
        }

    def errors(self):
        text = ""
        for name in sorted(glob.glob(self.path("errors*.log"))):
            with open(name, errors="replace") as f:
                text += f.read()
        return text[:3000]

    def stop(self):
        if self.child is not None and self.child.poll() is None:
            self.child.kill()
            self.child.wait()

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()


def all_succeed(test, sipp, calls):
    """Runs a scenario to its end and fails the test with SIPp's own words when a call failed."""
    counts = sipp.run() if sipp.child is None else sipp.wait()
    test.assertEqual(
        (counts["ok"], counts["failed"]), (calls, 0),
        f"{sipp.scenario}: {counts}\n{sipp.errors()}",
    )
    return counts


def sound(seconds=30):
    """A file of G.711 sound for SIPp's rtp_stream: a slow ramp, so that it is not silence."""
    path = os.path.join(tempfile.gettempdir(), f"fairlead-live-{os.getpid()}-{seconds}.ulaw")
    if not os.path.exists(path):
        with open(path, "wb") as f:
            f.write(bytes((i // 40) & 0xFF for i in range(8000 * seconds)))
    return path


def credentials(user, secret=None):
    return f"[authentication username={user} password={secret or 'pw' + user}]"
