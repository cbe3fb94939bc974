#!/usr/bin/env python3
"""Records which system calls the languages of the catalogue make.

    scripts/trace_syscalls.py [IMAGE]       default: paddock-sandbox:all

Runs every program of tests/fixtures/syscalls/<language>/ in IMAGE under strace,
compiled and run as conf/languages.yaml says, with no filter but without network,
and rewrites tests/fixtures/syscalls/x86_64: one line for each call, its number
and the languages that made it. tests/unit/filter_test.c holds the agent's filter
against that file. Needs root, strace and a Docker engine on this machine, whose
C library the image must be able to load beside its own (Debian 12)."""

import os
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PROGRAMS = os.path.join(ROOT, "tests", "fixtures", "syscalls")
INPUT = "a line\n" * 3
SECONDS = 120


def flow_list(text):
    return [part.strip().strip("\"'") for part in text.split(",") if part.strip()]


def languages():
    """name -> {file, compile, run, env} of the catalogue's flow lists."""
    with open(os.path.join(ROOT, "conf", "languages.yaml")) as file:
        text = re.sub(r"\n\s{10,}", " ", file.read())
    found = {}
    for entry in re.split(r"\n  - name: ", text)[1:]:
        fields = dict(re.findall(r"\n    (file|compile|run): (.*)", entry))
        env = re.search(r"\n    env: {(.*)}", entry)
        found[entry.split()[0]] = {
            "file": fields["file"].split("#")[0].strip(),
            "compile": flow_list(fields["compile"].split("[")[1].split("]")[0])
            if "compile" in fields else None,
            "run": flow_list(fields["run"].split("[")[1].split("]")[0]),
            "env": [re.sub(r":\s*", "=", item.strip(), count=1).replace('"', "")
                    for item in env.group(1).split(",")] if env else [],
        }
    return found


def trace(image, folder, language, command):
    """The names of the calls that a command makes in the container."""
    out = os.path.join(folder, "trace")
    loader = "/host/lib64/ld-linux-x86-64.so.2"
    strace = [loader, "--library-path", "/host/usr/lib/x86_64-linux-gnu", "/host/usr/bin/strace",
              "-f", "-qq", "-o", "/workspace/trace", "-e", "trace=all", "-e", "signal=none",
              "-e", "inject=clone3,io_uring_setup:error=ENOSYS"]
    env = [word for item in ["HOME=/workspace"] + language["env"] for word in ("-e", item)]
    done = subprocess.run(
        ["timeout", str(SECONDS), "docker", "run", "--rm", "-i", "--network", "none", "-u", "50000:50000",
         "--cap-drop", "ALL", "--cap-add", "SYS_PTRACE", "--security-opt", "seccomp=unconfined",
         "-v", folder + ":/workspace", "-v", "/:/host:ro", "-w", "/workspace", "--tmpfs", "/tmp:exec"]
        + env + ["--entrypoint", strace[0], image] + strace[1:] + ["--"] + command,
        input=INPUT.encode(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    if done.returncode:
        print("%s ended with %d: %s" % (command[0], done.returncode, done.stderr.decode()[-600:]))
    if not os.path.exists(out):
        sys.exit("no trace of %s: is it in the image?" % command)
    with open(out, errors="replace") as file:
        text = file.read()
    os.unlink(out)
    calls = set(re.findall(r"^\d+\s+([a-z_0-9]+)\(", text, re.M))
    calls |= set("prctl:" + name for name in re.findall(r" prctl\((PR_\w+)", text))
    calls |= set("ioctl:" + name for name in re.findall(r" ioctl\(\d+, (?:.* or )?(\w+)", text))
    return calls


def record(image, name, language):
    calls = set()
    for program in sorted(os.listdir(os.path.join(PROGRAMS, name))):
        with tempfile.TemporaryDirectory() as folder:
            shutil.copy(os.path.join(PROGRAMS, name, program), os.path.join(folder, language["file"]))
            os.chmod(folder, 0o777)
            for command in (language["compile"], language["run"]):
                if command:
                    calls |= trace(image, folder, language, command)
            if name == "c":  # as in images built on musl
                subprocess.run(["musl-gcc", "-static", "-o", folder + "/main", folder + "/main.c"], check=True)
                calls |= trace(image, folder, language, language["run"])
    print("%-12s %3d calls" % (name, len(calls)))
    return calls


def number(name):
    """Of a call, or of a prctl option or an ioctl request ("ioctl:TCGETS")."""
    symbol = name.split(":")[1] if ":" in name else "__NR_" + name
    text = """#include <asm/unistd.h>
#include <linux/fs.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
int main(void) { printf("%%u", (unsigned)%s); }""" % symbol
    with tempfile.TemporaryDirectory() as folder:
        built = subprocess.run(["gcc", "-x", "c", "-", "-o", folder + "/n"], input=text.encode(),
                               stderr=subprocess.DEVNULL)
        if built.returncode:
            return None
        return subprocess.run([folder + "/n"], stdout=subprocess.PIPE).stdout.decode()


def main():
    image = sys.argv[1] if len(sys.argv) > 1 else "paddock-sandbox:all"
    users = {}
    for name, language in languages().items():
        for call in record(image, name, language):
            users.setdefault(call, []).append(name)
    known = {name: number(name) for name in users}
    with open(os.path.join(PROGRAMS, "x86_64"), "w") as file:
        file.write("# Written by scripts/trace_syscalls.py: call, number, the languages that made it.\n")
        for call in sorted(users):
            if known[call]:
                file.write("%s %s %s\n" % (call, known[call], " ".join(users[call])))


if __name__ == "__main__":
    main()
