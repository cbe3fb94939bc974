"""The agent for aarch64: it compiles without a warning, starts, and its filter answers
to each system call as on this architecture. By a cross compiler and user-mode emulation:
the emulator is no kernel, so no cell is made here."""

import glob
import os
import re
import shutil
import subprocess
import tempfile
import unittest

from lib.service import PATIENCE, ROOT

CC = "aarch64-linux-gnu-gcc"
EMULATOR = "qemu-aarch64-static"
KILL = 0x80000000
WARNINGS = ("-Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wformat=2 "
            "-Wimplicit-fallthrough -Wvla -Wundef -Werror").split()


def run(*words, data=b"", seconds=120):
    done = subprocess.run(words, cwd=ROOT, input=data, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          timeout=seconds * PATIENCE)
    if done.returncode:
        raise AssertionError("%s: %s" % (words[0], done.stdout.decode(errors="replace")[-3000:]))
    return done.stdout.decode(errors="replace")


def names(compiler):
    """{number: name} of an architecture's system calls."""
    text = run(compiler, "-dM", "-E", "-", data=b"#include <asm/unistd.h>\n")
    return {int(number): name for name, number in re.findall(r"^#define __NR_(\w+) (\d+)$", text, re.M)}


class Aarch64(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        for tool in (CC, EMULATOR):
            if not shutil.which(tool):
                raise unittest.SkipTest(tool + " is not installed")
        cls.dir = tempfile.mkdtemp(prefix="pd-aarch64-")
        cls.addClassCleanup(shutil.rmtree, cls.dir, ignore_errors=True)

    def compile(self, compiler, name, *sources, warnings=WARNINGS):
        path = os.path.join(self.dir, name)
        run(compiler, "-std=gnu11", "-static", "-O1", *warnings, "-D_GNU_SOURCE", "-I.", "-o", path, *sources)
        return path

    def test_the_agent_compiles(self):
        sources = sorted(os.path.relpath(path, ROOT) for path in glob.glob(os.path.join(ROOT, "agent", "*.c")))
        path = self.compile(CC, "agent", *sources, "common/proto.c", "common/slice.c")
        with open(path, "rb") as file:
            head = file.read(20)
        self.assertEqual((head[:5], head[18]), (b"\x7fELF\x02", 183), "no 64-bit program for aarch64")

    def answers(self, compiler, *start):
        """{(name, argument): answer}, and the answer to another architecture's calls"""
        path = self.compile(compiler, "filter-" + compiler, "tests/fixtures/filter_answers.c", warnings=())
        known, found = names(compiler), {}
        foreign = None
        for line in run(*start, path).splitlines():
            number, argument, answer = line.split()
            if number == "-1":
                foreign = int(answer, 16)
            elif int(number) in known:
                found[known[int(number)], argument] = int(answer, 16)
        return found, foreign

    def test_its_filter_answers_as_here(self):
        here, foreign_here = self.answers("gcc")
        there, foreign_there = self.answers(CC, EMULATOR)
        self.assertEqual((foreign_here, foreign_there), (KILL, KILL))
        both = sorted(here.keys() & there.keys())
        self.assertGreater(len(both), 1200)
        self.assertEqual([(key, hex(here[key]), hex(there[key])) for key in both if here[key] != there[key]], [])
        only = sorted({name for name, _ in there.keys() - here.keys()})
        allowed = [name for name in only if there[name, "0"] == 0x7fff0000]
        self.assertEqual(allowed, [], "allowed on aarch64, and not known here")


if __name__ == "__main__":
    unittest.main()
