"""A client that hangs up: its run is stopped and the sandbox is back in the pool."""

import json
import time
import unittest

from lib.service import Service, short_form


def post_and_hang_up(service, code, after):
    body = json.dumps({"code": code, "language": "python", "timeout": 60}).encode()
    connection = service.connect()
    connection.sendall(("POST /execute HTTP/1.1\r\nHost: x\r\nX-API-Key: %s\r\nContent-Type: "
                        "application/json\r\nContent-Length: %d\r\n\r\n"
                        % (service.key, len(body))).encode() + body)
    time.sleep(after)
    connection.close()


class HangUp(unittest.TestCase):
    def test_mid_run(self):
        with Service(short_form(1, 1)) as service:
            service.wait_sandboxes(1)
            service.hello()
            for _ in range(5):
                post_and_hang_up(service, "import time; time.sleep(50)", 0.3)
                began = time.monotonic()
                service.hello()
                self.assertLess(time.monotonic() - began, 8)

    def test_while_queued(self):
        with Service(short_form(1, 1)) as service:
            service.wait_sandboxes(1)
            busy = service.connect()
            body = json.dumps({"code": "import time; time.sleep(3)", "language": "python"}).encode()
            busy.sendall(("POST /execute HTTP/1.1\r\nHost: x\r\nX-API-Key: %s\r\nContent-Type: "
                          "application/json\r\nContent-Length: %d\r\n\r\n"
                          % (service.key, len(body))).encode() + body)
            time.sleep(0.3)
            for _ in range(20):
                post_and_hang_up(service, "import time; time.sleep(50)", 0.02)
            began = time.monotonic()
            service.hello()
            self.assertLess(time.monotonic() - began, 12, "runs of clients that are gone were run")
            busy.close()


if __name__ == "__main__":
    unittest.main()
