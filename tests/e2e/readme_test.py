"""The README's own example, as a reader would type it."""

import json
import os
import re
import subprocess
import unittest

from lib.service import KEY, ROOT, Service


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


if __name__ == "__main__":
    unittest.main()
