"""What the script was told, written down to be held against the simulator's ledger."""

import hashlib
import json


class Account:
    """Tasks as the SDK showed them, and calls that the ledger counts."""

    def __init__(self):
        self._tasks = {}
        self._counts = {
            "creates": 0,
            "sync_creates": 0,
            "wrong_keys": 0,
            "invalid": 0,
            "uploads": 0,
            "downloads": 0,
        }

    def count(self, what, by=1):
        """Counts calls of a kind."""
        self._counts[what] += by

    def created(self, request_id, task_id):
        """A create call was accepted. A synchronous one shows no task id: None."""
        assert request_id not in self._tasks, f"two create calls have the request id {request_id}"
        self._tasks[request_id] = {"task_id": task_id, "state": "PENDING", "images": []}

    def ended(self, request_id, state, images=()):
        """A task ended, with these files."""
        digests = [hashlib.sha256(image).hexdigest() for image in images]
        self._tasks[request_id].update(state=state, images=digests)

    def task_ids(self):
        """The tasks that have an id, oldest first."""
        return [task["task_id"] for task in self._tasks.values() if task["task_id"] is not None]

    def write(self, path):
        """Writes all of it as JSON."""
        with open(path, "w", encoding="utf-8") as file:
            json.dump({"tasks": self._tasks, **self._counts}, file, indent=1)
