"""The official Python SDK's classic surface against the simulator.

    sdk_surface.py BASE_URL [--account FILE]

Runs every call of `dashscope.aigc.image_generation` for text-to-image, editing, boxes, sets and local files,
prints a line for each thing that held, and ends with a traceback and a status other than 0 at the first that
did not. The simulator must run with the settings of simulator.toml, and be fresh. FILE receives what the script
was told, for comparison with the ledger.
"""

import loopback  # First: its guard must stand before the SDK is imported.

import argparse
import pathlib
import tempfile

import dashscope

import checks
import checks_aio
from account import Account
from bench import Bench
from simulator import Simulator

SDK_VERSION = "2.0.2"


def main():
    arguments = argparse.ArgumentParser(
        description="Runs the official SDK's image calls against the simulator."
    )
    arguments.add_argument("base_url", metavar="BASE_URL")
    arguments.add_argument("--account", metavar="FILE", type=pathlib.Path)
    arguments = arguments.parse_args()

    assert dashscope.__version__ == SDK_VERSION, f"this is version {dashscope.__version__} of the SDK"
    dashscope.base_http_api_url = arguments.base_url
    dashscope.api_key = "sk-of-the-python-sdk"
    account = Account()
    with tempfile.TemporaryDirectory(prefix="imagemill-sdk-") as folder:
        bench = Bench(Simulator(arguments.base_url), account, pathlib.Path(folder))
        for check in checks.ALL + checks_aio.ALL:
            for line in check(bench):
                print(f"ok  {line}", flush=True)
    assert not loopback.strays(), f"something looked beyond loopback: {loopback.strays()}"
    print("ok  nothing beyond 127.0.0.1 was looked up or contacted", flush=True)
    if arguments.account:
        account.write(arguments.account)


if __name__ == "__main__":
    main()
