#!/usr/bin/env python3
"""What runs inside the tests' virtual machine: parts, one after the other. A part is
tests/vm/NAME_vm.py, or some of the end-to-end tests. Each test prints a line as in
tests/e2e/run.py; the last line counts all. Exit status 75: boot again, and go on."""

import argparse
import json
import os
import re
import subprocess
import sys
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path[:0] = [HERE, os.path.join(ROOT, "tests", "e2e")]
import run  # noqa: E402  (tests/e2e/run.py)

STATE = "/var/lib/paddock-vm.json"
BOOT_AGAIN = 75

# The end-to-end tests that a platform can break; words of tests/e2e/run.py.
E2E = ["attacks_test.Held", "hostile_test", "runs_test", "agent_test", "filter_test", "direct_test",
       "crash_test.Crash.test_idle", "crash_test.Crash.test_run_under", "test_each_says_hello"]
# name, and what of it runs: words for e2e, else a module of this folder
PARTS = [("host", None), ("apparmor", None), ("gates", None), ("e2e", E2E), ("crun", None),
         ("unit", None), ("reboot", None)]


def run_module(name):
    run.HERE = HERE
    suite = unittest.defaultTestLoader.loadTestsFromName(name + "_vm")
    return run.run_here(list(run.each(suite)))


def run_e2e(words):
    with subprocess.Popen([sys.executable, os.path.join(ROOT, "tests", "e2e", "run.py")] + words,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        last = ""
        for line in process.stdout:
            last = line.strip()
            if not re.fullmatch(r"\d+ passed, \d+ failed, \d+ skipped", last):
                print(line, end="", flush=True)
    found = re.fullmatch(r"(\d+) passed, (\d+) failed, (\d+) skipped", last)
    if not found:
        print("FAIL e2e: it ended early", flush=True)
    return tuple(int(n) for n in found.groups()) if found else (0, 1, 0)


def load():
    try:
        with open(STATE) as file:
            return json.load(file)
    except FileNotFoundError:
        return {"done": [], "counts": [0, 0, 0]}


def save(state):
    with open(STATE, "w") as file:
        json.dump(state, file)
        file.flush()
        os.fsync(file.fileno())


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--boot", type=int, default=1)
    parser.add_argument("parts", nargs="*", help="names of parts; e2e:WORD for one end-to-end test")
    args = parser.parse_args()
    parts = PARTS
    if args.parts:
        parts = [(name, words) for name, words in PARTS if name in args.parts]
        parts += [(name, [name[4:]]) for name in args.parts if name.startswith("e2e:")]
    state = load()
    for name, words in parts:
        if name in state["done"]:
            continue
        began = time.monotonic()
        print("---- %s" % name, flush=True)
        if name == "reboot" and not state.get("rebooted"):
            state["rebooted"] = True
            save(state)
            import reboot_vm
            reboot_vm.before()
            return BOOT_AGAIN
        counts = run_e2e(words) if words else run_module(name)
        print("     %s took %.0f s" % (name, time.monotonic() - began), flush=True)
        state["counts"] = [a + b for a, b in zip(state["counts"], counts)]
        state["done"].append(name)
        save(state)
    print("%d passed, %d failed, %d skipped" % tuple(state["counts"]), flush=True)
    return 1 if state["counts"][1] or not state["counts"][0] else 0


if __name__ == "__main__":
    sys.exit(main())
