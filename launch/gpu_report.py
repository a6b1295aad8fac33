"""The report of gpu_check.py: its items, the time it has, and the commands that it runs."""
import contextlib
import datetime
import json
import os
import signal
import subprocess
import time

LIMIT_S = 570  # of ten minutes
LEFT_OUT = "left out by --quick"


class Report:
    """Items as they come: printed and written at once, so that nothing is lost when something else ends this. An item passed, failed, or was not run, and says why."""

    def __init__(self, mode, path):
        self.path = path
        self.start_s = time.monotonic()
        self.save_to = path + ".part"
        self.content = {"mode": mode, "when": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"), "devices": {}, "items": []}

    def add(self, name, state, what, **facts):
        assert state in ("passed", "failed", "not run"), state
        self.content["items"].append({"name": name, "state": state, "what": what, **facts})
        print(f"{state:8} {name}: {what}", flush=True)
        self.save()

    def save(self):
        states = [item["state"] for item in self.content["items"]]
        self.content.update(seconds=round(time.monotonic() - self.start_s, 1), passed=all(s == "passed" for s in states))
        with open(self.save_to, "w", encoding="utf-8") as file:
            json.dump(self.content, file, indent=1)
            file.write("\n")
        os.replace(self.save_to, self.path)
        return states

    @contextlib.contextmanager
    def item(self, name):
        """What goes wrong inside is the end of that item alone."""
        try:
            yield
        except Exception as error:  # whatever it is: the items behind this one are still worth their time
            self.add(name, "failed", f"{type(error).__name__}: {error}")

    def left_s(self):
        return LIMIT_S - (time.monotonic() - self.start_s)

    def state_of(self, ended):
        """Of an item whose command did not end with 0: what hangs has failed, what the ten minutes cut short was not run to its end."""
        return "not run" if ended.code is None and self.left_s() < 1 else "failed"

    def write(self):
        """Returns the exit code that gpu_check.sh documents."""
        states = self.save()
        count = {s: states.count(s) for s in ("passed", "failed", "not run")}
        print(f"{count['passed']} passed, {count['failed']} failed, {count['not run']} not run, {self.content['seconds']} s; report: {self.path}")
        return 1 if count["failed"] else 3 if count["not run"] else 0


class Ended:
    """How a command ended: its code (None: it ran past its time and was killed), its output, the seconds that it took."""

    def __init__(self, code, out, err, seconds):
        self.code, self.out, self.err, self.seconds = code, out, err, round(seconds, 2)

    def reason(self):
        """Why it did not end with 0, in a line."""
        if self.code is None:
            return f"was ended after {self.seconds} s"
        lines = [line for line in (self.out + "\n" + self.err).splitlines() if line.strip()]
        said = [line for line in lines if line.startswith("error:")] or lines[-1:] or ["it said nothing"]
        return f"exit code {self.code}: {said[0]}"


def kill_session(leader):
    """Ends every process whose session `leader` leads."""
    for entry in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            if os.getsid(int(entry)) == leader:
                os.kill(int(entry), signal.SIGKILL)


def run(command, limit_s, **environment):
    """Runs a command in a session of its own, of which nothing is left after `limit_s`: also not the ranks of mpirun, which have process groups of their own."""
    start_s = time.monotonic()
    try:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace", start_new_session=True,
                                   env={**os.environ, **environment})
    except OSError as error:
        return Ended(127, "", str(error), 0)
    try:
        out, err = process.communicate(timeout=max(limit_s, 1))
        code = process.returncode
    except subprocess.TimeoutExpired:
        kill_session(process.pid)
        out, err = process.communicate(timeout=30)
        code = None
    return Ended(code, out, err, time.monotonic() - start_s)
