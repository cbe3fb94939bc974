"""A sandbox that serves for long: its interpreter's zygote is replaced under it."""
import http.client
import json
import threading
import unittest

from lib.service import KEY, Service, manifest

RUNS = 2300  # a zygote forks 2000 times, then the next takes over
CALLERS = 3


class Long(unittest.TestCase):
    def test_outlives_its_zygote(self):
        config = manifest("default", minSize=1, maxSize=1, recycle="{afterRuns: 1000000}")
        with Service(config) as service:
            sandbox = service.wait_sandboxes(1)[0]["Id"]
            wrong, lock, left = [], threading.Lock(), list(range(RUNS))

            def call():
                connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=60)
                while True:
                    with lock:
                        if not left or wrong:
                            return
                        n = left.pop()
                    connection.request("POST", "/execute", json.dumps({"code": "print(%d)" % n}),
                                       {"X-API-Key": KEY, "Content-Type": "application/json"})
                    answer = json.loads(connection.getresponse().read())
                    if answer.get("output") != "%d\n" % n:
                        wrong.append(answer)
            callers = [threading.Thread(target=call) for _ in range(CALLERS)]
            for caller in callers:
                caller.start()
            for caller in callers:
                caller.join(240)
            self.assertEqual((wrong, left), ([], []))
            self.assertEqual([c["Id"] for c in service.sandboxes()], [sandbox])


if __name__ == "__main__":
    unittest.main()
