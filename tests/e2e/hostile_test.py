"""Programs that do their worst end with the right cause and harm only themselves."""

import time
import unittest

from lib.service import Service, manifest, short_form

FORK_BOMB = """
import os
while True:
    try:
        os.fork()
    except OSError:
        pass
"""
DAEMON = """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for fd in range(3):
            os.close(fd)
        open(os.path.join(os.getcwd(), 'mark'), 'w').write('x')
        time.sleep(1000)
    os._exit(0)
os.wait()
print('parent done')
"""
WRITE_EVERYWHERE = """
import os
n = 0
for fd in range(3, 256):
    try:
        os.write(fd, b'\\0\\0\\0\\5\\7junkjunkjunk')
        n += 1
    except OSError:
        pass
for pid in os.listdir('/proc'):
    if not pid.isdigit():
        continue
    try:
        fds = os.listdir('/proc/%s/fd' % pid)
    except OSError:
        continue
    if int(pid) == os.getpid():
        continue
    for fd in fds:
        try:
            with open('/proc/%s/fd/%s' % (pid, fd), 'wb', 0) as f:
                f.write(b'\\0\\0\\0\\5\\7junk')
        except OSError:
            pass
print('still here')
"""
KILL_ALL = """
import os, signal
try:
    os.kill(-1, signal.SIGKILL)
except OSError:
    pass
try:
    os.kill(1, signal.SIGKILL)
except OSError:
    pass
print('alive')
"""


class Hostile(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        pool = manifest("cage", minSize=1, maxSize=1, languages="[python, bash]",
                        recycle="{share: true}",
                        resources='{cpu: "1", memory: 128Mi, pids: 64, disk: 32Mi}',
                        run="{timeout: 10s, maxTimeout: 1m, maxOutput: 64Ki}")
        cls.service = Service(short_form(1, 1), pools={"cage": pool})
        cls.addClassCleanup(cls.service.close)
        cls.service.start()
        cls.service.wait_sandboxes(2)

    def attack(self, code, language="python", **more):
        """The attack's answer, once both pools are known to have survived it."""
        bystander = self.service.sandboxes("default")[0]["Id"]
        answer = self.service.execute(code, language, pool="cage", **more)
        after = self.service.execute("print('fine')", pool="cage")
        self.assertEqual(after["output"], "fine\n", "a later run suffered: %s" % after)
        self.service.hello()
        self.assertEqual([c["Id"] for c in self.service.sandboxes("default", "running")],
                         [bystander], "another sandbox was harmed")
        return answer

    def ends(self, answer, *causes):
        self.assertIn(answer["status"], causes, answer)
        self.assertFalse(answer["success"], answer)

    def test_exit_codes_and_signals(self):
        for code, exit_code, signal in (("raise SystemExit(3)", 3, None),
                                        ("import os; os.kill(os.getpid(), 9)", 137, 9),
                                        ("import os; os.abort()", 134, 6),
                                        ("raise SystemExit(137)", 137, None)):
            with self.subTest(code):
                answer = self.attack(code)
                self.assertEqual(answer["exit_code"], exit_code, answer)
                self.assertFalse(answer["success"])
                self.assertEqual(answer["status"], "signaled" if signal else "exited", answer)

    def test_fork_bomb(self):
        self.ends(self.attack(FORK_BOMB, timeout=3), "timed_out", "signaled", "exited",
                  "memory_exceeded")

    def test_shell_fork_bomb(self):
        answer = self.attack(":(){ :|:& };:; wait; sleep 30", "bash", timeout=3)
        self.assertIn(answer["status"], ("timed_out", "exited", "signaled"), answer)

    def test_memory(self):
        self.ends(self.attack("x = bytearray()\nwhile True: x += bytes(1 << 20)"),
                  "memory_exceeded")

    def test_memory_in_a_child(self):
        code = "python3 -c 'x = bytearray(b\"x\") * (1 << 30); print(len(x))'; echo after; exit 4"
        answer = self.attack(code, "bash")
        self.assertNotIn("1073741824", answer["output"])

    def test_disk(self):
        code = ("import sys\n"
                "for place in ('.', '/tmp', '/dev/shm', '/var/tmp'):\n"
                "    try:\n"
                "        with open(place + '/big', 'wb', 0) as f:\n"
                "            while True: f.write(bytes(1 << 20))\n"
                "    except OSError as e: print(place, e.errno)\n")
        answer = self.attack(code, timeout=20)
        self.assertIn(answer["status"], ("exited", "memory_exceeded"), answer)

    def test_nothing_stays_on_disk(self):
        self.attack("open('/tmp/left', 'w').write('x'); open('left', 'w').write('x')")
        answer = self.service.execute(
            "import os; print(os.path.exists('/tmp/left'), os.path.exists('left'))", pool="cage")
        self.assertEqual(answer["output"], "False False\n")

    def test_endless_print(self):
        answer = self.attack("while True: print('y' * 1000)", timeout=5)
        self.ends(answer, "output_exceeded", "timed_out")
        self.assertTrue(answer["truncated"], "the cap was reached without a word")
        self.assertLessEqual(len(answer["stdout"]), 64 * 1024)

    def test_ignores_sigterm(self):
        began = time.monotonic()
        answer = self.attack("import signal, time\n"
                             "for s in range(1, 32):\n"
                             "    try: signal.signal(s, signal.SIG_IGN)\n"
                             "    except (OSError, ValueError): pass\n"
                             "while True: time.sleep(1)", timeout=2)
        self.ends(answer, "timed_out")
        self.assertLess(time.monotonic() - began, 15)

    def test_closes_its_own_stdout(self):
        answer = self.attack("import os; os.close(1); os.close(2); os.close(0); os._exit(5)")
        self.assertEqual((answer["status"], answer["exit_code"]), ("exited", 5), answer)

    def test_closed_stdout_but_lives_on(self):
        answer = self.attack("import os, time; os.close(0); os.close(1); os.close(2); time.sleep(60)",
                             timeout=2)
        self.ends(answer, "timed_out")

    def test_kill_everyone(self):
        answer = self.attack(KILL_ALL)
        self.assertIn(answer["status"], ("exited", "signaled"), answer)

    def test_writes_to_every_descriptor(self):
        answer = self.attack(WRITE_EVERYWHERE)
        self.assertEqual((answer["status"], answer["output"]), ("exited", "still here\n"), answer)

    def test_daemons_die_with_their_run(self):
        answer = self.attack(DAEMON)
        self.assertEqual(answer["output"], "parent done\n", answer)
        code = ("import os\nfound = []\n"
                "for p in os.listdir('/proc'):\n"
                "    if p.isdigit():\n"
                "        try: cmd = open('/proc/%s/cmdline' % p).read()\n"
                "        except OSError: continue\n"
                "        if 'sleep' in cmd: found.append(cmd)\n"
                "print(found)\n")
        self.assertEqual(self.service.execute(code, pool="cage")["output"], "[]\n")
        top = self.service.engine.call(
            "GET", "/containers/%s/top" % self.service.sandboxes("cage")[0]["Id"])[1]
        self.assertNotIn("sleep(1000)", str(top))

    def test_daemon_does_not_hold_the_answer(self):
        began = time.monotonic()
        answer = self.attack("sleep 1000 & setsid sleep 1000 & echo started", "bash", timeout=20)
        self.assertEqual(answer["output"], "started\n", answer)
        self.assertLess(time.monotonic() - began, 15)

    def test_output_that_is_not_text(self):
        answer = self.attack("import os; os.write(1, bytes(range(256)))")
        self.assertEqual(answer["status"], "exited")

    def test_cpu_hog_is_timed_out(self):
        self.ends(self.attack("while True: pass", timeout=1), "timed_out", "cpu_exceeded")


if __name__ == "__main__":
    unittest.main()
