"""`paddock controller` and `paddock api` as programs of their own, on one real Redis
and one engine: the one leads and runs nothing, the others run and never lead."""

import os
import subprocess
import threading
import time
import unittest

from lib.cluster import Cluster, Load
from lib.service import Service, binary, manifest, short_form, wait_for

NOTHING = "# no pool\n"


class Programs(Cluster):
    """So many controllers and so many APIs. An API has no files worth mentioning: its own
    declare another pool, which must not come into force."""

    def __init__(self, controllers, apis, config):
        super().__init__(0, config)
        self.n_controllers, self.n_apis = controllers, apis

    def __enter__(self):
        super().__enter__()
        try:
            self.controllers = [self.add("controller") for _ in range(self.n_controllers)]
            self.apis = [self.add("api", manifest("elsewhere", minSize=1, maxSize=1))
                         for _ in range(self.n_apis)]
        except BaseException:
            self.sweep()
            raise
        return self

    def __exit__(self, kind, value, trace):
        """The leader last: it collects what the others leave."""
        self.replicas.sort(key=lambda service: service.what)  # api, controller
        super().__exit__(kind, value, trace)

    def wait_ready(self, service, status=200, timeout=60):
        def answers():
            answer = service.request("GET", "/readyz", key=False)
            return answer if answer.status == status else None
        answers.__doc__ = "%d from /readyz of %s" % (status, service.what)
        return wait_for(answers, timeout)

    def wait_warm_apis(self):
        for api in self.apis:
            def warm(api=api):
                return api.sandboxes(state="running")
            warm.__doc__ = "a sandbox of an api"
            wait_for(warm, 60)


def pools_of(service):
    answer = service.request("GET", "/apis/paddock.dev/v1/namespaces/default/sandboxpools")
    if answer.status != 200:
        return {}
    return {item["metadata"]["name"]: item for item in answer.json["items"]}


class Processes(unittest.TestCase):
    def test_without_redis_they_say_why_not(self):
        env = {k: v for k, v in os.environ.items() if k != "REDIS_URL"}
        for what in ("controller", "api"):
            done = subprocess.run([binary(), what], env=env, stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=30)
            self.assertEqual(done.returncode, 2, done.stdout)
            self.assertIn(b"set REDIS_URL", done.stdout)

    def test_one_leads_the_others_run(self):
        with Programs(1, 2, short_form(2, 4)) as programs:
            controller = programs.controllers[0]
            programs.wait_warm_apis()
            for service in programs.replicas:
                programs.wait_ready(service)
            for api in programs.apis:
                self.assertEqual(api.hello()["output"], "hello\n")
                # The leader's pools, with the leader's identity; none of its own.
                pools = wait_for(lambda api=api: pools_of(api))
                self.assertEqual(list(pools), ["default"])
                self.assertEqual(pools["default"]["metadata"]["uid"],
                                 pools_of(controller)["default"]["metadata"]["uid"])
                self.assertNotIn("this replica leads", api.log())
            self.assertFalse(controller.sandboxes(), "a controller owns sandboxes")
            # Whoever is asked speaks for the whole pool.
            def whole(service):
                status = pools_of(service).get("default", {}).get("status", {})
                there = sum(len(api.sandboxes(state="running")) for api in programs.apis)
                return (status.get("replicas") == status.get("readyReplicas") == there >= 2 and
                        [c["reason"] for c in status["conditions"]
                         if c["type"] == "Available"] == ["SandboxesReady"])
            for service in programs.replicas:
                wait_for(lambda service=service: whole(service), 60)
            answer = controller.request("POST", "/execute", {"code": "print(1)"})
            self.assertEqual(answer.status, 404)
            self.assertIn("runs nothing", answer.json["detail"])
            for path, key, status in (("/livez", False, 200), ("/health", False, 200),
                                      ("/metrics", True, 200), ("/metrics", False, 401),
                                      ("/executions", True, 404), ("/", True, 404),
                                      ("/languages", True, 404)):
                self.assertEqual(controller.request("GET", path, key=key).status, status, path)

    def test_the_controller_is_killed(self):
        with Programs(2, 2, short_form(2, 4)) as programs:
            programs.wait_warm_apis()
            old = programs.wait_leader()
            self.assertIn(old, programs.controllers)
            with Load(programs.apis) as load:
                programs.kill(old)
                new = programs.wait_leader(old, 30)
                self.assertIn(new, programs.controllers)
                # It makes sandboxes: what an API loses comes back.
                victim = wait_for(lambda: programs.apis[0].sandboxes(state="running"), 60)[0]["Id"]
                before = {c["Id"] for c in programs.apis[0].sandboxes()}
                programs.apis[0].engine.kill(victim)
                wait_for(lambda: {c["Id"] for c in programs.apis[0].sandboxes(state="running")}
                         - before, 60)
            self.assertGreater(load.done, 5)
            # The one whose sandbox was killed may have lost the run in it.
            self.assertLessEqual(len(load.bad), 1, load.bad)
            programs.forget(old)

    def test_an_api_is_killed(self):
        with Programs(1, 2, short_form(2, 4)) as programs:
            programs.wait_warm_apis()
            dead, living = programs.apis
            with Load([living]) as load:
                programs.kill(dead)
                wait_for(lambda: not dead.containers(), 60)
                wait_for(lambda: len(living.sandboxes(state="running")) >= 2, 60)
            self.assertFalse(load.bad)
            programs.forget(dead)

    def test_a_stop_without_a_leader_is_quick(self):
        """What it wished for, and a leader had begun, is not waited for."""
        with Programs(1, 1, short_form(3, 4)) as programs:
            api = programs.apis[0]
            wait_for(lambda: api.sandboxes(), 60)
            controller = programs.controllers[0]
            programs.kill(controller)
            began = time.monotonic()
            self.assertEqual(api.stop(), 0)
            self.assertLess(time.monotonic() - began, 9.5)
            # What was begun all the same is the next leader's to collect.
            programs.forget(controller)
            programs.add("controller")
            wait_for(lambda: not api.containers(), 60)

    def test_redis_restarts(self):
        with Programs(1, 2, short_form(2, 4)) as programs:
            programs.wait_warm_apis()
            with Load(programs.apis) as load:
                programs.redis.kill9()
                time.sleep(1)
                programs.redis.start()
                programs.wait_leader()
                time.sleep(1)
            self.assertFalse(load.bad)
            self.assertGreater(load.done, 5)
            for service in programs.replicas:
                programs.wait_ready(service)
            def settled():
                """nothing wished for, and what there is written down"""
                return (int(programs.redis.cli("HLEN", programs.key("wishes"))) == 0 and
                        int(programs.redis.cli("HLEN", programs.key("sandboxes"))) ==
                        len(programs.live()) >= 2)
            wait_for(settled, 90)

    def test_an_api_without_a_leader_is_not_ready(self):
        with Programs(0, 1, short_form(1, 2)) as programs:
            api = programs.apis[0]
            wait_for(lambda: "no leader is in sight" in
                     programs.wait_ready(api, 503).json["detail"], 30)
            self.assertEqual(api.request("GET", "/livez", key=False).status, 200)
            controller = programs.add("controller")
            programs.wait_ready(api)
            programs.wait_warm_apis()
            api.hello()
            # Without one again: what is warm still runs, and that is what ready means.
            programs.kill(controller)
            programs.forget(controller)
            time.sleep(4)
            self.assertTrue(api.sandboxes(state="running"))
            programs.wait_ready(api)
            api.hello()


if __name__ == "__main__":
    unittest.main()
