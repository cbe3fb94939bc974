"""A program's terminal where runs are kept apart by a uid, or by a container each."""
import unittest

from lib.live import connect, run
from lib.service import Service, manifest, short_form

SESSION = """
import os, signal, sys
print(sys.stdin.isatty(), sys.stdout.isatty(), os.get_terminal_size().columns, os.getuid() != 0)
print(repr(input('name? ')))
try:
    print('waiting')
    while True: signal.pause()
except KeyboardInterrupt:
    print('interrupted')
"""
# Raw mode, and a process that ignores the hang-up and outlives its program.
LEFTOVER = """
import os, signal, time, tty
tty.setraw(0)
if os.fork() == 0:
    os.setsid()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    time.sleep(60); os.write(1, b'LEFT OVER')
for path in ('/dev/console', '/dev/tty0'):
    try: os.open(path, os.O_RDWR); print(path, 'DONE')
    except OSError: print(path, 'refused')
"""
FRESH = """
import os, termios
print(bool(termios.tcgetattr(0)[3] & termios.ECHO), os.get_terminal_size())
print([p for p in os.listdir('/proc') if p.isdigit() and int(p) > 1
       and os.stat('/proc/' + p).st_uid == os.getuid() and int(p) != os.getpid()])
"""


class Terminal(unittest.IsolatedAsyncioTestCase):
    @classmethod
    def setUpClass(cls):
        cls.service = Service(short_form(0, 1), pools={
            name: manifest(name, minSize=1, maxSize=2, isolation=name)
            for name in ("uid", "container")}).start()

    @classmethod
    def tearDownClass(cls):
        cls.service.close()

    async def session(self, pool):
        async with connect(self.service) as client:
            await client.say(type="run", code=SESSION, pool=pool, tty=True, rows=30, cols=100,
                             stdin_open=True)
            await client.until("name? ")
            self.assertIn("True True 100 True", client.text())
            await client.say(type="stdin", data="bo\x7fob\r")
            await client.until("'bob'")
            await client.until("waiting")
            await client.say(type="stdin", data="\x03")
            await client.until("interrupted")
            await client.end()
        self.assertTrue(client.exit["success"], client.text())

    async def leaves_nothing(self, pool):
        client = await run(self.service, LEFTOVER, tty=True, pool=pool)
        self.assertEqual(client.text().count("refused"), 2, client.text())
        for _ in range(3):  # whichever sandbox has it next
            after = await run(self.service, FRESH, tty=True, rows=11, cols=22, pool=pool)
            self.assertTrue(after.text().startswith(
                "True os.terminal_size(columns=22, lines=11)\r\n"), after.text())
            if pool == "uid":  # in a container of its own it sees the interpreter's zygote
                self.assertTrue(after.text().endswith("\r\n[]\r\n"), after.text())

    async def test_a_session_by_uid(self):
        await self.session("uid")

    async def test_a_session_by_container(self):
        await self.session("container")

    async def test_nothing_is_left_by_uid(self):
        await self.leaves_nothing("uid")

    async def test_nothing_is_left_by_container(self):
        await self.leaves_nothing("container")


if __name__ == "__main__":
    unittest.main()
