"""Tasks as containers of the real engine: an init container, a volume, a container with
an address of its own on a bridge, Docker's default seccomp profile (which, as Fargate
does, denies user namespaces)."""

import threading
import time
import uuid

LABEL = "paddock.test/fake-ecs"
PHASES = ("PROVISIONING", "PENDING", "ACTIVATING")


class Task:
    def __init__(self, fake, definition, body, cluster):
        self.fake, self.definition, self.body, self.cluster = fake, definition, body, cluster
        self.id = uuid.uuid4().hex
        self.arn = "arn:aws:ecs:%s:123456789012:task/%s/%s" % (fake.region, cluster, self.id)
        self.created = time.time()
        self.last, self.desired = "PROVISIONING", "RUNNING"
        self.history = [(self.created, "PROVISIONING", "RUNNING")]
        self.address = ""
        self.stop_code = self.reason = self.detail = ""
        self.containers, self.volume = [], None
        self.changed = threading.Condition()
        self.thread = threading.Thread(target=self._live, daemon=True)
        self.thread.start()

    # ---- what is said of it ----

    def move(self, last=None, desired=None):
        with self.changed:
            self.last, self.desired = last or self.last, desired or self.desired
            self.history.append((time.time(), self.last, self.desired))
            self.changed.notify_all()

    def seen(self, lag):
        """(last, desired) as a reader sees it that lags so far behind; None: not yet."""
        before = [h for h in self.history if h[0] <= time.time() - lag]
        return before[-1][1:] if before else None

    def described(self, lag, tags):
        last, desired = self.seen(lag)
        status = "RUNNING" if last == "RUNNING" else "STOPPED" if last == "STOPPED" else "PENDING"
        interface = [{"attachmentId": self.id, "privateIpv4Address": self.address}]
        out = {
            "taskArn": self.arn, "clusterArn": self.fake.cluster_arn(self.cluster),
            "taskDefinitionArn": self.definition["taskDefinitionArn"], "lastStatus": last,
            "desiredStatus": desired, "createdAt": self.created, "launchType": "FARGATE",
            "startedBy": self.body.get("startedBy", ""), "version": len(self.history),
            "cpu": self.definition["cpu"], "memory": self.definition["memory"],
            "group": "family:" + self.definition["family"], "overrides": {},
            "platformVersion": "1.4.0", "attributes": [], "tags": [],
            "availabilityZone": self.fake.region + "a",
            "attachments": [{"id": self.id, "type": "ElasticNetworkInterface",
                             "status": "ATTACHED" if self.address else "PRECREATED",
                             "details": [{"name": "privateIPv4Address", "value": self.address}]
                             if self.address else []}],
            "containers": [
                {"name": c["name"], "image": c["image"], "lastStatus": status, "taskArn": self.arn,
                 "containerArn": self.arn.replace(":task/", ":container/") + "/" + c["name"],
                 "networkInterfaces": interface if self.address else [],
                 **({"reason": self.detail} if self.detail and last == "STOPPED" else {})}
                for c in self.definition["containerDefinitions"]],
        }
        if tags:
            out["tags"] = self.body.get("tags", [])
        if self.stop_code and last not in ("RUNNING",) + PHASES:
            out.update(stopCode=self.stop_code, stoppedReason=self.reason)
        return out

    # ---- life ----

    def _wait(self, seconds):
        """Until then, or until it is to stop: whether it may go on."""
        end = time.monotonic() + seconds
        with self.changed:
            while self.desired == "RUNNING" and time.monotonic() < end:
                self.changed.wait(max(0.001, end - time.monotonic()))
            return self.desired == "RUNNING"

    def _live(self):
        try:
            if self._start():
                self._run()
        except Exception as why:  # whatever the engine refuses
            self._end("TaskFailedToStart", "CannotStartContainerError: %s" % why)
        self._finish()

    def _start(self):
        fake = self.fake
        for phase in PHASES:
            self.move(phase)
            if not self._wait(fake.phase_seconds):
                return False
            if fake.die_in == phase:
                self._end("TaskFailedToStart", "ResourceInitializationError: died in " + phase)
                return False
            if phase == "PENDING" and fake.engine and not self._prepare():
                return False
        if not fake.engine:
            self.address = fake.address or "192.0.2.1"
        self.move("RUNNING")
        return True

    def _prepare(self):
        init, main = self.definition["containerDefinitions"]
        self.volume = "fake-ecs-" + self.id
        self.fake.docker("POST", "/volumes/create",
                         {"Name": self.volume, "Labels": {LABEL: self.fake.run}})
        for image in (init["image"], main["image"]):
            if self.fake.engine.call("GET", "/images/%s/json" % image)[0] != 200:
                self.detail = "CannotPullContainerError: pull image manifest has been retried: %s" % image
                self._end("TaskFailedToStart", self.detail)
                return False
        first = self._container(init)
        self.fake.docker("POST", "/containers/%s/start" % first)
        status = self.fake.docker("POST", "/containers/%s/wait" % first)["StatusCode"]
        if status != 0:
            self._end("TaskFailedToStart", "the init container ended with %d" % status)
            return False
        self.main = self._container(main)
        self.fake.docker("POST", "/containers/%s/start" % self.main)
        networks = self.fake.docker("GET", "/containers/%s/json" % self.main)["NetworkSettings"]
        self.address = list(networks["Networks"].values())[0]["IPAddress"]
        return True

    def _container(self, spec):
        linux = spec.get("linuxParameters", {})
        host = {
            "NetworkMode": self.fake.network, "ReadonlyRootfs": spec.get("readonlyRootFilesystem", False),
            "CapDrop": linux.get("capabilities", {}).get("drop", []), "Memory": spec["memory"] << 20,
            "MemorySwap": spec["memory"] << 20, "LogConfig": {"Type": "json-file"},
            "Ulimits": [{"Name": u["name"], "Soft": u["softLimit"], "Hard": u["hardLimit"]}
                        for u in spec.get("ulimits", [])],
            "Tmpfs": {t["containerPath"]: ",".join(["size=%dm" % t["size"]] + t.get("mountOptions", []))
                      for t in linux.get("tmpfs", [])},
            "Mounts": [{"Type": "volume", "Source": self.volume, "Target": m["containerPath"],
                        "ReadOnly": m.get("readOnly", False)} for m in spec.get("mountPoints", [])],
        }
        environment = ["%s=%s" % (e["name"], e["value"]) for e in spec.get("environment", [])]
        environment += ["AWS_EXECUTION_ENV=AWS_ECS_FARGATE",
                        "ECS_CONTAINER_METADATA_URI_V4=http://169.254.170.2/v4/" + self.id]
        made = self.fake.docker("POST", "/containers/create", {
            "Image": spec["image"], "Entrypoint": spec.get("entryPoint"), "Cmd": spec.get("command", []),
            "User": spec.get("user", ""), "WorkingDir": spec.get("workingDirectory", ""),
            "Env": environment, "HostConfig": host, "Labels": {LABEL: self.fake.run},
            "StopTimeout": spec.get("stopTimeout", 30)})
        self.containers.append(made["Id"])
        return made["Id"]

    def _run(self):
        if not self.fake.engine:
            self._wait(1e9)
            return
        while self._wait(0.2):
            if not self.fake.is_running(self.main):
                self._end("EssentialContainerExited", "Essential container in task exited")
                return

    def _end(self, code, reason):
        self.stop_code, self.reason = self.stop_code or code, self.reason or reason
        self.move(desired="STOPPED")

    def stop(self, code, reason):
        with self.changed:
            if self.desired == "STOPPED":
                return
            self.stop_code, self.reason = code, reason
        self.move(desired="STOPPED")

    def _finish(self):
        fake = self.fake
        if self.containers and fake.is_running(self.containers[-1]):
            # SIGTERM, then the stop timeout, as ECS does it; RUNNING meanwhile on Spot
            fake.engine.call("POST", "/containers/%s/stop?t=%d" % (self.containers[-1], fake.stop_seconds),
                             timeout=fake.stop_seconds + 60)
        for phase in ("DEACTIVATING", "STOPPING", "DEPROVISIONING"):
            self.move(phase)
            time.sleep(fake.phase_seconds / 4)
        for container in self.containers:
            fake.engine.remove(container)
        if self.volume:
            fake.engine.call("DELETE", "/volumes/%s?force=1" % self.volume)
        self.move("STOPPED")
