"""The simulator's own controls: its ledger and its clock. The SDK has no part in this."""

import json
import time
import urllib.request

# Longest wait for something to happen, in seconds: far more than it takes, so that it only ends what hangs.
_DEADLINE_S = 60


class Simulator:
    """The simulator behind a base URL."""

    def __init__(self, base_url):
        self._controls = base_url.removesuffix("/api/v1") + "/_sim/"

    def ledger(self):
        """The whole ledger, as JSON."""
        return self._call("ledger")

    def advance(self, seconds):
        """Moves the simulator's clock on."""
        self._call("clock", json.dumps({"advance_s": seconds}).encode())

    def until_queried(self, task_id):
        """Returns once somebody has asked for this task's state."""
        started = time.monotonic()
        while True:
            (task,) = [task for task in self.ledger()["tasks"] if task["task_id"] == task_id]
            if task["queries"] > 0:
                return
            assert time.monotonic() - started < _DEADLINE_S, f"nobody asks for the task: {task}"
            time.sleep(0.02)

    def _call(self, what, body=None):
        with urllib.request.urlopen(self._controls + what, data=body, timeout=_DEADLINE_S) as answer:
            return json.load(answer)
