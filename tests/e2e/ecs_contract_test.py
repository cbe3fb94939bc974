"""The service's calls, and those of the AWS command, at the fake ECS and at moto; every
source of credentials."""

import datetime
import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
import unittest
import urllib.parse
import urllib.request

from lib.ecs import PlainEcsService, fake_ecs
from lib.service import ROOT, binary, is_sanitized, short_form, wait_for

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
            print("note: signatures are the plain build's matter; it ran there")
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
        """Of those that have been stopped since, too: nobody lives at moto's addresses."""
        key = key["AccessKeyId"], key["SecretAccessKey"]
        return sorted({arn for status in ("RUNNING", "STOPPED") for arn in self.aws(
            moto, "list-tasks", "--cluster", "sandboxes", "--desired-status", status, key=key)["taskArns"]})

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
