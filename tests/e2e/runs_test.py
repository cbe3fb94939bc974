"""What goes into a run and comes out of it, byte for byte."""

import hashlib
import threading
import time
import unittest

from lib.service import Service, manifest, short_form


class Runs(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        big = manifest("big", minSize=1, maxSize=1, languages="[python, bash]",
                       run="{maxOutput: 32Mi, maxCode: 4Mi}")
        cls.service = Service(short_form(2, 3), pools={"big": big})
        cls.addClassCleanup(cls.service.close)
        cls.service.start()
        cls.service.wait_sandboxes(3)

    def run_code(self, code, language="python", **more):
        answer = self.service.execute(code, language, **more)
        self.assertTrue(answer["success"], answer)
        return answer

    def test_streams_are_apart_and_together(self):
        answer = self.run_code("import sys; print('out'); print('err', file=sys.stderr)")
        self.assertEqual((answer["stdout"], answer["stderr"]), ("out\n", "err\n"))
        self.assertIn("out\n", answer["output"])

    def test_stdin_args_env(self):
        answer = self.run_code(
            "import sys, os; print(sys.stdin.read(), sys.argv[1:], os.environ['COLOUR'])",
            stdin="typed\n", args=["one", "two words", "", "*"], env={"COLOUR": "grün"})
        self.assertEqual(answer["output"], "typed\n ['one', 'two words', '', '*'] grün\n")

    def test_input_at_end_of_file(self):
        answer = self.service.execute("input()")
        self.assertEqual(answer["exit_code"], 1)
        self.assertIn("EOFError", answer["stderr"])

    def test_shell_sees_the_same(self):
        answer = self.run_code("read line; echo \"$line/$1/$COLOUR\"", "bash", stdin="a b\n",
                               args=["c"], env={"COLOUR": "red"})
        self.assertEqual(answer["output"], "a b/c/red\n")

    def test_the_services_environment_is_not_the_runs(self):
        answer = self.run_code("import os; print(sorted(os.environ))",)
        for name in ("EXECUTION_API_KEY", "DOCKER_HOST", "PADDOCK_STATE_DIR"):
            self.assertNotIn(name, answer["output"])

    def test_text_of_every_kind(self):
        text = "ä €\t😀\u0000\"\\ \r\n"
        answer = self.run_code("import sys; sys.stdout.write(sys.stdin.read())", stdin=text)
        self.assertEqual(answer["stdout"].replace("\r\n", "\n"), text.replace("\r\n", "\n"))

    def test_nothing_printed(self):
        answer = self.run_code("pass")
        self.assertEqual((answer["output"], answer["stdout_bytes"]), ("", 0))

    def test_big_stdin_and_output_arrive_whole(self):
        text = "".join("%07d\n" % i for i in range(1 << 18))  # 2 MiB
        answer = self.run_code("import sys; sys.stdout.write(sys.stdin.read())", stdin=text,
                               pool="big")
        self.assertEqual(hashlib.sha256(answer["stdout"].encode()).hexdigest(),
                         hashlib.sha256(text.encode()).hexdigest())
        self.assertFalse(answer["truncated"])

    def test_much_output(self):
        answer = self.run_code("import sys\nfor i in range(200000): print('%099d' % i)", pool="big")
        self.assertEqual(answer["stdout_bytes"], 200000 * 100)
        self.assertTrue(answer["stdout"].endswith("%099d\n" % 199999))

    def test_big_program(self):
        code = "x = 0\n" + "x += 1 # padding padding padding padding\n" * 20000 + "print(x)\n"
        self.assertEqual(self.run_code(code)["output"], "20000\n")

    def test_the_time_that_it_took(self):
        answer = self.run_code("import time; time.sleep(0.5)")
        self.assertGreaterEqual(answer["execution_time"], 0.5)
        self.assertLess(answer["execution_time"], 2)

    def agents_ticks(self):
        """CPU time of every sandbox's agent so far, in clock ticks."""
        ticks = 0
        for container in self.service.sandboxes(state="running"):
            pid = self.service.engine.inspect(container["Id"])["State"]["Pid"]
            with open("/proc/%d/stat" % pid) as file:
                ticks += sum(int(n) for n in file.read().rpartition(")")[2].split()[11:13])
        return ticks

    def test_an_idle_sandbox_does_nothing(self):
        """Interpreters of every kind wait, and nobody asks them."""
        for _ in range(4):
            self.run_code("print(1)")
            self.run_code("echo 1", "bash")
            self.run_code("console.log(1)", "javascript", pool="default")
        time.sleep(3)
        before = self.agents_ticks()
        time.sleep(3)
        self.assertLessEqual(self.agents_ticks() - before, 6)

    def test_cpu_time_of_all_processes_together(self):
        answer = self.service.execute("import os\nos.fork()\nos.fork()\nwhile True: pass",
                                      timeout=20, cpu_time=0.5)
        self.assertEqual("cpu_exceeded", answer["status"], answer)
        self.assertLess(answer["execution_time"], 10)
        self.assertEqual(137, answer["exit_code"])
        self.assertGreaterEqual(answer["usage"]["cpu"], 0.5)

    def test_timeout_of_half_a_second(self):
        answer = self.service.execute("import time; print('x', flush=True); time.sleep(9)",
                                      timeout=0.5)
        self.assertEqual((answer["status"], answer["output"]), ("timed_out", "x\n"), answer)
        self.assertLess(answer["execution_time"], 3)

    def test_every_caller_gets_the_answer_to_its_own(self):
        wrong = []

        def call(number):
            for turn in range(6):
                nonce = "%d-%d" % (number, turn)
                answer = self.service.execute("print(input())", stdin=nonce)
                if answer["output"] != nonce + "\n":
                    wrong.append((nonce, answer))
        threads = [threading.Thread(target=call, args=(i,)) for i in range(24)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(wrong, [])

    def test_nothing_of_one_run_reaches_the_next(self):
        self.run_code("import os\n"
                      "for place in ('.', '/tmp', '/var/tmp', '/dev/shm'):\n"
                      "    open(place + '/secret', 'w').write('mine')\n"
                      "os.environ['SECRET'] = 'mine'\n", pool="big")
        answer = self.run_code("import os\n"
                               "print([p for p in ('.', '/tmp', '/var/tmp', '/dev/shm')\n"
                               "       if os.path.exists(p + '/secret')], 'SECRET' in os.environ)",
                               pool="big")
        self.assertEqual(answer["output"], "[] False\n")


if __name__ == "__main__":
    unittest.main()
