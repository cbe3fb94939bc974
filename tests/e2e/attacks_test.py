"""Every attack of tests/attacks is held off, for every isolation, and succeeds
where its defence is taken away: in a plain container, with the options that the
attack's "# control:" line names. Words there that are no option:

    exec     all steps in one container that goes on living, as root
    follow   what was asked for is read by somebody who follows links
    inherit  with a descriptor that was left open
    stdout   with nobody between the program and the wire
    storm    with nobody to end what the program leaves behind
"""

import glob
import os
import re
import shlex
import shutil
import struct
import subprocess
import threading
import time
import unittest

from lib.own_engine import OwnEngine
from lib.service import IMAGE, PATIENCE, ROOT, Service, binary, manifest, short_form

FOLDER = os.path.join(ROOT, "tests", "attacks")
FINDING = ("exec", "follow", "inherit", "stdout", "storm")
SECONDS = 120 * PATIENCE


class Attack:
    def __init__(self, path):
        self.name = os.path.basename(path).split(".")[0]
        self.language = "python3" if path.endswith(".py") else "bash"
        with open(path) as file:
            text = file.read()
        self.head = dict(re.findall(r"^# ([a-z]+): (.*)$", text, re.M))
        self.steps = self.head.get("steps", "control").split()
        self.control = shlex.split(self.head["control"])
        if self.language == "python3":
            with open(os.path.join(FOLDER, "prelude.py")) as file:
                text = file.read() + "\n" + text
        self.code = text.encode()

    def command(self, step):
        return [self.language, "-" if self.language == "python3" else "-s", step]


ATTACKS = [Attack(path) for path in sorted(glob.glob(FOLDER + "/*.*"))
           if os.path.basename(path) != "prelude.py"]


def docker(*words, data=None, check=False):
    done = subprocess.run(["docker"] + list(words), input=data, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=SECONDS, check=check)
    if done.returncode == 125:
        raise RuntimeError("docker %s: %s" % (words[0], done.stdout.decode()[-500:]))
    return done.stdout


def selftest(service, pool, name=None):
    """(exit status, output) of `paddock selftest` against one pool."""
    command = [binary(), "selftest", "--url", "http://127.0.0.1:%d" % service.port, "--pool", pool]
    done = subprocess.run(command + ([name] if name else []), stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, env=service.env, timeout=SECONDS)
    return done.returncode, done.stdout.decode(errors="replace")


class Held(unittest.TestCase):
    ISOLATIONS = ("cell", "uid", "container")

    @classmethod
    def setUpClass(cls):
        pools = {"iso-" + name: manifest("iso-" + name, minSize=1, maxSize=2, isolation=name,
                                         languages="[python, bash]",
                                         resources='{cpu: "1", memory: 256Mi, pids: 64, disk: 32Mi}')
                 for name in cls.ISOLATIONS}
        cls.service = Service(short_form(0, 1), pools=pools)
        cls.addClassCleanup(cls.service.close)
        cls.service.start()
        for name in cls.ISOLATIONS:
            cls.service.wait_sandboxes(1, "iso-" + name)

    def attack(self, isolation, name):
        status, output = selftest(self.service, "iso-" + isolation, name)
        self.assertEqual(status, 0, output)
        self.assertIn("1 held, 0 not", output)

    def test_isolation_is_what_was_asked_for(self):
        """Else these tests would say nothing about cells."""
        if os.environ.get("PADDOCK_EXPECT_CELLS") == "0":
            self.skipTest("PADDOCK_EXPECT_CELLS=0")
        for name in self.ISOLATIONS:
            self.assertRegex(self.service.log(), r"sandbox ready.* pool=iso-%s .*isolation=%s" % (name, name))

    def test_a_broken_attack_is_told(self):
        """selftest against a service that answers as if an attack had succeeded."""
        import http.server
        import threading

        class Liar(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                said = b"fine\\n" if b"echo fine" in body else b"BROKEN: everything\\n"
                answer = b'{"status":"exited","exit_code":0,"output":"%s","stdout":"%s"}' % (said, said)
                self.send_response(200)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *words):
                pass

        server = http.server.HTTPServer(("127.0.0.1", 0), Liar)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.shutdown)
        done = subprocess.run([binary(), "selftest", "--url", "http://127.0.0.1:%d" % server.server_port,
                               "mounts", "clock"], stdout=subprocess.PIPE, env=self.service.env)
        self.assertEqual(done.returncode, 1, done.stdout)
        self.assertIn(b"0 held, 2 not", done.stdout)
        self.assertIn(b"-> everything", done.stdout)


class Control(unittest.TestCase):
    def succeeds(self, output, attack):
        text = output.decode(errors="replace")
        if attack.name in ("signals", "killer"):  # success: nobody lives to tell
            self.assertNotIn("HELD", text)
            return
        self.assertIn("BROKEN", text[:2000] + text[-2000:])

    def run_plain(self, attack, options, step="control"):
        network = [] if "--network" in options else ["--network", "none"]
        return docker("run", "--rm", "-i", "-w", "/workspace", *network, *options, IMAGE,
                      *attack.command(step), data=attack.code)

    def in_one_container(self, attack, *options, ends_with=None):
        name = docker("run", "-d", "--rm", "--network", "none", "-w", "/workspace", *options, IMAGE, "sleep", "300",
                      check=True).decode().strip()
        try:
            output = b""
            for step in attack.steps:
                output = docker("exec", "-i", name, *attack.command(step), data=attack.code)
            return output + docker("exec", name, *ends_with) if ends_with else output
        finally:
            docker("rm", "-f", name)

    def control(self, attack):
        kind = attack.control[0]
        if kind == "exec":
            self.succeeds(self.in_one_container(attack), attack)
        elif kind == "inherit":
            command = ["sh", "-c", 'exec 5</etc/passwd; exec "$0" "$@"'] + attack.command("")
            self.succeeds(docker("run", "--rm", "-i", "--network", "none", IMAGE, *command,
                                 data=attack.code), attack)
        elif kind == "stdout":
            output = self.run_plain(attack, [])
            length, number = struct.unpack_from(">IB", output)
            self.assertEqual((length, number), (9 + 26, 72), "no frame on the wire")
        elif kind == "follow":
            output = self.in_one_container(attack, ends_with=["cat", "link.txt"])
            self.assertIn(b"root:x:0", output)
        elif kind == "storm":
            output = self.in_one_container(attack, "--pids-limit", "200",
                                           ends_with=["sh", "-c", "ls -d /proc/[0-9]* | wc -l"])
            count = re.findall(rb"(\d+)\s*$", output)
            self.assertTrue(not count or int(count[0]) > 50, output[-300:])  # none: no room for ls
        else:
            self.succeeds(self.run_plain(attack, attack.control), attack)


def add_tests():
    for attack in ATTACKS:
        for isolation in Held.ISOLATIONS:
            def held(self, isolation=isolation, name=attack.name):
                self.attack(isolation, name)
            setattr(Held, "test_%s_%s" % (isolation, attack.name), held)

        def control(self, attack=attack):
            self.control(attack)
        setattr(Control, "test_control_" + attack.name, control)


add_tests()


HOLD = """
import ctypes, sys, time
libc = ctypes.CDLL(None)
count = 0
while libc.inotify_init1(0) >= 0:
    count += 1
print(count, flush=True)
time.sleep(float(sys.argv[1]))
"""


class Quotas(unittest.TestCase):
    """What the kernel counts by user is not shared by sandboxes."""

    def test_of_sandboxes(self):
        pools = {name: manifest(name, minSize=1, maxSize=1, isolation=isolation, languages="[python]")
                 for name, isolation in (("one", "cell"), ("two", "cell"), ("three", "uid"), ("four", "uid"))}
        with Service(short_form(0, 1), pools=pools) as service:
            for name in pools:
                service.wait_sandboxes(1, name)
            for holder, other in (("one", "two"), ("three", "four")):
                held = threading.Thread(target=service.execute, args=(HOLD,),
                                        kwargs={"pool": holder, "args": ["4"], "timeout": 20})
                held.start()
                time.sleep(1.5)  # the holder holds
                answer = service.execute(HOLD, pool=other, args=["0"], timeout=20)
                held.join()
                self.assertGreater(int(answer["output"]), 0, answer)

    def test_control_of_one_user(self):
        options = ["--network", "none", "-u", "49000", IMAGE, "python3", "-c", HOLD]
        name = docker("run", "-d", "--rm", *options, "30", check=True).decode().strip()
        try:
            while not docker("logs", name).strip():
                time.sleep(0.1)
            self.assertEqual(docker("run", "--rm", *options, "0").strip(), b"0")
        finally:
            docker("rm", "-f", name)


# crun refuses to work where cgroup v1 and v2 are mounted at once.
WITHOUT_CGROUP2 = ["unshare", "-m", "sh", "-c",
                   'umount /sys/fs/cgroup/unified 2>/dev/null; exec "$@"', "engine"]


class Crun(unittest.TestCase):
    """Cells, and what one run may see of another, under another runtime."""

    @classmethod
    def setUpClass(cls):
        if os.geteuid() != 0 or not shutil.which("dockerd") or not shutil.which("crun"):
            raise unittest.SkipTest("an engine with runtime crun needs root, dockerd and crun")
        cls.own = OwnEngine("--add-runtime", "crun=" + shutil.which("crun"), prefix=WITHOUT_CGROUP2)
        cls.addClassCleanup(cls.own.remove)
        cls.own.start()
        cls.own.load(IMAGE)

    def test_attacks_under_crun(self):
        pools = {"iso-" + name: manifest("iso-" + name, minSize=1, maxSize=2, isolation=name,
                                         runtime="crun", languages="[python, bash]")
                 for name in Held.ISOLATIONS}
        with Service(short_form(0, 1), pools=pools, socket_path=self.own.socket) as service:
            for name in Held.ISOLATIONS:
                sandbox = service.wait_sandboxes(1, "iso-" + name)[0]
                self.assertEqual(service.engine.inspect(sandbox["Id"])["HostConfig"]["Runtime"], "crun")
                status, output = selftest(service, "iso-" + name)
                self.assertEqual(status, 0, "%s:\n%s" % (name, output))
                self.assertRegex(service.log(), r"sandbox ready.* pool=iso-%s .*isolation=%s" % (name, name))


if __name__ == "__main__":
    unittest.main()
