"""Runs that are looked at when the service has forgotten them: from the records, by
WebSocket and by server-sent events."""

import asyncio
import unittest

from keys_test import key as new_key
from lib.live import connect, events, run as live_run, sse, websockets
from lib.service import Service, short_form, wait_for

CODE = "import sys\nfor i in range(20):\n  print(i, flush=True)\n  print(-i, file=sys.stderr, flush=True)\n"
MUCH = "for i in range(4000): print('x' * 199, flush=True)\n"  # more than a record keeps


def accept(service, code, headers=None):
    """An execution that is done and written down: its id."""
    ident = service.request("POST", "/executions", {"code": code}, headers).json["id"]

    def done():
        answer = service.request("GET", "/executions/" + ident)
        return answer.status == 200 and answer.json["status"] == "done"
    wait_for(done, 60)
    return ident


async def watch(service, path, **more):
    async with connect(service, path, **more) as viewer:
        await viewer.end()
    assert viewer.code == 1000, viewer.code
    return viewer.frames


async def refusal(service, path, **more):
    """The status that an upgrade is answered with."""
    try:
        async with connect(service, path, **more):
            return 101
    except websockets.InvalidStatusCode as refused:
        return refused.status_code


def over_sse(service, path, **headers):
    connection, file, head = sse(service, path, headers=headers)
    with connection:
        assert "text/event-stream" in head, head
        return list(events(file))


class Replay(unittest.IsolatedAsyncioTestCase):
    async def test_after_a_restart(self):
        with Service(config=short_form(1, 2)) as service:
            ident = await asyncio.to_thread(accept, service, CODE)
            long = await asyncio.to_thread(accept, service, MUCH)
            plain = (await asyncio.to_thread(service.execute, "print(1)"))["id"]
            path = "/executions/%s/stream" % ident
            live_frames = await watch(service, path)
            self.assertEqual(live_frames[-1]["type"], "exit")
            await asyncio.to_thread(service.stop)
            await asyncio.to_thread(service.start)
            # Both ways, from any event on, together and one after the other.
            several = await asyncio.gather(*[watch(service, path) for _ in range(10)])
            for frames in several:
                self.assertEqual(frames, live_frames)
            self.assertEqual(await watch(service, path + "?from=7"), live_frames[6:])
            for suffix, headers, first in (("", {}, 0), ("?from=9", {}, 8),
                                           ("", {"Last-Event-ID": "11"}, 11)):
                heard = await asyncio.to_thread(over_sse, service, path + suffix, **headers)
                self.assertEqual(heard, live_frames[first:])
            # What a record had no room for is told as dropped.
            frames = await watch(service, "/executions/%s/stream" % long)
            dropped = [f for f in frames if f["type"] == "dropped"]
            self.assertEqual([f["type"] for f in frames][-2:], ["dropped", "exit"])
            printed = sum(len(f["data"]) for f in frames if f["type"] == "stdout")
            self.assertEqual(printed + dropped[0]["bytes"], 4000 * 200)
            # What is not there is refused before the upgrade.
            self.assertEqual(await refusal(service, "/executions/run_0/stream"), 404)
            self.assertEqual(await refusal(service, path + "?from=0"), 400)
            self.assertEqual(await refusal(service, path, protocols=("other",)), 400)
            self.assertEqual(await refusal(service, path, headers={"X-API-Key": "wrong"}), 401)
            self.assertEqual(await refusal(service, "/executions/%s/stream" % plain), 404)

    async def test_a_plain_run_afterwards(self):
        """POST /execute is answered as JSON; what it printed can be watched all the same."""
        code = "import sys, time\nprint('caf\u00e9'); time.sleep(0.3)\n" \
               "sys.stderr.write('e'); sys.stderr.flush(); time.sleep(0.3); print('two')\n" \
               "time.sleep(0.3); sys.stdout.buffer.write(b'\\xff'); open('a.txt', 'w').write('hello')"
        with Service(config=short_form(1, 2)) as service:
            answer = await asyncio.to_thread(service.execute, code, artifacts=["*.txt"])
            path = "/executions/%s/stream" % answer["id"]
            frames = await watch(service, path)
            own = await live_run(service, code, artifacts=["*.txt"])

            def shape(frames):
                """Pieces of one stream in a row are one: what is held together differs."""
                all = []
                for f in frames:
                    kind = (f["type"], f.get("encoding"), f.get("path"), f.get("content"))
                    if not all or all[-1][0] != kind:
                        all.append([kind, ""])
                    all[-1][1] += f.get("data", "")
                return all
            self.assertEqual(shape(frames), shape(own.frames))
            printed = [f for f in frames if f["type"] in ("stdout", "stderr")]
            self.assertGreater(printed[-1]["time"] - printed[0]["time"], 0.5)
            exit = frames[-1]
            for name in ("success", "exit_code", "execution_time", "usage", "stdout_bytes"):
                self.assertEqual(exit[name], answer[name], name)
            self.assertEqual(await asyncio.to_thread(over_sse, service, path), frames)
            self.assertEqual(await watch(service, path + "?from=3"), frames[2:])

    async def test_who_may(self):
        """Its own key and who may read everything; not another key, before or after a recall."""
        with Service(config=short_form(1, 2)) as service:
            one, other, reader = [
                {"X-API-Key": new_key(service, "new", "--scopes", scopes)[0]}
                for scopes in ("execute", "execute", "read")]
            for key in (one, other, reader):
                wait_for(lambda: service.request("GET", "/executions", headers=key).status == 200)
            ident = await asyncio.to_thread(accept, service, CODE, one)
            path = "/executions/%s/stream" % ident
            for _ in range(2):
                self.assertEqual(await refusal(service, path, headers=other), 404)
                frames = await watch(service, path, headers=reader)
                self.assertEqual(await watch(service, path, headers=one), frames)
                self.assertEqual(await refusal(service, path, headers=other), 404)
                await asyncio.to_thread(service.stop)
                await asyncio.to_thread(service.start)


if __name__ == "__main__":
    unittest.main()
