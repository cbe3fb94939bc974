"""Chromium under test: runs tests/e2e/console/NAME.mjs against a service.

The scripts stand on playwright-core and axe-core, which the console's build has
fetched with its own packages (build/console). Screenshots go to build/screenshots."""

import json
import os
import shutil
import subprocess
import tempfile
import threading

from lib.service import KEY, ROOT

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PACKAGES = os.path.join(ROOT, "build", "console", "node_modules")
SCREENSHOTS = os.path.join(ROOT, "build", "screenshots")


def missing():
    """Why no browser can be had, or None."""
    if not shutil.which("node"):
        return "node is not installed"
    if not shutil.which("chromium"):
        return "chromium is not installed"
    if not os.path.isdir(os.path.join(PACKAGES, "playwright-core")):
        return "the console's packages are not at build/console"
    return None


def run_script(name, service, timeout=180, do=None, **given):
    """Run a script to its end; what it printed. It fails by its exit status. What it
    asks for ("please NAME") is done by do[NAME]()."""
    os.makedirs(SCREENSHOTS, exist_ok=True)
    profile = tempfile.mkdtemp(prefix="paddock-chromium-")
    env = dict(os.environ, PADDOCK_URL="http://127.0.0.1:%d" % service.port, PADDOCK_KEY=KEY,
               PADDOCK_PROFILE=profile, PADDOCK_SCREENSHOTS=SCREENSHOTS,
               PADDOCK_PACKAGES=PACKAGES, PADDOCK_CHROMIUM=shutil.which("chromium"),
               PADDOCK_GIVEN=json.dumps(given))
    try:
        status, printed = _serve(["node", os.path.join(HERE, "console", name + ".mjs")], env,
                                 timeout, do or {})
    finally:
        shutil.rmtree(profile, ignore_errors=True)
    if status != 0:
        raise AssertionError("%s.mjs:\n%s" % (name, printed[-6000:]))
    return printed


def _serve(command, env, timeout, do):
    """Run it, and do what it asks for; its status and what it printed."""
    printed = []
    with subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True) as script:
        watch = threading.Timer(timeout, script.kill)
        watch.start()
        try:
            for line in script.stdout:
                printed.append(line)
                if line.startswith("please "):
                    do[line.split()[1]]()
                    script.stdin.write("done\n")
                    script.stdin.flush()
            return script.wait(), "".join(printed)
        except BaseException:
            script.kill()
            print("".join(printed)[-6000:])
            raise
        finally:
            watch.cancel()
