"""Runs that are watched, shown and canceled from another replica than the one that has
them, through a real Redis; and what becomes of that when either of them is away."""

import asyncio
import contextlib
import os
import signal
import subprocess
import tempfile
import threading
import unittest

from lib.live import connect, events, sse, websockets
from lib.service import manifest, short_form, wait_for
from keys_test import key as new_key
from replay_test import refusal
from shared_test import Shared, done, post, reaches

MANY = 600
COUNT = "import sys\nfor i in range(%d):\n  print(i, flush=True)\n" \
        "  if i %% 50 == 0: print(-i, file=sys.stderr, flush=True)\n" % MANY
ASK = "print('ready', flush=True)\nfor line in sys.stdin:\n  print('got ' + line, end='', flush=True)\n"
ASK = "import sys\n" + ASK


def stream(id, suffix=""):
    return "/executions/%s/stream%s" % (id, suffix)


def hear_each_other(cluster, count):
    """So many replicas hear what is asked of all."""
    def heard():
        words = cluster.redis.cli("--raw", "PUBSUB", "NUMSUB", "paddock:live").split()
        return words[-1:] == [str(count)]
    heard.__doc__ = "%d replicas on the channel" % count
    wait_for(heard, 60)


@contextlib.asynccontextmanager
async def two():
    """Replicas A and B; a run at one of them is watched at the other."""
    cluster = Shared(2, short_form(2, 6))
    await asyncio.to_thread(cluster.__enter__)
    try:
        await asyncio.to_thread(cluster.wait_ready)
        await asyncio.to_thread(hear_each_other, cluster, 2)
        yield cluster
    except BaseException as problem:
        await asyncio.to_thread(cluster.__exit__, type(problem), problem, None)
        raise
    else:
        await asyncio.to_thread(cluster.__exit__, None, None, None)


@contextlib.asynccontextmanager
async def conversation(service):
    """A run at `service` that answers each line of its stdin: its socket and its id."""
    async with connect(service) as live:
        await live.say(type="run", code=ASK, stdin_open=True, timeout=300)
        await live.until("ready", 60)
        yield live, live.of("accepted")[0]["id"]


async def say(live, text):
    await live.say(type="stdin", data=text + "\n")
    await live.until("got " + text, 60)


async def request(service, *args, **more):
    return await asyncio.to_thread(service.request, *args, **more)


def over_sse(service, path, **headers):
    connection, file, head = sse(service, path, headers=headers)
    with connection:
        assert "text/event-stream" in head, head
        return list(events(file))


def begun_at(service, body):
    """An accepted run that `service` itself has sent to a sandbox: not one that another
    replica took from it while it waited there."""
    def begun():
        answer = post(service, body)
        if answer.status != 202:
            return None
        id = answer.json["id"]
        reaches(service, id, "running", "done")
        if 'msg="run sent" run=%s' % id in service.log():
            return id
        service.request("DELETE", "/executions/" + id)
        return None
    return wait_for(begun, 120, every=0.5)


class Overheard:
    """Everything that replicas say to each other of runs, while it is entered."""

    def __init__(self, redis):
        self.file = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            ["redis-cli", "-p", str(redis.port), "PSUBSCRIBE", "paddock:live*"],
            stdin=subprocess.DEVNULL, stdout=self.file, stderr=subprocess.DEVNULL)

    def said(self):
        size = os.fstat(self.file.fileno()).st_size
        return os.pread(self.file.fileno(), size, 0).decode(errors="replace")

    def __enter__(self):
        wait_for(lambda: "psubscribe" in self.said(), 30)
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.file.close()


async def whole(service, id):
    """All of a run; one that another replica takes while it waits is asked for again."""
    while True:
        async with connect(service, stream(id)) as viewer:
            await viewer.end()
        if viewer.code != 4003:
            return viewer


class Watching(unittest.IsolatedAsyncioTestCase):
    async def test_all_of_a_run_in_order(self):
        async with two() as cluster:
            a, b = cluster.replicas
            async with conversation(b) as (own, id):
                async with connect(a, stream(id)) as first, connect(a, stream(id)) as second:
                    await first.until("ready", 60)
                    for i in range(20):
                        await say(own, "line %d" % i)
                    await first.until("got line 19", 60)
                    await second.until("got line 19", 60)
                    # From an offset, a third one, and by server-sent events a fourth.
                    async with connect(a, stream(id, "?from=5")) as third:
                        later = asyncio.create_task(asyncio.to_thread(
                            over_sse, a, stream(id), **{"Last-Event-ID": "9"}))
                        # One that asks for what is not there yet gets what comes next.
                        async with connect(a, stream(id, "?from=100000")) as next_one:
                            await say(own, "more")
                            await next_one.until("got more", 60)
                            await own.say(type="stdin_eof")
                            for live in (own, first, second, third, next_one):
                                await live.end()
                                if live is not own:
                                    self.assertEqual(live.code, 1000)
                            heard = await later
            self.assertEqual(first.frames, own.frames)
            self.assertEqual(second.frames, own.frames)
            self.assertEqual(third.frames, own.frames[4:])
            self.assertEqual(heard, own.frames[9:])
            self.assertEqual(next_one.frames, own.frames[-len(next_one.frames):])
            self.assertLess(len(next_one.frames), 4)

    async def test_what_it_costs(self):
        """Nothing where nobody elsewhere watches, and one message for all viewers of a replica."""
        async with two() as cluster:
            a, b = cluster.replicas
            with Overheard(cluster.redis) as ear:
                async with connect(b) as own:
                    await own.say(type="run", code=COUNT)
                    await own.end()
                await asyncio.to_thread(b.execute, "print(1)")
                id = await asyncio.to_thread(begun_at, b, {"code": "print(1)"})
                await asyncio.to_thread(done, a, id)
                self.assertNotIn("pmessage", ear.said())
                async with conversation(b) as (own, id), contextlib.AsyncExitStack() as stack:
                    viewers = [await stack.enter_async_context(connect(a, stream(id)))
                               for _ in range(20)]
                    for i in range(10):
                        await say(own, "line %d" % i)
                    for viewer in viewers:
                        await viewer.until("got line 9", 60)
                    self.assertEqual([ear.said().count('"data":"got line %d\\n"' % i)
                                      for i in range(10)], [1] * 10)
                # Once all have gone it is told no more.
                def stopped():
                    return "\nstop " in ear.said()
                await asyncio.to_thread(wait_for, stopped, 30)

    async def test_a_plain_run_with_a_key(self):
        """POST /execute with an Idempotency-Key is in the list while it goes on: by its id it is
        watched, from here and from there."""
        async with two() as cluster:
            a, b = cluster.replicas
            answers = []
            def ask():
                answers.append(b.request("POST", "/execute", {
                    "code": "import time\nfor i in range(50): print(i, flush=True); time.sleep(0.1)"},
                    {"Idempotency-Key": "one"}))
            asking = threading.Thread(target=ask, daemon=True)
            asking.start()
            def listed():
                answer = a.request("GET", "/executions?status=running")
                items = answer.json["items"] if answer.status == 200 else []
                return next((item["id"] for item in items if item["kind"] == "plain"), None)
            id = await asyncio.to_thread(wait_for, listed, 60)
            async with connect(a, stream(id)) as there, connect(b, stream(id)) as here:
                await there.until("1\n", 60)
                self.assertEqual(answers, [])  # while it runs
                await there.end()
                await here.end()
            await asyncio.to_thread(asking.join, 60)
            self.assertEqual(there.frames, here.frames)
            self.assertEqual(answers[0].json["id"], id)
            self.assertEqual(there.text(), answers[0].json["output"])

    async def test_who_reads_nothing(self):
        """A viewer that stops reading holds up neither the run nor who else watches here; what
        it was too slow for is told as dropped."""
        bytes = 400 * 65536
        async with two() as cluster:
            a, b = cluster.replicas
            loud = manifest("loud", minSize=2, maxSize=4, languages="[python]",
                            run="{maxOutput: 64Mi, timeout: 60s}")
            for service in cluster.replicas:
                service.write_pool("loud", loud)
                await asyncio.to_thread(service.wait_sandboxes, 1, "loud")
            async with connect(b) as own:
                await own.say(type="run", pool="loud", stdin_open=True, timeout=120,
                              code="import os\ninput()\nfor i in range(400): os.write(1, b'x' * 65536)")
                await own.until_type("started")
                id = own.of("accepted")[0]["id"]
                connection, file, _ = await asyncio.to_thread(sse, a, stream(id))
                async with connect(a, stream(id)) as quick:
                    await own.say(type="stdin", data="go\n")
                    await asyncio.gather(own.end(120), quick.end(120))
                with connection:
                    slow = await asyncio.to_thread(lambda: list(events(file)))
            self.assertEqual(len(own.text()), bytes)
            for frames in (quick.frames, slow):
                seen = sum(len(f["data"]) for f in frames if f["type"] == "stdout")
                dropped = sum(f["bytes"] for f in frames if f["type"] == "dropped")
                # A gap may begin before what was seen, and counts that, too.
                self.assertLessEqual(seen, bytes)
                self.assertGreaterEqual(seen + dropped, bytes)
                self.assertEqual(frames[-1], own.exit)
                last = 0
                for frame in frames:
                    self.assertTrue(frame.get("from_seq", frame["seq"]) <= last + 1 <= frame["seq"])
                    last = frame["seq"]
            self.assertGreater(dropped, 0)

    async def test_a_run_that_is_over(self):
        """As long as it is kept there: all of it, not what a record has room for."""
        async with two() as cluster:
            a, b = cluster.replicas
            async with connect(b) as own:
                await own.say(type="run", code=COUNT)
                await own.end()
            id = own.of("accepted")[0]["id"]
            for suffix, first in (("", 0), ("?from=300", 299)):
                async with connect(a, stream(id, suffix)) as viewer:
                    await viewer.end()
                self.assertEqual(viewer.frames, own.frames[first:])
            # A plain run, whose events are made when somebody asks for them.
            plain = (await asyncio.to_thread(b.execute, "print('plain')"))["id"]
            async with connect(a, stream(plain)) as viewer:
                await viewer.end()
            self.assertEqual(viewer.text(), "plain\n")
            self.assertEqual(viewer.exit["exit_code"], 0)
            self.assertEqual(await refusal(a, stream("run_0")), 404)
            self.assertEqual(await refusal(a, stream("no-run%27s%20name")), 404)

    async def test_one_that_waits(self):
        """An accepted run that is watched at the other replica before it begins, and one of
        server-sent events; output larger than the window, and a file."""
        async with two() as cluster:
            a, b = cluster.replicas
            code = "import time, sys\nfor i in range(40):\n  sys.stdout.write('%d ' % i + 'x' * 65000 + '\\n')\n" \
                   "open('big.bin', 'wb').write(bytes(2000000))\n"
            connection, file, _ = await asyncio.to_thread(
                sse, b, "/execute", "POST",
                {"code": code, "artifacts": ["*.bin"], "timeout": 120})
            with connection:
                own = events(file)
                frames = [await asyncio.to_thread(next, own)]
                path = stream(frames[0]["id"])
                async with connect(a, path) as viewer:
                    frames += await asyncio.to_thread(list, own)
                    await viewer.end()
            self.assertEqual(viewer.code, 1000)
            self.assertEqual(viewer.frames, frames)
            self.assertEqual(viewer.of("artifact")[0]["size"], 2000000)
            answer = await request(b, "POST", "/executions", {"code": "import time; time.sleep(2); print(1)"})
            viewer = await whole(a, answer.json["id"])
            self.assertEqual(viewer.text(), "1\n")
            self.assertEqual(viewer.code, 1000)

    async def test_rights(self):
        async with two() as cluster:
            a, b = cluster.replicas
            other = new_key(a, "new", "--name", "other", "--scopes", "execute")[0].split()[-1]
            reader = new_key(a, "new", "--name", "reader", "--scopes", "read")[0].split()[-1]
            def known():
                return a.request("GET", "/languages", headers={"X-API-Key": reader}).status == 200
            await asyncio.to_thread(wait_for, known, 30)
            async with conversation(b) as (own, id):
                async with connect(a, stream(id)) as viewer:
                    await viewer.until("ready", 60)
                    # While it is watched here already, and another's key asks for it.
                    self.assertEqual(await refusal(a, stream(id), headers={"X-API-Key": other}), 404)
                    self.assertEqual(await refusal(a, stream(id), headers={"X-API-Key": "none"}), 401)
                    async with connect(a, stream(id), headers={"X-API-Key": reader}) as allowed:
                        await allowed.until("ready", 60)
                self.assertEqual(await refusal(a, stream(id), headers={"X-API-Key": other}), 404)
                path = "/executions/" + id
                for method, text, status in (("GET", other, 404), ("GET", reader, 200),
                                             ("DELETE", other, 404), ("DELETE", reader, 403)):
                    answer = await request(a, method, path, headers={"X-API-Key": text})
                    self.assertEqual(answer.status, status, (method, answer))
                shown = await request(a, "GET", path)
                self.assertEqual(shown.json, (await request(b, "GET", path)).json)
                self.assertEqual(shown.json["status"], "running")
                await say(own, "still there")


class Canceling(unittest.IsolatedAsyncioTestCase):
    async def test_both_ways(self):
        async with two() as cluster:
            for here, there in (cluster.replicas, cluster.replicas[::-1]):
                async with conversation(there) as (own, id):
                    async with connect(here, stream(id)) as viewer:
                        await viewer.until("ready", 60)
                        answer = await request(here, "DELETE", "/executions/" + id)
                        self.assertEqual((answer.status, answer.json),
                                         (202, {"id": id, "canceling": True}))
                        await viewer.end()
                        await own.end()
                self.assertEqual(own.exit["status"], "canceled")
                self.assertEqual(viewer.frames, own.frames)
                answer = await request(here, "DELETE", "/executions/" + id)
                self.assertEqual(answer.status, 409, answer)
            self.assertEqual((await request(here, "DELETE", "/executions/run_0")).status, 404)
            # One of server-sent events.
            connection, file, _ = await asyncio.to_thread(
                sse, there, "/execute", "POST", {"code": "import time; time.sleep(300)", "timeout": 300})
            with connection:
                own = events(file)
                id = (await asyncio.to_thread(next, own))["id"]
                self.assertEqual((await request(here, "DELETE", "/executions/" + id)).status, 202)
                self.assertEqual((await asyncio.to_thread(list, own))[-1]["status"], "canceled")


class Faults(unittest.IsolatedAsyncioTestCase):
    async def test_redis_restarts(self):
        """What was printed meanwhile comes when it is back: nothing twice, nothing missing."""
        async with two() as cluster:
            a, b = cluster.replicas
            async with conversation(b) as (own, id):
                async with connect(a, stream(id)) as viewer:
                    await viewer.until("ready", 60)
                    for round in range(2):
                        cluster.redis.kill9()
                        for i in range(20):
                            await say(own, "away %d %d" % (round, i))
                        await asyncio.to_thread(cluster.redis.start)
                        await viewer.until("got away %d 19" % round, 90)
                    # Connections that end by themselves, with messages on their way.
                    for kind in ("pubsub", "normal"):
                        killing = asyncio.create_task(asyncio.to_thread(
                            cluster.redis.cli, "CLIENT", "KILL", "TYPE", kind))
                        for i in range(50):
                            await say(own, "%s %d" % (kind, i))
                        await killing
                        await viewer.until("got %s 49" % kind, 90)
                    await own.say(type="stdin_eof")
                    await own.end()
                    await viewer.end()
            self.assertEqual(viewer.code, 1000)
            self.assertEqual(viewer.frames, own.frames)

    async def test_the_other_is_paused(self):
        """Longer than it takes to be looked for elsewhere. Its sandboxes may be taken from it
        meanwhile, and its run be lost: the viewer sees what its own client sees."""
        async with two() as cluster:
            a, b = cluster.replicas
            async with conversation(b) as (own, id):
                async with connect(a, stream(id)) as viewer:
                    await viewer.until("ready", 60)
                    b.process.send_signal(signal.SIGSTOP)
                    try:
                        await asyncio.sleep(9)
                    finally:
                        b.process.send_signal(signal.SIGCONT)
                    with contextlib.suppress(websockets.ConnectionClosed):
                        await own.say(type="stdin", data="awake\n")
                        await own.say(type="stdin_eof")
                    await own.end()
                    await viewer.end()
            self.assertEqual(viewer.code, 1000)
            self.assertEqual(viewer.frames, own.frames)

    async def test_one_stops(self):
        """The one that is watched at lets its viewers go; the one that runs it ends it first."""
        async with two() as cluster:
            a, b = cluster.replicas
            async with conversation(b) as (own, id):
                async with connect(a, stream(id)) as viewer:
                    await viewer.until("ready", 60)
                    stopping = asyncio.create_task(asyncio.to_thread(a.stop))
                    await viewer.end(60)
                    self.assertEqual(viewer.code, 1001)
                    self.assertEqual(await stopping, 0)
                c = await asyncio.to_thread(cluster.add)
                await asyncio.to_thread(hear_each_other, cluster, 2)
                def shown():
                    return c.request("GET", "/executions/" + id).status == 200
                await asyncio.to_thread(wait_for, shown, 60)
                async with connect(c, stream(id)) as viewer:
                    await viewer.until("ready", 60)
                    stopping = asyncio.create_task(asyncio.to_thread(b.stop))
                    await asyncio.sleep(0.5)
                    await own.say(type="stdin_eof")
                    await own.end()
                    await viewer.end()
                    self.assertEqual(await stopping, 0)
            self.assertEqual(viewer.code, 1000)
            self.assertEqual(viewer.frames, own.frames)

    async def test_the_other_is_killed(self):
        async with two() as cluster:
            a, b = cluster.replicas
            async with conversation(b) as (own, id):
                async with connect(a, stream(id)) as viewer:
                    await viewer.until("ready", 60)
                    accepted = await asyncio.to_thread(begun_at, b, {
                        "code": "import time; print('begun', flush=True); time.sleep(300)",
                        "timeout": 300})
                    async with connect(a, stream(accepted)) as second:
                        await second.until("begun", 90)
                        connection, file, _ = await asyncio.to_thread(sse, a, stream(id))
                        cluster.kill(b)
                        await viewer.end(60)
                        self.assertEqual(viewer.code, 4003)
                        # It has no number: who comes again begins where it stopped.
                        self.assertEqual(viewer.broken["status"], 503)
                        with connection:
                            heard = await asyncio.to_thread(lambda: list(events(file)))
                        self.assertEqual(heard[:-1], viewer.frames)
                        self.assertEqual(heard[-1]["problem"], viewer.broken)
                        await second.end(90)
                        self.assertEqual(second.code, 1000)
                        self.assertEqual(second.exit["status"], "lost")
                        end = await asyncio.to_thread(done, a, accepted)
                        self.assertEqual(end["cause"], "lost")
            await asyncio.to_thread(wait_for, lambda: not b.containers(), 60)
            cluster.forget(b)
