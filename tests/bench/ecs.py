"""The same run on Docker and in a task: what TLS over TCP and a user for each run cost beside
two FIFOs and a cell for each run. The task is a container of this engine (tests/ecs), so
Fargate's own machines and network are not in the figures."""

import time
import uuid

from lib.ecs import EcsService, fake_ecs, fake_tasks, make_agent_image
from lib.engine import Engine
from lib.service import Service, short_form

PAUSE_MS = 20  # a person's pace; back to back is measured too
ROWS = (("docker", "isolation cell, FIFOs"), ("ecs", "isolation uid, TLS"))


def name_of(kind, how):
    return "%s, %s" % (dict(ROWS)[kind], how)


def measure(client, table, verdict, quick):
    rounds, size = (2, 50) if quick else (5, 300)
    engine = Engine()
    make_agent_image(engine)
    network = "fake-ecs-bench-" + uuid.uuid4().hex[:8]
    engine.call("POST", "/networks/create", {"Name": network, "Driver": "bridge",
                                             "Labels": {fake_tasks.LABEL: "network"}})
    fake = fake_ecs.Fake(engine, network)
    try:
        with Service(short_form(2, 2)) as docker, EcsService(fake, config=short_form(2, 2)) as ecs:
            services = {"docker": docker, "ecs": ecs}
            for service in services.values():
                service.hello()
                client(service, 20, 1)
            for number in range(rounds):
                print("round %d of %d" % (number + 1, rounds), flush=True)
                for kind, service in services.items():
                    time.sleep(1)  # every spare is there
                    table.add(name_of(kind, "%d ms apart" % PAUSE_MS),
                              client(service, size, 1, pause_ms=PAUSE_MS))
                    table.add(name_of(kind, "back to back"), client(service, size, 1))
    finally:
        fake.close()
        engine.call("DELETE", "/networks/" + network)
    table.show("hello in Python, warm, sequential: a task beside a container")
    print()
    both = [table.median(name_of(kind, "%d ms apart" % PAUSE_MS), "p50") for kind, _ in ROWS]
    verdict("ecs p50 / docker p50", both[1] / both[0], 2)
