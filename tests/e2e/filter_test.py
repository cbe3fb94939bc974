"""The programs by which the filter's list was recorded (tests/fixtures/syscalls)
run to their end under the filter, with nothing refused that they need."""

import glob
import os
import unittest

from lib.service import ROOT, Service, manifest, short_form

FOLDER = os.path.join(ROOT, "tests", "fixtures", "syscalls")


class Filter(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        node = manifest("node", image='"node:20-slim"', languages="[javascript]", minSize=1, maxSize=1)
        cls.service = Service(short_form(1, 1), pools={"node": node})
        cls.addClassCleanup(cls.service.close)
        cls.service.start()
        cls.service.wait_sandboxes(2)

    def programs(self, language):
        for path in sorted(glob.glob(os.path.join(FOLDER, language, "*"))):
            for _ in range(2):  # before and after an interpreter waits
                with self.subTest(os.path.basename(path)), open(path) as file:
                    answer = self.service.execute(file.read(), language, stdin="a line\n", timeout=60)
                    self.assertEqual((answer["status"], answer["exit_code"]), ("exited", 0), answer)
                    self.assertNotIn("not permitted", answer["stderr"], answer)

    def test_python(self):
        self.programs("python")

    def test_bash(self):
        self.programs("bash")

    def test_javascript(self):
        self.programs("javascript")


if __name__ == "__main__":
    unittest.main()
