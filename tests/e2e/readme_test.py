"""The README's own example, as a reader would type it."""

import json
import os
import re
import subprocess
import tempfile
import unittest

from lib.service import KEY, ROOT, Service, binary


def example():
    """(command, answer) of the first console block that calls /execute."""
    with open(os.path.join(ROOT, "README.md")) as file:
        text = file.read()
    for block in re.findall(r"```console\n(.*?)```", text, re.S):
        if "/execute" not in block:
            continue
        found = re.search(r"^\$ (curl .*?[^\\])\n(\{.*)", block, re.S | re.M)
        assert found, "the README's /execute example is not `$ curl ...` and its answer"
        return found.group(1), found.group(2)
    raise AssertionError("the README has no /execute example")


class Readme(unittest.TestCase):
    def test_first_call(self):
        command, shown = example()
        with Service() as service:
            here = command.replace("localhost:8000", "127.0.0.1:%d" % service.port)
            self.assertNotEqual(here, command, "the example does not call localhost:8000")
            got = subprocess.run(["bash", "-c", here], env=dict(os.environ, KEY=KEY), timeout=60,
                                 stdout=subprocess.PIPE, check=True).stdout
        answer = json.loads(got)
        # The answer shown may be cut short ("..."); what it shows must be so.
        promised = dict(re.findall(r'"(\w+)":("(?:[^"\\]|\\.)*"|[\w.]+)', shown))
        self.assertIn("success", promised)
        for name, value in promised.items():
            self.assertIn(name, answer)
            if not isinstance(answer[name], float):
                self.assertEqual(answer[name], json.loads(value), name)
        self.assertGreater(answer["execution_time"], 0)
        self.assertLess(answer["execution_time"], 5)

    def test_commands_exist(self):
        with open(os.path.join(ROOT, "README.md")) as file:
            text = file.read()
        for script in ("scripts/run_code_execution_server.sh", "scripts/test.sh"):
            self.assertIn("./" + script, text)
            self.assertTrue(os.access(os.path.join(ROOT, script), os.X_OK), script)

    def test_manifests_are_right(self):
        with open(os.path.join(ROOT, "README.md")) as file:
            blocks = re.findall(r"```yaml\n(.*?)```", file.read(), re.S)
        self.assertGreaterEqual(len(blocks), 2)
        for block in blocks:
            if block.startswith("  - name:"):
                block = "languages:\n" + block
            with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
                file.write(block)
                file.flush()
                done = subprocess.run([binary(), "check", file.name], stdout=subprocess.PIPE,
                                      stderr=subprocess.STDOUT, text=True)
            self.assertEqual(done.returncode, 0, done.stdout)
            self.assertTrue("kind: SandboxPool" in done.stdout or "languages:" in done.stdout)

    def test_places_that_are_named_exist(self):
        for name in ("README.md", "docs/architecture.md", "docs/contributing.md"):
            with open(os.path.join(ROOT, name)) as file:
                text = file.read()
            places = re.findall(r"`((?:agent|api|cli|common|conf|controller|crds|docs|scripts|tests)"
                                r"/[\w./-]*)`", text)
            for link in re.findall(r"\]\((?!https?:)([\w./-]+)\)", text):
                places.append(os.path.join(os.path.dirname(name), link))
            for place in places:
                self.assertTrue(os.path.exists(os.path.join(ROOT, place)), "%s names %s" % (name, place))


if __name__ == "__main__":
    unittest.main()
