"""Pools on ECS, against a fake ECS whose tasks are real containers (tests/ecs)."""

import datetime
import io
import json
import os
import re
import shutil
import socket
import ssl
import struct
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import unittest
import urllib.parse
import urllib.request
import uuid

from lib.engine import Engine
from lib.service import IMAGE, ROOT, Service, binary, is_sanitized, manifest, short_form, wait_for

sys.path.insert(0, os.path.join(ROOT, "tests", "ecs"))
import fake as fake_ecs  # noqa: E402
import tasks as fake_tasks  # noqa: E402

PORT = 8723
AGENT_IMAGE = "paddock-agent-ecs-test"


class PlainEcsService(Service):
    def command(self):
        return [word for word in super().command() if word != "docker"]


class EcsService(PlainEcsService):
    """A service whose pools are on ECS unless they say otherwise."""

    def __init__(self, fake, env=None, **more):
        super().__init__(env=dict(fake.env(), SANDBOX_PROVIDER="ecs", ECS_AGENT_IMAGE=AGENT_IMAGE,
                                  **(env or {})), **more)


def make_agent_image(engine):
    """What deploy/ecs/agent/Dockerfile makes, without a builder."""
    folder = os.path.dirname(binary())
    agent = os.path.join(folder, "paddock-agent-ecs")
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        tar.add(agent, "agent")
        for name in sorted(os.listdir(os.path.join(ROOT, "agent", "spares"))):
            tar.add(os.path.join(ROOT, "agent", "spares", name), "spares/" + name)
        for name in ("pdspare.so", "pdwait.so"):
            tar.add(os.path.join(folder, name), "spares/" + name)
    tag = AGENT_IMAGE
    subprocess.run(["docker", "import", "-", tag], input=data.getvalue(), check=True,
                   stdout=subprocess.DEVNULL,
                   env=dict(os.environ, DOCKER_HOST="unix://" + engine.path))


class EcsCase(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.engine = Engine()
        make_agent_image(cls.engine)
        cls.network = "fake-ecs-" + uuid.uuid4().hex[:8]
        status, answer = cls.engine.call("POST", "/networks/create", {
            "Name": cls.network, "Driver": "bridge", "CheckDuplicate": True,
            "Labels": {fake_tasks.LABEL: "network"}})
        assert status == 201, answer

    @classmethod
    def tearDownClass(cls):
        cls.engine.call("DELETE", "/networks/" + cls.network)

    def fake(self, **more):
        fake = fake_ecs.Fake(self.engine, self.network, **more)
        self.addCleanup(fake.close)
        return fake

    def wait_running(self, fake, count, timeout=60):
        def enough():
            """running tasks"""
            running = [t for t in fake.alive() if t.last == "RUNNING"]
            return running if len(running) >= count else None
        return wait_for(enough, timeout)


class RunsTest(EcsCase):
    def test_execute_end_to_end(self):
        fake = self.fake()
        with EcsService(fake, config=short_form(1, 2)) as service:
            first = service.hello()
            warm = wait_for(lambda: (lambda a: a if a["warm"] else None)(service.hello()), 30)
            self.assertIn(warm["start"], ("zygote", "spare"))
            who = service.execute("import os; print(os.getuid())")["output"]
            self.assertGreater(int(who), 50000)  # a user of its own, not the agent's
            env = service.execute("import os; print([k for k in os.environ if k[:4] in "
                                  "('AWS_', 'ECS_') or k.startswith('PADDOCK')])")
            self.assertEqual(env["output"], "[]\n")
            net = service.execute("import socket\ntry:\n socket.socket()\nexcept OSError as e: print(e.errno)")
            self.assertIn(net["output"], ("97\n", "1\n", "13\n"))
            failed = service.execute("import sys; sys.exit(3)")
            self.assertEqual(failed["exit_code"], 3)
            self.assertTrue(first["success"])
            spent = service.execute("print('x' * 100000)")
            self.assertEqual(len(spent["output"]), 100001)
        self.assertTrue(all(t.desired == "STOPPED" for t in fake.alive()))
        run = next(c[2] for c in fake.calls if c[1] == "RunTask" and "tags" in c[2])
        self.assertEqual(run["launchType"], "FARGATE")
        self.assertTrue(run["clientToken"])


def frame(kind, epoch, sequence=0, payload=b""):
    return struct.pack(">IBII", 9 + len(payload), kind, epoch, sequence) + payload


class Peer:
    """Somebody who connects to an agent, with a key or without."""

    def __init__(self, folder, key=None):
        self.folder = folder
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.context.check_hostname = False
        self.context.verify_mode = ssl.CERT_NONE
        if key:
            cert = os.path.join(folder, "cert-%s.pem" % uuid.uuid4().hex)
            subprocess.run(["openssl", "req", "-x509", "-new", "-key", key, "-subj", "/CN=x", "-days",
                            "1", "-out", cert], check=True, stderr=subprocess.DEVNULL)
            self.context.load_cert_chain(cert, key)

    @staticmethod
    def new_key(folder):
        key = os.path.join(folder, "key-%s.pem" % uuid.uuid4().hex)
        subprocess.run(["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt",
                        "ec_paramgen_curve:P-256", "-out", key], check=True, stderr=subprocess.DEVNULL)
        return key

    def connect(self, address):
        raw = socket.create_connection((address, PORT), 10)
        raw.settimeout(15)
        return self.context.wrap_socket(raw)

    def gets(self, address, data=b"", until=b""):
        """What comes back for this: bytes of the agent's, b"" for nothing. Up to `until`, since
        what an earlier session left may stand before it."""
        try:
            with self.connect(address) as tls:
                if data:
                    tls.sendall(data)
                got = tls.recv(4096)
                while got and until not in got and (more := tls.recv(4096)):
                    got += more
                return got
        except (ssl.SSLError, ConnectionError, EOFError):
            return b""

    def record(self, address):
        """Everything said in the opening of a session, as it went over the wire."""
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = self.context.wrap_bio(incoming, outgoing)
        said = b""
        with socket.create_connection((address, PORT), 10) as raw:
            raw.settimeout(10)
            while True:
                try:
                    tls.do_handshake()
                    done = True
                except ssl.SSLWantReadError:
                    done = False
                if outgoing.pending:
                    data = outgoing.read()
                    said += data
                    raw.sendall(data)
                if done:
                    return said
                incoming.write(raw.recv(65536))


class LinkTest(EcsCase):
    def test_only_the_owner_gets_anything(self):
        fake = self.fake()
        folder = tempfile.mkdtemp(prefix="pd-ecs-")
        self.addCleanup(shutil.rmtree, folder)
        with EcsService(fake, config=short_form(1, 1)) as service:
            service.hello()
            address = self.wait_running(fake, 1)[0].address
            attach = frame(1, 0xfffffff0)
            # nobody's key, somebody's key, no TLS at all
            self.assertEqual(Peer(folder).gets(address, attach), b"")
            self.assertEqual(Peer(folder, Peer.new_key(folder)).gets(address, attach), b"")
            with socket.create_connection((address, PORT), 10) as plain:
                plain.settimeout(15)
                plain.sendall(attach)
                try:
                    self.assertNotIn(b"paddock", plain.recv(4096))
                except ConnectionError:
                    pass
            # the owner's key: a session that is not newer, and frames without one
            owner = Peer(folder, os.path.join(service.state_dir, "ecs-link.pem"))
            self.assertEqual(owner.gets(address, frame(1, 1)), b"")
            self.assertEqual(owner.gets(address, frame(2, 0xfffffff0)), b"")
            # what the owner once said, said again by somebody else
            said = owner.record(address)
            with socket.create_connection((address, PORT), 10) as replayer:
                replayer.settimeout(15)
                try:
                    replayer.sendall(said)
                    got = b""
                    while chunk := replayer.recv(65536):
                        got += chunk
                except ConnectionError:
                    pass
                self.assertNotIn(b"paddock\0", got)
            # a crowd that opens connections and says nothing
            crowd = [socket.create_connection((address, PORT), 10) for _ in range(12)]
            service.kill9()
            # the owner, newer: the one way in
            self.assertIn(b"paddock", owner.gets(address, attach, b"paddock"))
            service.start()
            service.hello()
            for idle in crowd:
                idle.close()

    def test_another_key_at_a_known_task(self):
        """A task whose agent was met answers with another key: it is not talked to."""
        fake = self.fake()
        with EcsService(fake, config=short_form(1, 1)) as service:
            service.hello()
            service.kill9()
            path = os.path.join(service.state_dir, "ecs-pins")
            with open(path) as file:
                arn, pin = file.read().split()
            with open(path, "w") as file:
                file.write("%s %s\n" % (arn, "00" * 32))
            service.start()
            service.hello()
            self.assertEqual(len(fake.tasks), 2)
            self.assertEqual(fake.tasks[arn].desired, "STOPPED")


class FaultsTest(EcsCase):
    def stoppable(self, fake):
        return [t for t in fake.tasks.values() if t.desired != "STOPPED"]

    def test_storms_and_lost_answers(self):
        """Throttling, errors, answers that never come, lagging reads: what is wanted comes to
        be, once."""
        fake = self.fake()
        fake.lag = 2.0
        fake.fail("RunTask", 1, "drop")
        fake.fail("RunTask", 2, "throttle")
        fake.fail("DescribeTasks", 3, "500")
        fake.fail("ListTasks", 2, "throttle")
        with EcsService(fake, config=short_form(3, 3)) as service:
            service.hello()
            wait_for(lambda: len([t for t in fake.alive() if t.last == "RUNNING"]) == 3, 60)
            fake.fail("StopTask", 2, "500")
            runs = [c[2] for c in fake.calls if c[1] == "RunTask" and "tags" in c[2]]
            self.assertEqual(sum(1 for r in runs if r["clientToken"] == runs[0]["clientToken"]) > 1, True)
            self.assertEqual(len(fake.tasks), 3)  # none twice
            self.assertEqual(self.stoppable(fake), fake.alive())
        self.assertEqual(self.stoppable(fake), [])

    def test_credentials_that_expire_in_flight(self):
        fake = self.fake()
        env = {"AWS_CONTAINER_CREDENTIALS_FULL_URI": fake.url + "/container",
               "AWS_CONTAINER_AUTHORIZATION_TOKEN": fake.container_token,
               "AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
        with EcsService(fake, env=env, config=short_form(1, 2)) as service:
            service.hello()
            issued = fake.issued
            for key in fake.keys.values():  # revoked, all of a sudden
                key["expires"] = key["expires"] and key["expires"].replace(year=2000)
            self.wait_running(fake, 1)[0].stop("TerminationNotice", "the host is retired")
            wait_for(lambda: fake.issued > issued, 60)
            service.hello()
            self.assertGreater(fake.issued, issued)
            log = service.log()
            for key in fake.keys.values():
                self.assertNotIn(key["secret"], log)
                self.assertNotIn(key["token"] or "no token", log)

    def test_death_before_running_is_told(self):
        fake = self.fake()
        fake.die_in = "PROVISIONING"
        with EcsService(fake, config=short_form(1, 1)) as service:
            wait_for(lambda: "died in PROVISIONING" in service.log(), 60)
            fake.die_in = None
            service.hello()

    def test_no_capacity_goes_elsewhere(self):
        fake = self.fake()
        fake.no_room_in = {"subnet-a", "FARGATE_SPOT"}
        pool = manifest("spot", minSize=1, maxSize=1, languages="[python]",
                        ecs="{capacityProviders: [FARGATE_SPOT, FARGATE]}")
        with EcsService(fake, config=short_form(1, 1), pools={"spot": pool}) as service:
            self.wait_running(fake, 2, 90)
            runs = [c[2] for c in fake.calls if c[1] == "RunTask" and "tags" in c[2]]
            spot = [r for r in runs if {"key": "paddock.dev/pool", "value": "spot"} in r["tags"]]
            self.assertEqual(spot[0]["capacityProviderStrategy"][0]["capacityProvider"], "FARGATE_SPOT")
            self.assertEqual(spot[-1]["launchType"], "FARGATE")
            self.assertIn("no capacity, trying elsewhere", service.log())

    def test_reclaimed_capacity_drains(self):
        """A task that is to go finishes its run, gets none any more, and is replaced."""
        fake = self.fake()
        fake.stop_seconds = 60
        with EcsService(fake, config=short_form(1, 2)) as service:
            service.hello()
            answer = {}
            run = threading.Thread(target=lambda: answer.update(
                service.execute("import time\nprint('a', flush=True)\ntime.sleep(6)\nprint('b')")))
            run.start()
            claimed = lambda: [t for t in self.wait_running(fake, 1)]
            time.sleep(1)
            for task in claimed():
                task.stop("SpotInterruption", "Your Spot Task was interrupted.")
            run.join(60)
            self.assertEqual(answer.get("output"), "a\nb\n", answer)
            service.hello()
            self.assertIn("SpotInterruption", service.log())

    def test_missing_permissions_are_named(self):
        fake = self.fake()
        fake.denied = {"RunTask", "RegisterTaskDefinition"}
        with EcsService(fake, config=short_form(1, 1)) as service:
            wait_for(lambda: "IAM does not allow ecs:RunTask, ecs:RegisterTaskDefinition" in service.log(), 60)
            self.assertEqual(fake.tasks, {})
            fake.denied = set()
            service.hello()

    def test_strangers_are_left_alone(self):
        """Tasks that are not ours, and an earlier life's that belong to no pool."""
        fake = self.fake()
        with EcsService(fake, config=short_form(1, 1)) as service:
            wait_for(lambda: "sandbox ready" in service.log(), 60)
            service.kill9()
            mine = next(iter(fake.tasks.values()))
            run = lambda **more: fake.call("RunTask", dict(
                mine.body, count=1, **more))["tasks"][0]["taskArn"]
            other = run(clientToken="other", startedBy="someone")
            tags = [dict(t, value="gone") if t["key"] == "paddock.dev/pool" else t
                    for t in mine.body["tags"]]
            orphan = run(clientToken="orphan", tags=tags)
            service.start()
            wait_for(lambda: "sandbox adopted" in service.log(), 60)
            service.hello()
            wait_for(lambda: fake.tasks[orphan].desired == "STOPPED", 60)
            self.assertIn("paddock", fake.tasks[orphan].reason)
            self.assertNotEqual(fake.tasks[other].desired, "STOPPED")
            self.assertNotEqual(mine.desired, "STOPPED")



AWS = shutil.which("aws")
MOTO = shutil.which("moto_server")
RUN = ["--launch-type", "FARGATE", "--network-configuration",
       "awsvpcConfiguration={subnets=[%s],securityGroups=[%s]}", "--tags", "key=a,value=b",
       "--started-by", "somebody"]


def shape(value):
    """The kinds of what stands in an answer; lists by their first item."""
    if isinstance(value, dict):
        return {name: shape(member) for name, member in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return type(value).__name__


class ContractTest(unittest.TestCase):
    """The service's calls, and those of the AWS command, at the fake and at moto."""

    def fake(self, **more):
        fake = fake_ecs.Fake(phase_seconds=0.05, **more)
        self.addCleanup(fake.close)
        return fake

    def moto(self):
        if not MOTO:
            self.skipTest("no moto_server")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        log = tempfile.TemporaryFile()
        server = subprocess.Popen([MOTO, "-H", "127.0.0.1", "-p", str(port)], stdout=log, stderr=log)
        self.addCleanup(server.wait, 30)
        self.addCleanup(server.terminate)
        url = "http://127.0.0.1:%d" % port

        def answers():
            """moto"""
            try:
                return self.post(url + "/moto-api/state-manager/set-transition", json.dumps({
                    "model_name": "ecs::task",
                    "transition": {"progression": "time", "seconds": 31536000}}))
            except OSError:
                return None
        wait_for(answers, 60)
        return url

    @staticmethod
    def post(url, body, kind="application/json"):
        request = urllib.request.Request(url, body.encode(), {"Content-Type": kind})
        with urllib.request.urlopen(request, timeout=20) as response:
            return response.read() or b"ok"

    def aws(self, url, *words, key=("AKFAKE", "fake/secret+"), service="ecs"):
        env = dict(os.environ, AWS_ACCESS_KEY_ID=key[0], AWS_SECRET_ACCESS_KEY=key[1],
                   AWS_DEFAULT_REGION="eu-west-1", AWS_PAGER="", AWS_EC2_METADATA_DISABLED="true",
                   AWS_CONFIG_FILE="/dev/null", AWS_SHARED_CREDENTIALS_FILE="/dev/null")
        done = subprocess.run([AWS, service] + list(words) + ["--endpoint-url", url, "--output", "json"],
                              env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120)
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout or b"{}")

    @staticmethod
    def raw(url, service, form, version):
        """A query call at moto before it verifies signatures: quicker than the command."""
        scope = "AWS4-HMAC-SHA256 Credential=x/20260101/eu-west-1/%s/aws4_request" % service
        request = urllib.request.Request(
            url, urllib.parse.urlencode(dict(form, Version=version)).encode(),
            {"Authorization": scope, "Content-Type": "application/x-www-form-urlencoded"})
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.read().decode()

    def conversation(self, url, subnet, group):
        """What the service asks, asked by the AWS command: operation -> answer."""
        said = {}
        definition = {"family": "f", "networkMode": "awsvpc", "requiresCompatibilities": ["FARGATE"],
                      "cpu": "256", "memory": "512", "containerDefinitions": [
                          {"name": "sandbox", "image": "i", "essential": True, "memory": 256}]}
        run = [word % (subnet, group) if "%s" in word else word for word in RUN]
        self.aws(url, "create-cluster", "--cluster-name", "c")
        said["register"] = self.aws(url, "register-task-definition", "--cli-input-json",
                                    json.dumps(definition))
        said["definition"] = self.aws(url, "describe-task-definition", "--task-definition", "f")
        said["run"] = self.aws(url, "run-task", "--cluster", "c", "--task-definition", "f", *run)
        arn = said["run"]["tasks"][0]["taskArn"]
        said["list"] = self.aws(url, "list-tasks", "--cluster", "c", "--started-by", "somebody")
        said["describe"] = self.aws(url, "describe-tasks", "--cluster", "c", "--tasks", arn,
                                    "--include", "TAGS")
        said["stop"] = self.aws(url, "stop-task", "--cluster", "c", "--task", arn, "--reason", "r")
        self.assertEqual(said["list"]["taskArns"], [arn])
        return said

    def network(self, url):
        """Of the default network: interfaces have names there, which moto's tasks need."""
        look = lambda action, mark: re.search("<%s>([^<]+)<" % mark, self.raw(
            url, "ec2", {"Action": action}, "2016-11-15")).group(1)
        subnet, group = look("DescribeSubnets", "subnetId"), look("DescribeSecurityGroups", "groupId")
        return subnet, group

    def test_same_shapes_at_the_fake_and_at_moto(self):
        """What the service reads stands in both, and is of one kind."""
        if is_sanitized():
            print("note: nothing of the service is in this test; it ran with the plain build")
            return
        if not AWS:
            self.skipTest("no aws command")
        moto = self.moto()
        theirs = self.conversation(moto, *self.network(moto))
        ours = self.conversation(self.fake().url, "subnet-1", "sg-1")
        reads = {"register": ["taskDefinition"], "definition": ["taskDefinition"],
                 "run": ["tasks", "failures"], "list": ["taskArns"],
                 "describe": ["tasks", "failures"], "stop": ["task"]}
        for operation, members in reads.items():
            for member in members:
                self.assertEqual(type(ours[operation][member]), type(theirs[operation][member]))
        for name in ("taskDefinitionArn", "family", "revision", "status"):
            self.assertEqual(shape(ours["register"]["taskDefinition"][name]),
                             shape(theirs["register"]["taskDefinition"][name]), name)
        for operation in ("run", "describe"):
            mine, other = ours[operation]["tasks"][0], theirs[operation]["tasks"][0]
            for name in ("taskArn", "clusterArn", "taskDefinitionArn", "lastStatus", "desiredStatus",
                         "startedBy", "containers", "attachments"):
                self.assertEqual(type(mine[name]), type(other[name]), name)
        self.assertEqual(shape(ours["describe"]["tasks"][0]["tags"]),
                         shape(theirs["describe"]["tasks"][0]["tags"]))

    def test_moto_takes_what_the_service_says(self):
        """Its signatures are verified there by an implementation that is neither's."""
        if is_sanitized():
            print("note: moto's errors are tried again for a minute; it ran with the plain build")
            return
        if not AWS:
            self.skipTest("no aws command")
        moto = self.moto()
        subnet, group = self.network(moto)
        self.aws(moto, "create-cluster", "--cluster-name", "sandboxes")
        actions = ["RunTask", "StopTask", "ListTasks", "DescribeTasks", "TagResource",
                   "RegisterTaskDefinition", "DescribeTaskDefinition"]
        iam = lambda **form: self.raw(moto, "iam", form, "2010-05-08")
        iam(Action="CreateUser", UserName="u")
        iam(Action="PutUserPolicy", UserName="u", PolicyName="p", PolicyDocument=json.dumps(
            {"Version": "2012-10-17", "Statement": [{
                "Effect": "Allow", "Action": ["ecs:" + a for a in actions], "Resource": "*"}]}))
        made = iam(Action="CreateAccessKey", UserName="u")
        key = {name: re.search("<%s>([^<]+)<" % name, made).group(1)
               for name in ("AccessKeyId", "SecretAccessKey")}
        self.post(moto + "/moto-api/reset-auth", "0", "text/plain")
        env = {"AWS_ENDPOINT_URL": moto, "AWS_REGION": "eu-west-1",
               "AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"],
               "AWS_EC2_METADATA_DISABLED": "true", "ECS_CLUSTER": "sandboxes",
               "ECS_SUBNET_IDS": subnet, "ECS_SECURITY_GROUP_IDS": group, "ECS_AGENT_IMAGE": "agent",
               "SANDBOX_PROVIDER": "ecs", "AWS_CONFIG_FILE": "/dev/null",
               "AWS_SHARED_CREDENTIALS_FILE": "/dev/null"}
        checked = self.check_live(env)
        self.assertEqual(checked.returncode, 0, checked.stdout)
        wrong = self.check_live(dict(env, AWS_SECRET_ACCESS_KEY="wrong"))
        self.assertEqual(wrong.returncode, 1, wrong.stdout)
        self.assertIn("(403)", wrong.stdout)
        with PlainEcsService(config=short_form(2, 2), env=env):
            arns = lambda: self.aws_arns(moto, key)
            found = wait_for(lambda: (lambda a: a if len(a) >= 2 else None)(arns()), 180, 1)
            tags = self.aws(moto, "describe-tasks", "--cluster", "sandboxes", "--include", "TAGS",
                            "--tasks", *found,
                            key=(key["AccessKeyId"], key["SecretAccessKey"]))["tasks"][0]["tags"]
            self.assertIn({"key": "paddock.dev/pool", "value": "default"}, tags)

    def aws_arns(self, moto, key):
        return self.aws(moto, "list-tasks", "--cluster", "sandboxes", "--desired-status", "RUNNING",
                        key=(key["AccessKeyId"], key["SecretAccessKey"]))["taskArns"]

    @staticmethod
    def check_live(env):
        return subprocess.run([binary(), "check", "--live"], env=dict(os.environ, **env), timeout=120,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def test_check_live(self):
        fake = self.fake()
        env = dict(fake.env(), ECS_AGENT_IMAGE="agent", SANDBOX_PROVIDER="ecs")
        done = self.check_live(env)
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertIn("credentials from environment", done.stdout)
        fake.denied = {"StopTask", "DescribeTaskDefinition"}
        done = self.check_live(env)
        self.assertEqual(done.returncode, 1)
        self.assertIn("IAM does not allow ecs:StopTask, ecs:DescribeTaskDefinition", done.stdout)
        done = self.check_live(dict(env, ECS_CLUSTER="nowhere"))
        self.assertIn("ClusterNotFoundException", done.stdout)
        done = self.check_live(dict(env, AWS_SECRET_ACCESS_KEY="wrong"))
        self.assertIn("InvalidSignatureException", done.stdout)
        self.assertNotIn("wrong", done.stdout)
        # a clock that is off by hours is corrected
        fake.denied = set()
        fake.skew = datetime.timedelta(hours=-3)
        self.assertEqual(self.check_live(env).returncode, 0)
        self.assertEqual(fake.tasks, {})

    def test_every_source_of_credentials(self):
        fake = self.fake()
        folder = tempfile.mkdtemp(prefix="pd-aws-")
        self.addCleanup(shutil.rmtree, folder)
        with open(folder + "/config", "w") as file:
            file.write("[profile role]\nrole_arn = arn:aws:iam::1:role/r\nsource_profile = base\n"
                       "[profile base]\naws_access_key_id = AKFAKE\n"
                       "aws_secret_access_key = fake/secret+\n")
        with open(folder + "/token", "w") as file:
            file.write("web-token\n")
        bare = dict(fake.env(), ECS_AGENT_IMAGE="a", AWS_ACCESS_KEY_ID="", AWS_SECRET_ACCESS_KEY="")
        for name, more in (
                ("profile", {"AWS_PROFILE": "role", "AWS_CONFIG_FILE": folder + "/config"}),
                ("web identity", {"AWS_ROLE_ARN": "arn:r",
                                  "AWS_WEB_IDENTITY_TOKEN_FILE": folder + "/token"}),
                ("container", {"AWS_CONTAINER_CREDENTIALS_FULL_URI": fake.url + "/container",
                               "AWS_CONTAINER_AUTHORIZATION_TOKEN": fake.container_token}),
                ("instance metadata", {"AWS_EC2_METADATA_SERVICE_ENDPOINT": fake.url,
                                       "AWS_EC2_METADATA_DISABLED": ""})):
            with self.subTest(name):
                done = self.check_live(dict(bare, **more))
                self.assertEqual(done.returncode, 0, done.stdout)
                self.assertIn("credentials from " + name, done.stdout)

    def test_cloudformation_template(self):
        lint = shutil.which("cfn-lint")
        if not lint:
            self.skipTest("no cfn-lint")
        done = subprocess.run([lint, os.path.join(ROOT, "deploy", "ecs", "paddock.yaml")],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120)
        self.assertEqual(done.returncode, 0, done.stdout)


if __name__ == "__main__":
    unittest.main()
