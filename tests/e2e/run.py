#!/usr/bin/env python3
"""Runs the end-to-end tests: every *_test.py of this folder, against the service
at $PADDOCK_BINARY and the real Docker engine.

    tests/e2e/run.py [-j N] [WORD...]   only tests whose name contains one of the words

With -j, N files of tests run side by side, each in a process of its own; what a
file says is printed when it has ended, and a line for it goes to stderr at once.

A test that takes longer than STUCK_AFTER_S ends its file: every thread's stack is
printed, the file counts as failed, and what it started is killed.

A test that cannot run prints "SKIP e2e/name: why". The last line is
"N passed, N failed, N skipped"."""

import argparse
import concurrent.futures
import contextlib
import faulthandler
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import unittest

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
STUCK_AFTER_S = 900  # the longest takes 300 s, on an engine that has no image of its base yet


def expect_end_of_test():
    """From now on the next test's end, or the next set-up's, must not take too long."""
    faulthandler.dump_traceback_later(STUCK_AFTER_S, exit=True)


class Result(unittest.TestResult):
    def __init__(self):
        super().__init__()
        self.passed = 0

    @staticmethod
    def name(test):
        words = test.id().split(".")
        return "e2e/" + ".".join([words[0].replace("_test", "")] + words[-1:])

    def startTest(self, test):
        super().startTest(test)
        self.began = time.monotonic()
        expect_end_of_test()

    def stopTest(self, test):
        super().stopTest(test)
        expect_end_of_test()

    def addSuccess(self, test):
        self.passed += 1
        print("ok   %s (%.1f s)" % (self.name(test), time.monotonic() - self.began), flush=True)

    def _bad(self, test, err):
        print("FAIL %s" % self.name(test), flush=True)
        print(self.story(err), flush=True)

    @staticmethod
    def story(err):
        """The traceback from our own files on."""
        trace = err[2]
        while trace and not trace.tb_frame.f_code.co_filename.startswith(HERE):
            trace = trace.tb_next
        return "".join(traceback.format_exception(err[0], err[1], trace))

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self._bad(test, err)

    def addError(self, test, err):
        super().addError(test, err)
        self._bad(test, err)

    def addSubTest(self, test, subtest, err):
        if err is not None:
            super().addSubTest(test, subtest, err)
            print("FAIL %s %s" % (self.name(test), subtest._subDescription()), flush=True)
            print(self.story(err), flush=True)

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        print("SKIP %s: %s" % (self.name(test), reason), flush=True)


def each(suite):
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from each(test)
        else:
            yield test


def file_of(test):
    return type(test).__module__


def choose(words, only):
    found = unittest.defaultTestLoader.discover(HERE, "*_test.py", HERE)
    return [t for t in each(found)
            if (not words or any(w in t.id() for w in words)) and (not only or file_of(t) == only)]


def run_here(chosen):
    """(passed, failed, skipped)"""
    result = Result()
    expect_end_of_test()
    unittest.TestSuite(chosen).run(result)
    faulthandler.cancel_dump_traceback_later()
    return result.passed, len(result.failures) + len(result.errors), len(result.skipped)


def run_file(name, words):
    """Likewise, of one file in a process of its own."""
    began = time.monotonic()
    with tempfile.TemporaryFile() as said:  # not a pipe: what a test left behind would hold it
        child = subprocess.Popen([sys.executable, __file__, "--file", name] + words,
                                 stdout=said, stderr=subprocess.STDOUT, start_new_session=True)
        child.wait()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        said.seek(0)
        text = said.read().decode(errors="replace").rstrip("\n")
    body, _, last = text.rpartition("\n")
    found = re.fullmatch(r"(\d+) passed, (\d+) failed, (\d+) skipped", last)
    print(body if found else "FAIL e2e/%s: it ended early\n%s" % (name, text), flush=True)
    print("     %s: %s (%.0f s)" % (name, last if found else "it ended early",
                                   time.monotonic() - began), file=sys.stderr, flush=True)
    return tuple(int(n) for n in found.groups()) if found else (0, 1, 0)


def run_side_by_side(chosen, words, jobs):
    names = sorted({file_of(t) for t in chosen}, reverse=True,  # the longest first
                   key=lambda name: os.path.getsize(os.path.join(HERE, name + ".py")))
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        counts = list(pool.map(lambda name: run_file(name, words), names))
    return tuple(map(sum, zip(*counts)))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("-j", dest="jobs", type=int, default=1)
    parser.add_argument("--file", dest="only")
    parser.add_argument("words", nargs="*")
    args = parser.parse_args()
    chosen = choose(args.words, args.only)
    if not chosen:
        print("no test matches", file=sys.stderr)
        passed, failed, skipped = 0, 1, 0
    elif args.jobs > 1:
        passed, failed, skipped = run_side_by_side(chosen, args.words, args.jobs)
    else:
        passed, failed, skipped = run_here(chosen)
    print("%d passed, %d failed, %d skipped" % (passed, failed, skipped))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
