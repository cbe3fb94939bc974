"""A loopback ECS, with STS, a container credentials endpoint and instance metadata. It
shares no code with the service. See model.py for what it refuses and tasks.py for what a
task is."""

import datetime
import email.utils
import http.server
import json
import threading
import time
import urllib.parse
import uuid

import model
import signing
from tasks import LABEL, Task

TARGET = "AmazonEC2ContainerServiceV20141113."
# burst, a second: Request throttling for the Amazon ECS API
RATES = {"modify": (100, 40), "read": (100, 20), "register": (20, 1), "defined": (50, 20),
         "fargate": (20, 20), "launch": (100, 20)}
BUCKETS = {"RunTask": "modify", "StopTask": "modify", "ListTasks": "read", "DescribeTasks": "read",
           "DescribeClusters": "read", "RegisterTaskDefinition": "register",
           "DescribeTaskDefinition": "defined"}


class Bucket:
    def __init__(self, burst, rate):
        self.tokens, self.burst, self.rate, self.at = burst, burst, rate, time.monotonic()

    def take(self, count):
        now = time.monotonic()
        self.tokens = min(self.burst, self.tokens + (now - self.at) * self.rate)
        self.at = now
        if self.tokens < count:
            return False
        self.tokens -= count
        return True


class Dropped(Exception):
    """The connection ends without an answer."""


class Fake:
    def __init__(self, engine=None, network=None, region="eu-test-1", phase_seconds=0.2, lag=0.0,
                 page=100, speed=1.0):
        self.engine, self.network, self.region = engine, network, region
        self.phase_seconds, self.page = phase_seconds, page
        self.run = uuid.uuid4().hex[:12]
        self.lock = threading.RLock()
        self.keys = {"AKFAKE": {"secret": "fake/secret+", "token": None, "expires": None}}
        self.clusters = {"sandboxes"}
        self.definitions = {}  # family -> [definition]
        self.tasks, self.tokens, self.pages = {}, {}, {}
        self.calls = []  # (time, operation, body)
        self.lag = lag           # of reads
        self.skew = datetime.timedelta()  # of our clock
        self.denied = set()      # operations
        self.faults = []         # [operation or None, times, kind]
        self.held, self.release = threading.Event(), threading.Event()  # of hold-before, -after
        self.holding = 0
        self.capacity = None     # how many more tasks there is room for
        self.no_room_in = set()  # subnets, capacity providers
        self.die_in = None       # a phase
        self.address = None      # of tasks without an engine
        self.stop_seconds = 5
        self.throttled = 0
        self.rates = None if speed is None else {
            name: Bucket(burst, rate * speed) for name, (burst, rate) in RATES.items()}
        self.container_token = "container-token"
        self.key_life = 3600
        self.issued = 0
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.server.daemon_threads = True
        self.url = "http://127.0.0.1:%d" % self.server.server_port
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    # ---- the engine ----

    def docker(self, method, path, body=None):
        status, answer = self.engine.call(method, path, body, timeout=120)
        if status >= 400:
            raise RuntimeError("%s %s: %s" % (method, path, answer))
        return answer

    def is_running(self, container):
        status, answer = self.engine.call("GET", "/containers/%s/json" % container)
        return status == 200 and answer["State"]["Running"]

    def close(self):
        self.release.set()
        for task in list(self.tasks.values()):
            task.stop("UserInitiated", "the fake closes")
        for task in list(self.tasks.values()):
            task.thread.join(60)
        self.server.shutdown()
        self.server.server_close()

    # ---- what a test wants ----

    def env(self, **more):
        """For a service that uses this as AWS."""
        return dict({"AWS_ENDPOINT_URL": self.url, "AWS_REGION": self.region,
                     "AWS_ACCESS_KEY_ID": "AKFAKE", "AWS_SECRET_ACCESS_KEY": "fake/secret+",
                     "AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": "/dev/null",
                     "AWS_SHARED_CREDENTIALS_FILE": "/dev/null", "ECS_CLUSTER": "sandboxes",
                     "ECS_SUBNET_IDS": "subnet-a,subnet-b", "ECS_SECURITY_GROUP_IDS": "sg-1"},
                    **more)

    def fail(self, operation, times, kind):
        with self.lock:
            self.faults.append([operation, times, kind])

    def alive(self):
        return [t for t in self.tasks.values() if t.last != "STOPPED"]

    def runs(self):
        """The bodies of every RunTask that meant it."""
        return [c[2] for c in list(self.calls) if c[1] == "RunTask" and "clientToken" in c[2]]

    def count(self, operation):
        return sum(1 for call in list(self.calls) if call[1] == operation)

    def cluster_arn(self, name):
        return "arn:aws:ecs:%s:123456789012:cluster/%s" % (self.region, name)

    # ---- calls ----

    def call(self, operation, body):
        """After signature and shape: rates, faults, then what it does."""
        with self.lock:
            self.calls.append((time.monotonic(), operation, body))
            fault = self._fault(operation, body)
        if fault == "hold-before":
            self._hold()
        with self.lock:
            answer = self._carry_out(operation, body, fault)
        if fault == "hold-after":
            self._hold()
        if fault == "drop":
            raise Dropped()
        return answer

    def _hold(self):
        """Until the test lets go; whoever asked has gone by then."""
        with self.lock:
            self.holding += 1
        self.held.set()
        self.release.wait(120)
        with self.lock:
            self.holding -= 1
        raise Dropped()

    def let_go(self):
        """Of whatever is held; what comes later is held again."""
        self.held.clear()
        self.release.set()
        while self.holding:
            time.sleep(0.01)
        self.release.clear()

    def _carry_out(self, operation, body, fault):
        if operation in self.denied:
            raise model.Bad("AccessDeniedException",
                            "User: arn:aws:iam::123456789012:user/x is not authorized to "
                            "perform: ecs:%s on resource: *" % operation)
        if fault == "throttle" or not self._may(operation, body):
            self.throttled += 1
            raise model.Bad("ThrottlingException", "Rate exceeded")
        if fault == "500":
            raise model.Bad("ServerException", "Service Unavailable. Please try again later.")
        if fault == "expired":
            raise model.Bad("ExpiredTokenException", "The security token has expired")
        model.check_call(operation, body)
        return getattr(self, "_" + operation)(body)

    def _fault(self, operation, body):
        """Of RunTask only one that means it: a preflight's makes no task."""
        if operation == "RunTask" and "clientToken" not in body:
            return None
        for fault in self.faults:
            if fault[1] > 0 and fault[0] in (operation, None):
                fault[1] -= 1
                return fault[2]
        return None

    def _may(self, operation, body):
        if not self.rates or operation not in BUCKETS:
            return True
        if not self.rates[BUCKETS[operation]].take(1):
            return False
        return operation != "RunTask" or (self.rates["fargate"].take(1) and
                                          self.rates["launch"].take(body.get("count", 1)))

    def _cluster(self, body):
        name = body.get("cluster", "default").rpartition("/")[2]
        if name not in self.clusters:
            raise model.Bad("ClusterNotFoundException", "Cluster not found.")
        return name

    def _definition(self, name):
        family, _, revision = name.rpartition("/")[2].partition(":")
        known = self.definitions.get(family, [])
        if not known or (revision and int(revision) > len(known)):
            raise model.Bad("ClientException", "Unable to describe task definition.")
        return known[int(revision) - 1 if revision else -1]

    def _CreateCluster(self, body):
        self.clusters.add(body["clusterName"])
        return {"cluster": self._cluster_of(body["clusterName"])}

    def _cluster_of(self, name):
        return {"clusterArn": self.cluster_arn(name), "clusterName": name, "status": "ACTIVE"}

    def _DescribeClusters(self, body):
        names = [n.rpartition("/")[2] for n in body.get("clusters", ["default"])]
        return {"clusters": [self._cluster_of(n) for n in names if n in self.clusters],
                "failures": [{"arn": self.cluster_arn(n), "reason": "MISSING"}
                             for n in names if n not in self.clusters]}

    def _RegisterTaskDefinition(self, body):
        model.check_definition(body)
        known = self.definitions.setdefault(body["family"], [])
        definition = dict(body, revision=len(known) + 1, status="ACTIVE", taskDefinitionArn=(
            "arn:aws:ecs:%s:123456789012:task-definition/%s:%d"
            % (self.region, body["family"], len(known) + 1)))
        known.append(definition)
        return {"taskDefinition": definition}

    def _DescribeTaskDefinition(self, body):
        return {"taskDefinition": self._definition(body["taskDefinition"])}

    def _RunTask(self, body):
        cluster = self._cluster(body)
        try:
            definition = self._definition(body["taskDefinition"])
        except model.Bad:
            raise model.Bad("ClientException", "TaskDefinition not found.") from None
        model.check_run(body)
        token = body.get("clientToken")
        if token and token in self.tokens:
            before, tasks = self.tokens[token]
            if before != body:
                raise model.Bad("ConflictException", "clientToken", resourceIds=[t.arn for t in tasks])
            return {"tasks": [t.described(0, True) for t in tasks], "failures": []}
        where = set(body["networkConfiguration"]["awsvpcConfiguration"]["subnets"])
        where = where - self.no_room_in
        providers = {s["capacityProvider"] for s in body.get("capacityProviderStrategy", [])}
        room = body.get("count", 1) if self.capacity is None else self.capacity
        if not where or providers & self.no_room_in or ("launchType" in body and "FARGATE" in self.no_room_in):
            room = 0
        made = [Task(self, definition, body, cluster) for _ in range(min(room, body.get("count", 1)))]
        if self.capacity is not None:
            self.capacity -= len(made)
        for task in made:
            self.tasks[task.arn] = task
        if token:
            self.tokens[token] = (body, made)
        failures = [{"arn": "", "reason": "Capacity is unavailable at this time. Please try again "
                     "later or in a different availability zone"}] * (body.get("count", 1) - len(made))
        return {"tasks": [t.described(0, True) for t in made], "failures": failures}

    def _find(self, name):
        name = name.rpartition("/")[2]
        return next((t for t in self.tasks.values() if t.id == name), None)

    def _StopTask(self, body):
        self._cluster(body)
        task = self._find(body["task"])
        if not task:
            raise model.Bad("InvalidParameterException", "The referenced task was not found.")
        task.stop("UserInitiated", body.get("reason", "Task stopped by user"))
        return {"task": task.described(0, False)}

    def _ListTasks(self, body):
        cluster = self._cluster(body)
        filters = [f for f in ("startedBy", "family", "serviceName", "containerInstance") if f in body]
        model.need("startedBy" not in filters or len(filters) == 1, "startedBy must be the only filter")
        model.need(1 <= body.get("maxResults", 100) <= 100, "maxResults")
        wanted = body.get("desiredStatus", "RUNNING")
        arns = self.pages.pop(body.get("nextToken"), None)
        if "nextToken" in body:
            model.need(arns is not None, "Invalid token")
        else:
            arns = sorted(t.arn for t in self.tasks.values()
                          if t.cluster == cluster and t.seen(self.lag) and t.seen(self.lag)[1] == wanted
                          and body.get("startedBy", t.body.get("startedBy")) == t.body.get("startedBy"))
        size = min(self.page, body.get("maxResults", 100))
        answer = {"taskArns": arns[:size]}
        if arns[size:]:
            answer["nextToken"] = uuid.uuid4().hex
            self.pages[answer["nextToken"]] = arns[size:]
        return answer

    def _DescribeTasks(self, body):
        cluster = self._cluster(body)
        model.need(1 <= len(body["tasks"]) <= 100, "Tasks can not be empty or more than 100.")
        model.need(set(body.get("include", [])) <= {"TAGS"}, "include")
        tasks, failures = [], []
        for name in body["tasks"]:
            task = self._find(name)
            if task and task.cluster == cluster and task.seen(self.lag):
                tasks.append(task.described(self.lag, "TAGS" in body.get("include", [])))
            else:
                failures.append({"arn": name if ":" in name else "%s/%s" % (
                    self.cluster_arn(cluster).replace(":cluster/", ":task/"), name), "reason": "MISSING"})
        return {"tasks": tasks, "failures": failures}

    # ---- credentials ----

    def issue(self, kind):
        with self.lock:
            self.issued += 1
            name = "ASIA%s%d" % (kind, self.issued)
            expires = datetime.datetime.utcnow() + datetime.timedelta(seconds=self.key_life)
            self.keys[name] = {"secret": uuid.uuid4().hex, "token": uuid.uuid4().hex, "expires": expires}
            return name, self.keys[name], expires.strftime("%Y-%m-%dT%H:%M:%SZ")

    def json_key(self, kind):
        name, key, expires = self.issue(kind)
        return {"Code": "Success", "Type": "AWS-HMAC", "AccessKeyId": name,
                "SecretAccessKey": key["secret"], "Token": key["token"], "Expiration": expires}

    def sts(self, form, signed_by):
        action = form.get("Action", [""])[0]
        if action == "AssumeRoleWithWebIdentity":
            if form.get("WebIdentityToken") != ["web-token"]:
                return 400, "<ErrorResponse><Error><Code>InvalidIdentityToken</Code></Error></ErrorResponse>"
        elif action != "AssumeRole" or not signed_by:
            return 403, "<ErrorResponse><Error><Code>AccessDenied</Code></Error></ErrorResponse>"
        name, key, expires = self.issue("STS")
        return 200, ("<R><Credentials><AccessKeyId>%s</AccessKeyId><SecretAccessKey>%s</SecretAccessKey>"
                     "<SessionToken>%s</SessionToken><Expiration>%s</Expiration></Credentials></R>"
                     % (name, key["secret"], key["token"], expires))

    # ---- HTTP ----

    def _handler(fake):  # the handler's own self comes inside
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def date_time_string(self, timestamp=None):
                return email.utils.format_datetime(
                    datetime.datetime.now(datetime.timezone.utc) + fake.skew, usegmt=True)

            def say(self, status, text, kind="application/x-amz-json-1.1"):
                data = text.encode()
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def body(self):
                return self.rfile.read(int(self.headers.get("Content-Length", 0)))

            def do_PUT(self):
                self.body()
                ok = self.path == "/latest/api/token" and self.headers.get("X-aws-ec2-metadata-token-ttl-seconds")
                self.say(200 if ok else 400, "imds-token", "text/plain")

            def do_GET(self):
                if self.path.startswith("/latest/") and self.headers.get("X-aws-ec2-metadata-token") != "imds-token":
                    self.say(401, "", "text/plain")
                elif self.path == "/latest/meta-data/iam/security-credentials/":
                    self.say(200, "role", "text/plain")
                elif self.path == "/latest/meta-data/iam/security-credentials/role":
                    self.say(200, json.dumps(fake.json_key("IMDS")))
                elif self.path == "/container" and self.headers.get("Authorization") == fake.container_token:
                    self.say(200, json.dumps(fake.json_key("CONT")))
                else:
                    self.say(404, "", "text/plain")

            def do_POST(self):
                body = self.body()
                target = self.headers.get("X-Amz-Target", "")
                if not target:
                    self.do_sts(body)
                    return
                try:
                    signing.check(fake.keys, "POST", self.headers, body,
                                  datetime.datetime.utcnow() + fake.skew, "ecs")
                    operation = target[len(TARGET):]
                    if not target.startswith(TARGET) or operation not in model.OPERATIONS:
                        raise model.Bad("UnknownOperationException", target)
                    self.say(200, json.dumps(fake.call(operation, json.loads(body))))
                except Dropped:
                    self.close_connection = True
                except (model.Bad, signing.Refused) as bad:
                    status = 500 if bad.args[0] == "ServerException" else 400
                    self.say(status, json.dumps(dict(getattr(bad, "more", {}), __type=bad.args[0],
                                                   message=bad.args[1])))

            def do_sts(self, body):
                signed_by = None
                if "Authorization" in self.headers:
                    try:
                        signed_by = signing.check(fake.keys, "POST", self.headers, body,
                                                  datetime.datetime.utcnow() + fake.skew, "sts")
                    except signing.Refused as bad:
                        self.say(403, "<E><Error><Code>%s</Code></Error></E>" % bad.args[0], "text/xml")
                        return
                self.say(*fake.sts(urllib.parse.parse_qs(body.decode()), signed_by), "text/xml")

        return Handler
