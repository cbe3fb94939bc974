"""The direct pipes: runs' bytes go past the engine where both are on one machine,
programs find nothing of it, and nothing of it is left behind."""

import contextlib
import os
import unittest

from lib.service import Service, short_form, wait_for

POOLS = {"uids": "uid", "single": "container"}
LOOK = r"""
import os
for name in ('in', 'out', 's', 'x'):
    for mode in (os.O_RDONLY, os.O_WRONLY, os.O_WRONLY | os.O_CREAT):
        try:
            os.open('/paddock-direct/' + name, mode | os.O_NONBLOCK)
            print(name, 'opened')
        except OSError:
            pass
try:
    print(os.listdir('/paddock-direct'))
except PermissionError:
    print([])
"""
NOTHING = "[]\n"


def manifest(name, isolation):
    return ("apiVersion: paddock.dev/v1\nkind: SandboxPool\nmetadata: {name: %s}\nspec: "
            "{image: 'python:3.11-slim', minSize: 1, maxSize: 2, isolation: %s}\n"
            % (name, isolation))


def moved(service):
    """How many links have left the engine's stream: pairs of open pipes in our folder."""
    folder, count = "/proc/%d/fd" % service.process.pid, 0
    for name in os.listdir(folder):
        with contextlib.suppress(OSError):
            count += os.readlink(os.path.join(folder, name)).startswith(
                os.path.join(os.path.realpath(service.state_dir), "direct"))
    return count // 2


class Direct(unittest.TestCase):
    def test_used_in_every_isolation_and_seen_by_no_program(self):
        pools = {name: manifest(name, isolation) for name, isolation in POOLS.items()}
        with Service(short_form(2, 3), pools=pools) as service:
            wait_for(lambda: moved(service) >= 4, 60)
            for pool in ["default", *POOLS]:
                self.assertEqual(service.execute(LOOK, pool=pool)["output"], NOTHING, pool)
            folder = os.path.join(service.state_dir, "direct")
            # Made with a container, gone when it has been linked.
            wait_for(lambda: os.listdir(folder) == [], 60)

    def test_a_killed_service_finds_its_sandboxes_again_by_the_engine(self):
        with Service(short_form(2, 2)) as service:
            wait_for(lambda: moved(service) == 2, 60)
            before = {c["Id"] for c in service.sandboxes()}
            service.kill9()
            service.start()
            self.assertEqual(service.execute("print(1)")["output"], "1\n")
            self.assertEqual({c["Id"] for c in service.sandboxes()}, before)
            self.assertEqual(moved(service), 0)
