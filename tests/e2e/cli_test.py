"""The command itself: how it starts, what it refuses, how it stops."""

import os
import socket
import stat
import subprocess
import tempfile
import threading
import time
import unittest

from lib.service import Service, binary, short_form


def run(*args, env=None):
    return subprocess.run([binary()] + list(args), env=dict(os.environ, **(env or {})), timeout=30,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


class Command(unittest.TestCase):
    def test_version_and_help(self):
        self.assertRegex(run("--version").stdout, r"^paddock \d+\.\d+")
        for words in (["--help"], ["serve", "--help"]):
            done = run(*words)
            self.assertEqual(done.returncode, 0, done.stdout)
            self.assertIn("usage: paddock", done.stdout)
        done = run("sreve")
        self.assertEqual(done.returncode, 2)
        self.assertIn("sreve", done.stdout)

    def test_mistakes_in_arguments(self):
        for words, named in ((["serve", "kubernetes"], "kubernetes"),
                             (["serve", "--listen", "nowhere"], "nowhere"),
                             (["serve", "--listen", "127.0.0.1:99999"], "99999"),
                             (["serve", "--log-level", "loud"], "loud"),
                             (["serve", "--nonsense"], "--nonsense"),
                             (["serve", "docker", "ecs"], "ecs")):
            with self.subTest(" ".join(words)):
                done = run(*words)
                self.assertEqual(done.returncode, 2, done.stdout)
                self.assertIn(named, done.stdout)

    def test_ecs_without_a_region_says_so(self):
        for words, env in ((["serve", "ecs"], {}), (["serve"], {"SANDBOX_PROVIDER": "ecs"})):
            with tempfile.TemporaryDirectory() as folder:
                done = run(*words, "--state-dir", folder + "/state", "--listen", "127.0.0.1:0",
                           "--kube-listen", "off", env=dict(env, HOME=folder))
                self.assertNotEqual(done.returncode, 0)
                self.assertIn("set AWS_REGION", done.stdout)

    def test_broken_configuration_is_refused_with_its_line(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "default.yaml")
            with open(path, "w") as file:
                file.write("sandbox:\n  min_size: 1\n  max_size: many\n")
            done = run("serve", "--config", path, "--state-dir", folder + "/state", "--listen",
                       "127.0.0.1:0")
            self.assertEqual(done.returncode, 2, done.stdout)
            self.assertIn("max_size", done.stdout)
            self.assertIn("line 3", done.stdout)
            checked = run("check", path)
            self.assertNotEqual(checked.returncode, 0)
            self.assertIn("max_size", checked.stdout)


class Life(unittest.TestCase):
    def test_made_key(self):
        with Service(key=None) as service:
            path = os.path.join(service.state_dir, "key")
            self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o600)
            self.assertEqual(stat.S_IMODE(os.stat(service.state_dir).st_mode), 0o700)
            shown = run("key", "show", env={"PADDOCK_STATE_DIR": service.state_dir,
                                            "EXECUTION_API_KEY": ""}).stdout.strip()
            self.assertGreaterEqual(len(shown), 20)
            self.assertNotIn(shown, service.log(), "the key stands in the log")
            self.assertIn("paddock key show", service.log())
            self.assertEqual(service.request("POST", "/execute", {"code": "print(1)"}).status, 401)
            service.key = shown
            service.hello()

    def test_two_services_on_one_state_folder(self):
        with Service() as first:
            second = subprocess.run(first.command(), env=first.env, timeout=30, text=True,
                                    stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            self.assertNotEqual(second.returncode, 0)
            self.assertIn(first.state_dir, second.stdout)
            self.assertIn(str(first.process.pid), second.stdout)
            first.hello()

    def test_busy_port_names_its_holder(self):
        holder = socket.socket()
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        with tempfile.TemporaryDirectory() as folder:
            done = run("serve", "--listen", "127.0.0.1:%d" % port, "--state-dir", folder + "/state")
            self.assertEqual(done.returncode, 1, done.stdout)
            self.assertIn(str(port), done.stdout)
            self.assertIn(str(os.getpid()), done.stdout)
        holder.close()

    def test_sigterm_finishes_what_was_accepted(self):
        service = Service(short_form(1, 1)).start()
        service.wait_sandboxes(1)
        answers = []
        caller = threading.Thread(target=lambda: answers.append(
            service.execute("import time; time.sleep(3); print('finished')")))
        caller.start()
        time.sleep(1)
        self.assertEqual(service.stop(), 0, service.log()[-2000:])
        caller.join(10)
        self.assertEqual(answers and answers[0]["output"], "finished\n")
        service.close()

    def test_second_signal_does_not_wait(self):
        service = Service(short_form(1, 1)).start()
        service.wait_sandboxes(1)

        def call():
            try:
                service.execute("import time; time.sleep(20)")
            except Exception:
                pass
        caller = threading.Thread(target=call, daemon=True)
        caller.start()
        time.sleep(1)
        service.process.terminate()
        time.sleep(0.3)
        began = time.monotonic()
        service.stop()
        self.assertLess(time.monotonic() - began, 12)
        caller.join(10)
        service.close()


if __name__ == "__main__":
    unittest.main()
