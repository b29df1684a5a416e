#!/usr/bin/env python3
"""Enqueues the articles of a shop, and says how far their images are.

    python3 catalogue.py BATCH

Needs only Python's standard library and `imagemill` with its settings (IMAGEMILL names another binary). It may be run as often as you
like, from cron as well: an article that is in the batch already is not made or paid for again.
"""

import json
import os
import subprocess
import sys
import tempfile

IMAGEMILL = os.environ.get("IMAGEMILL", "imagemill")

ARTICLES = [
    {"sku": "sku-1", "name": "running shoe", "colour": "red", "views": 2},
    {"sku": "sku-2", "name": "straw hat", "colour": "natural", "views": 1},
    {"sku": "sku-3", "name": "leather belt", "colour": "dark brown", "views": 1},
]


def line(article):
    """A job. Its custom_id is what makes it the same job tomorrow."""
    return {
        "custom_id": article["sku"],
        "prompt": f"studio photo of a {article['name']}, {article['colour']}, on white",
        "size": "1K",
        "n": article["views"],
    }


def imagemill(*arguments):
    """Runs a command, and returns its exit code and what it printed as JSON."""
    run = subprocess.run([IMAGEMILL, *arguments, "--json"], stdout=subprocess.PIPE, text=True)
    return run.returncode, json.loads(run.stdout) if run.stdout.strip() else None


def main(batch):
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl", encoding="utf-8") as file:
        for article in ARTICLES:
            file.write(json.dumps(line(article)) + "\n")
        file.flush()
        code, enqueued = imagemill("enqueue", file.name, "--batch", batch)
    # 65: a line is wrong, or asks for something else than the job that is there. Both are said on stderr.
    if enqueued is None or code not in (0, 65):
        return code
    print(f"{enqueued['enqueued']} new, {enqueued['duplicates']} there already, {enqueued['changed']} changed, "
          f"{enqueued['invalid']} wrong")
    code_of_show, shown = imagemill("batch", "show", batch)
    if shown is None:
        return code_of_show
    jobs, images = shown["jobs"], shown["images"]
    print(f"batch {shown['batch']} is {shown['state']}: {jobs['succeeded']} of {jobs['total']} articles done, "
          f"{images['stored']} of {images['expected']} images stored")
    return code


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1]))
