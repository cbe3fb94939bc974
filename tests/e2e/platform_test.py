"""Whatever the image: without glibc (musl's loader and an interpreter linked to it, and
nothing else), and with any USER. Cells all the same."""

import os
import subprocess
import unittest

from lib.service import ROOT, Service, manifest, short_form

IMAGE = "paddock-sandbox:musl"
USERS = ("root", "named", "numeric", "nosuch")  # scripts/lib/musl_image.sh
PLAIN = """
  - name: plainlua
    file: main.lua
    run: [lua, main.lua]
    version: [lua, -v]
"""
HELLO = """io.write("hello ", table.concat(arg, ","), " stdin=", io.read("a"), " env=", os.getenv("NAME"), "\\n")
io.stderr:write("oops\\n")
os.exit(7)
"""
# What of its cell a program without a shell can tell: who it is, where it may write.
LOOK = """local user
for line in io.lines("/proc/self/status") do user = user or line:match("^Uid:%s+(%d+)") end
local written = {}
for _, path in ipairs {"x", "/tmp/x", "/etc/x", "/x"} do
  local file = io.open(path, "w")
  written[#written + 1] = file and "yes" or "no"
end
print(user, table.concat(written, " "), io.open("/run/paddock/x", "w") == nil)
"""


def need_images():
    script = ("set -euo pipefail; ROOT=$1; for p in say packages image musl_image; do "
              ". \"$ROOT/scripts/lib/$p.sh\"; done; need_musl_image")
    done = subprocess.run(["bash", "-c", script, "images", ROOT], timeout=600, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise AssertionError(done.stdout)


class Musl(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        need_images()
        spec = {"minSize": 0, "maxSize": 1, "languages": "[lua, plainlua]"}
        pools = {"musl": manifest("musl", image=IMAGE, **spec)}
        for user in USERS:
            pools["user-" + user] = manifest("user-" + user, image=IMAGE + "-" + user, **spec)
        cls.service = Service(short_form(0, 1), pools=pools)
        with open(os.path.join(ROOT, "conf", "languages.yaml")) as file:
            catalogue = file.read() + PLAIN
        with open(os.path.join(cls.service.dir, "languages.yaml"), "w") as file:
            file.write(catalogue)
        cls.addClassCleanup(cls.service.close)
        cls.service.start()

    def is_cell(self, pool):
        self.assertRegex(self.service.log(), r"sandbox ready.* pool=%s .*isolation=cell" % pool)

    def test_a_plain_entry_and_a_waiting_interpreter(self):
        for language in ("plainlua", "lua"):
            with self.subTest(language=language):
                for _ in range(3):
                    answer = self.service.execute(HELLO, language, pool="musl", args=["a", "b"],
                                                  stdin="given", env={"NAME": "v"})
                    self.assertEqual((answer["stdout"], answer["stderr"], answer["exit_code"]),
                                     ("hello a,b stdin=given env=v\n", "oops\n", 7), answer)
        self.is_cell("musl")

    def test_limits(self):
        answer = self.service.execute("local t = {} while true do t[#t + 1] = ('x'):rep(1 << 24) .. #t end",
                                      "plainlua", pool="musl", timeout=60)
        self.assertIn(answer["status"], ("memory_exceeded", "exited"), answer)
        self.assertNotEqual(answer["exit_code"], 0, answer)
        answer = self.service.execute("while true do end", "plainlua", pool="musl", timeout=1)
        self.assertEqual(answer["status"], "timed_out", answer)
        answer = self.service.execute("print(1)", "plainlua", pool="musl")
        self.assertEqual(answer["stdout"], "1\n", answer)

    def test_whatever_the_images_user(self):
        for user in USERS:
            with self.subTest(user=user):
                answer = self.service.execute(LOOK, "plainlua", pool="user-" + user)
                self.assertEqual(answer["stdout"], "50000\tyes yes no no\ttrue\n", answer)
                self.is_cell("user-" + user)
                sandbox = self.service.sandboxes("user-" + user)[0]
                asked = self.service.engine.inspect(sandbox["Id"])["Config"]["User"]
                self.assertRegex(asked, r"^[1-9]\d*(:[1-9]\d*)?$")


if __name__ == "__main__":
    unittest.main()
