#!/usr/bin/env python3
"""Runs the end-to-end tests: every *_test.py of this folder, against the service
at $PADDOCK_BINARY and the real Docker engine.

    tests/e2e/run.py [WORD...]      only tests whose name contains one of the words

A test that cannot run prints "SKIP e2e/name: why". The last line is
"N passed, N failed, N skipped"."""

import os
import sys
import time
import traceback
import unittest

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)


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


def main():
    words = sys.argv[1:]
    found = unittest.defaultTestLoader.discover(HERE, "*_test.py", HERE)
    chosen = [t for t in each(found)
              if not words or any(w in t.id() for w in words)]
    result = Result()
    unittest.TestSuite(chosen).run(result)
    failed = len(result.failures) + len(result.errors)
    if result.passed + failed + len(result.skipped) == 0:
        print("no test matches", file=sys.stderr)
        failed = 1
    print("%d passed, %d failed, %d skipped" % (result.passed, failed, len(result.skipped)))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
