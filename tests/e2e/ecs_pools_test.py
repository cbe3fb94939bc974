"""Pools on ECS beside others: of a definition that exists, in several clusters, beside Docker
pools, of several replicas; and what their status says."""

import concurrent.futures
import time
import unittest

from lib.ecs import EcsCase, EcsService
from lib.redis import Redis
from lib.service import manifest, short_form, wait_for

SHARED = "{share: true}"  # else one that has served is replaced after a restart
KUBE = "/apis/paddock.dev/v1/namespaces/default/sandboxpools/"


def pool(name, minimum=1, maximum=1, **spec):
    return manifest(name, minSize=minimum, maxSize=maximum, languages="[python]", **spec)


class PoolsTest(EcsCase):
    def run_in(self, service, name):
        """The answer of a run in that pool, once it serves."""
        def answered():
            """an answer of the pool"""
            answer = service.request("POST", "/execute", {
                "code": "print(6 * 7)", "language": "python", "pool": name})
            return answer.json if answer.status == 200 else None
        answer = wait_for(answered, 90, 0.5)
        self.assertEqual(answer["output"], "42\n", answer)

    def test_a_definition_that_exists(self):
        """It is used as it is, and what only registering needs is not asked for."""
        fake = self.fake()
        with EcsService(fake, config=short_form(1, 1)) as service:
            service.hello()
            family, revisions = next(iter(fake.definitions.items()))
            with fake.lock:
                fake._RegisterTaskDefinition(dict(
                    {k: v for k, v in revisions[0].items()
                     if k not in ("revision", "status", "taskDefinitionArn")}, family="mine"))
            fake.denied = {"RegisterTaskDefinition", "DescribeTaskDefinition"}
            service.write_pool("given", pool("given", ecs="{taskDefinition: mine}"))
            self.run_in(service, "given")
            given = [r for r in fake.runs() if r["taskDefinition"] == "mine"]
            self.assertEqual(len(given), 1)
            self.assertEqual(set(fake.definitions), {family, "mine"})
            self.assertEqual(len(fake.definitions["mine"]), 1)
        self.assertEqual(self.stoppable(fake), [])

    def test_a_definition_that_does_not_exist(self):
        fake = self.fake()
        pools = {"given": pool("given", ecs="{taskDefinition: nobodys}")}
        with EcsService(fake, config=short_form(1, 1), pools=pools) as service:
            def degraded():
                """the pool's condition"""
                status = service.request("GET", KUBE + "given").json.get("status", {})
                return any("TaskDefinition not found" in c.get("message", "")
                           for c in status.get("conditions", []))
            wait_for(degraded, 60)
            self.run_in(service, "default")  # that one is not held up

    def test_several_clusters(self):
        fake = self.fake()
        fake.clusters.add("other")
        pools = {"far": pool("far", recycle=SHARED, ecs="{cluster: other, subnets: [subnet-z]}"),
                 "near": pool("near", recycle=SHARED)}
        with EcsService(fake, config=short_form(0, 1), pools=pools) as service:
            self.run_in(service, "near")
            self.run_in(service, "far")
            before = {t.arn: t.cluster for t in fake.alive()}
            self.assertEqual(sorted(before.values()), ["other", "sandboxes"])
            far = next(r for r in fake.runs() if r["cluster"] == "other")
            self.assertEqual(far["networkConfiguration"]["awsvpcConfiguration"]["subnets"], ["subnet-z"])
            service.kill9()
            service.start()
            self.run_in(service, "near")
            self.run_in(service, "far")
            self.assertEqual({t.arn: t.cluster for t in fake.tasks.values()}, before)
        self.assertEqual(self.stoppable(fake), [])

    def test_beside_docker(self):
        fake = self.fake()
        pools = {"near": pool("near", provider="docker")}
        with EcsService(fake, config=short_form(1, 1), pools=pools) as service:
            self.run_in(service, "near")
            self.run_in(service, "default")
            self.assertEqual(len(service.sandboxes("near", "running")), 1)
            self.assertEqual(len(fake.alive()), 1)
            self.assertGreater(service.calls("docker", "containers_create", "201"), 0)
            self.assertGreater(service.calls("ecs", "RunTask", "200"), 0)
            # ECS throttles everything: Docker's pool does not notice
            fake.fail(None, 30, "throttle")
            for _ in range(5):
                self.run_in(service, "near")
            fake.faults.clear()
        self.assertEqual(self.stoppable(fake), [])

    def test_two_replicas(self):
        """Each has tasks of its own; neither stops the other's, whichever dies."""
        fake = self.fake()
        with Redis("--appendonly", "yes") as redis:
            env = {"REDIS_URL": redis.url}
            more = dict(config=short_form(0, 1), env=env, pools={"p": pool("p", recycle=SHARED)})
            with EcsService(fake, **more) as one, EcsService(fake, **more) as two:
                self.run_in(one, "p")
                self.run_in(two, "p")
                owners = {t.body["startedBy"]: t for t in fake.alive()}
                self.assertEqual(set(owners), {"paddock/" + one.instance, "paddock/" + two.instance})
                one.kill9()
                self.run_in(two, "p")
                theirs = owners["paddock/" + one.instance]
                two.kill9()
                two.start()  # collects what is its own, and nothing else
                self.run_in(two, "p")
                time.sleep(4)  # longer than strays are given
                self.assertEqual(theirs.desired, "RUNNING")
                one.start()
                self.run_in(one, "p")
                self.assertEqual(len(fake.tasks), 2)
        self.assertEqual(self.stoppable(fake), [])

    def test_recommended_size(self):
        """Little's law over what was measured: each run uses a task up."""
        fake = self.fake(phase_seconds=0.3)
        config = short_form(0, 1)
        pools = {"once": pool("once", 1, 4, isolation="container")}
        with EcsService(fake, config=config, pools=pools) as service:
            with concurrent.futures.ThreadPoolExecutor(3) as clients:
                list(clients.map(lambda _: self.run_in(service, "once"), range(4)))

            def measured():
                """a recommended size"""
                status = service.request("GET", KUBE + "once").json.get("status", {})
                return status if status.get("recommendedMinSize", 0) > 0 else None
            status = wait_for(measured, 60)
            start_s = status["startP90Milliseconds"] / 1000
            self.assertGreater(start_s, 0.9)  # three phases
            # four runs in ten seconds at most; some of them in a sandbox at a time
            self.assertLessEqual(status["recommendedMinSize"], 4 / 10 * start_s + 4 + 1)


if __name__ == "__main__":
    unittest.main()
