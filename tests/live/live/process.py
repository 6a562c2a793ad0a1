"""Processes that a test starts, and ends by their pid."""

import os
import signal
import subprocess
import time


class Process:
    """One running program with its output in a file."""

    def __init__(self, name, argv, log, env=None, netns=None):
        self.name, self.log = name, log
        if netns:
            argv = ["ip", "netns", "exec", netns, *argv]
        self.argv, self.env = argv, {**os.environ, **(env or {})}
        self.child = None

    def start(self):
        with open(self.log, "ab") as out:
            self.child = subprocess.Popen(
                self.argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=self.env, start_new_session=True
            )
        return self

    @property
    def pid(self):
        return self.child.pid

    def is_running(self):
        return self.child is not None and self.child.poll() is None

    def kill(self):
        """kill -9, and wait until it is gone."""
        if self.is_running():
            self.child.send_signal(signal.SIGKILL)
        if self.child is not None:
            self.child.wait()

    def terminate(self, within=5.0):
        """SIGTERM; returns the seconds it took to end, and fails when it takes longer than `within`."""
        if not self.is_running():
            return 0.0
        began = time.monotonic()
        self.child.send_signal(signal.SIGTERM)
        try:
            self.child.wait(within)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.name} did not end within {within} s of SIGTERM") from None
        return time.monotonic() - began

    def output(self):
        with open(self.log, "rb") as log:
            return log.read().decode("utf-8", "replace")

    def cpu_seconds(self):
        """User and system time so far."""
        with open(f"/proc/{self.pid}/stat") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def open_files(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))


def wait_until(what, condition, within=15.0, every=0.05):
    """Waits for a condition; a test that never gets it fails with `what`."""
    deadline = time.monotonic() + within
    last = None
    while time.monotonic() < deadline:
        try:
            value = condition()
            if value:
                return value
        except (OSError, AssertionError, ValueError) as error:
            last = error
        time.sleep(every)
    raise AssertionError(f"not within {within} s: {what}" + (f" ({last})" if last else ""))
