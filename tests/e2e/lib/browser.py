"""Chromium under test: runs tests/e2e/console/NAME.mjs against a service.

The scripts stand on playwright-core and axe-core, which the console's build has
fetched with its own packages (build/console). Screenshots go to build/screenshots."""

import json
import os
import shutil
import subprocess
import tempfile

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


def run_script(name, service, timeout=240, **given):
    """Run a script to its end; what it printed. It fails by its exit status."""
    os.makedirs(SCREENSHOTS, exist_ok=True)
    profile = tempfile.mkdtemp(prefix="paddock-chromium-")
    env = dict(os.environ, PADDOCK_URL="http://127.0.0.1:%d" % service.port, PADDOCK_KEY=KEY,
               PADDOCK_PROFILE=profile, PADDOCK_SCREENSHOTS=SCREENSHOTS,
               PADDOCK_PACKAGES=PACKAGES, PADDOCK_CHROMIUM=shutil.which("chromium"),
               PADDOCK_GIVEN=json.dumps(given))
    try:
        done = subprocess.run(["node", os.path.join(HERE, "console", name + ".mjs")], env=env,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=timeout)
    finally:
        shutil.rmtree(profile, ignore_errors=True)
    if done.returncode != 0:
        raise AssertionError("%s.mjs:\n%s" % (name, done.stdout[-6000:]))
    return done.stdout
