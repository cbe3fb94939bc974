"""What ECS and Fargate take, and what they refuse: members and their kinds from the API
reference, limits, and Fargate's rules for task definitions."""

import re


class Bad(Exception):
    """args: an error code, a sentence."""

    def __init__(self, code, text, **more):
        super().__init__(code, text)
        self.more = more


TEXT, NUMBER, FLAG, TEXTS = str, int, bool, [str]
TAG = {"key": TEXT, "value": TEXT}
NETWORK = {"awsvpcConfiguration": {"subnets": TEXTS, "securityGroups": TEXTS,
                                   "assignPublicIp": TEXT}}
STRATEGY = [{"capacityProvider": TEXT, "weight": NUMBER, "base": NUMBER}]
CONTAINER = {
    "name": TEXT, "image": TEXT, "essential": FLAG, "cpu": NUMBER, "memory": NUMBER,
    "memoryReservation": NUMBER, "entryPoint": TEXTS, "command": TEXTS, "user": TEXT,
    "workingDirectory": TEXT, "readonlyRootFilesystem": FLAG, "stopTimeout": NUMBER,
    "startTimeout": NUMBER, "privileged": FLAG, "disableNetworking": FLAG, "links": TEXTS,
    "dnsServers": TEXTS, "dnsSearchDomains": TEXTS, "dockerSecurityOptions": TEXTS,
    "extraHosts": [dict], "dependsOn": [{"containerName": TEXT, "condition": TEXT}],
    "environment": [{"name": TEXT, "value": TEXT}],
    "mountPoints": [{"sourceVolume": TEXT, "containerPath": TEXT, "readOnly": FLAG}],
    "portMappings": [dict], "logConfiguration": dict, "healthCheck": dict,
    "ulimits": [{"name": TEXT, "softLimit": NUMBER, "hardLimit": NUMBER}],
    "linuxParameters": {
        "capabilities": {"add": TEXTS, "drop": TEXTS}, "initProcessEnabled": FLAG,
        "sharedMemorySize": NUMBER, "maxSwap": NUMBER, "swappiness": NUMBER, "devices": [dict],
        "tmpfs": [{"containerPath": TEXT, "size": NUMBER, "mountOptions": TEXTS}]},
}
OPERATIONS = {
    "RunTask": {
        "taskDefinition": TEXT, "cluster": TEXT, "count": NUMBER, "launchType": TEXT,
        "capacityProviderStrategy": STRATEGY, "platformVersion": TEXT, "group": TEXT,
        "networkConfiguration": NETWORK, "startedBy": TEXT, "clientToken": TEXT, "tags": [TAG],
        "enableECSManagedTags": FLAG, "enableExecuteCommand": FLAG, "propagateTags": TEXT,
        "overrides": dict},
    "StopTask": {"cluster": TEXT, "task": TEXT, "reason": TEXT},
    "ListTasks": {"cluster": TEXT, "startedBy": TEXT, "desiredStatus": TEXT, "nextToken": TEXT,
                  "maxResults": NUMBER, "family": TEXT, "launchType": TEXT, "serviceName": TEXT,
                  "containerInstance": TEXT},
    "DescribeTasks": {"cluster": TEXT, "tasks": TEXTS, "include": TEXTS},
    "DescribeClusters": {"clusters": TEXTS, "include": TEXTS},
    "CreateCluster": {"clusterName": TEXT, "tags": [TAG]},
    "RegisterTaskDefinition": {
        "family": TEXT, "taskRoleArn": TEXT, "executionRoleArn": TEXT, "networkMode": TEXT,
        "containerDefinitions": [CONTAINER], "volumes": [{"name": TEXT, "host": dict}],
        "requiresCompatibilities": TEXTS, "cpu": TEXT, "memory": TEXT, "tags": [TAG],
        "ipcMode": TEXT, "pidMode": TEXT, "ephemeralStorage": {"sizeInGiB": NUMBER},
        "runtimePlatform": {"cpuArchitecture": TEXT, "operatingSystemFamily": TEXT}},
    "DescribeTaskDefinition": {"taskDefinition": TEXT, "include": TEXTS},
}
REQUIRED = {"RunTask": ["taskDefinition"], "StopTask": ["task"], "DescribeTasks": ["tasks"],
            "RegisterTaskDefinition": ["family", "containerDefinitions"],
            "DescribeTaskDefinition": ["taskDefinition"]}
TMPFS_OPTIONS = set("""defaults ro rw suid nosuid dev nodev exec noexec sync async dirsync remount
    mand nomand atime noatime diratime nodiratime bind rbind unbindable runbindable private
    rprivate shared rshared slave rslave relatime norelatime strictatime nostrictatime mode uid
    gid nr_inodes nr_blocks mpol""".split())
CAPABILITIES = set("""ALL AUDIT_CONTROL AUDIT_WRITE BLOCK_SUSPEND CHOWN DAC_OVERRIDE
    DAC_READ_SEARCH FOWNER FSETID IPC_LOCK IPC_OWNER KILL LEASE LINUX_IMMUTABLE MAC_ADMIN
    MAC_OVERRIDE MKNOD NET_ADMIN NET_BIND_SERVICE NET_BROADCAST NET_RAW SETFCAP SETGID SETPCAP
    SETUID SYS_ADMIN SYS_BOOT SYS_CHROOT SYS_MODULE SYS_NICE SYS_PACCT SYS_PTRACE SYS_RAWIO
    SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG SYSLOG WAKE_ALARM""".split())
SIZES = {256: [512, 1024, 2048], 512: range(1024, 4097, 1024), 1024: range(2048, 8193, 1024),
         2048: range(4096, 16385, 1024), 4096: range(8192, 30721, 1024),
         8192: range(16384, 61441, 4096), 16384: range(32768, 122881, 8192)}


def check_shape(value, shape, path):
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            raise Bad("SerializationException", "%s is no structure" % path)
        for name, member in value.items():
            if name not in shape:
                raise Bad("SerializationException", "%s has no member %s" % (path, name))
            check_shape(member, shape[name], path + "." + name)
    elif isinstance(shape, list):
        if not isinstance(value, list):
            raise Bad("SerializationException", "%s is no list" % path)
        for i, item in enumerate(value):
            check_shape(item, shape[0], "%s[%d]" % (path, i))
    elif not isinstance(value, shape) or (shape is int and isinstance(value, bool)):
        raise Bad("SerializationException", "%s is no %s" % (path, shape.__name__))


def need(condition, text, code="InvalidParameterException"):
    if not condition:
        raise Bad(code, text)


def check_call(operation, body):
    check_shape(body, OPERATIONS[operation], operation)
    for name in REQUIRED.get(operation, []):
        need(name in body, "%s is required" % name)


def check_run(body):
    need(1 <= body.get("count", 1) <= 10, "count must be 1 to 10")
    need(not ("launchType" in body and "capacityProviderStrategy" in body),
         "launchType and capacityProviderStrategy exclude each other")
    need(body.get("launchType", "FARGATE") == "FARGATE", "only Fargate is here")
    need(len(body.get("startedBy", "")) <= 128 and
         re.fullmatch(r"[A-Za-z0-9/_-]*", body.get("startedBy", "")), "startedBy")
    need(re.fullmatch(r"[\x21-\x7e]{0,64}", body.get("clientToken", "")), "clientToken")
    network = body.get("networkConfiguration", {}).get("awsvpcConfiguration")
    need(network, "Network Configuration must be provided when networkMode 'awsvpc' is specified.")
    need(1 <= len(network.get("subnets", [])) <= 16, "subnets can not be empty.")
    need(len(network.get("securityGroups", [])) <= 5, "at most 5 security groups")
    need(network.get("assignPublicIp", "DISABLED") in ("ENABLED", "DISABLED"), "assignPublicIp")
    need(len(body.get("tags", [])) <= 50, "at most 50 tags")
    for tag in body.get("tags", []):
        need(0 < len(tag.get("key", "")) <= 128 and len(tag.get("value", "")) <= 256 and
             not tag["key"].lower().startswith("aws:"), "tags")
        need(re.fullmatch(r"[\w .:/=+@-]*", tag["key"] + tag.get("value", "")), "tags")


def check_definition(body):
    client = lambda condition, text: need(condition, text, "ClientException")
    client(re.fullmatch(r"[A-Za-z0-9_-]{1,255}", body["family"]), "family")
    client(1 <= len(body["containerDefinitions"]) <= 10, "Container list cannot be empty.")
    client(body.get("networkMode") == "awsvpc", "Fargate needs networkMode awsvpc")
    client("FARGATE" in body.get("requiresCompatibilities", []), "requiresCompatibilities")
    client("ipcMode" not in body, "ipcMode is not supported on Fargate")
    cpu, memory = int(body.get("cpu", 0)), int(body.get("memory", 0))
    client(cpu in SIZES and memory in SIZES[cpu],
           "No Fargate configuration exists for given values: %s CPU, %s memory" % (cpu, memory))
    client(sum(c.get("memory", 0) for c in body["containerDefinitions"]) <= memory,
           "the containers' memory is more than the task's")
    volumes = {v["name"] for v in body.get("volumes", [])}
    for volume in body.get("volumes", []):
        client(not volume.get("host", {}).get("sourcePath"), "sourcePath is not supported on Fargate")
    client(any(c.get("essential", True) for c in body["containerDefinitions"]), "none is essential")
    for container in body["containerDefinitions"]:
        check_container(container, {c["name"] for c in body["containerDefinitions"]}, volumes,
                        client)


def check_container(container, names, volumes, client):
    for name in ("privileged", "disableNetworking", "links", "dnsServers", "dnsSearchDomains",
                 "dockerSecurityOptions", "extraHosts"):
        client(not container.get(name), "%s is not supported on Fargate" % name)
    client(re.fullmatch(r"[A-Za-z0-9_-]{1,255}", container.get("name", "")), "name")
    client(container.get("image"), "Container.image should not be null or empty.")
    client(2 <= container.get("stopTimeout", 30) <= 120, "stopTimeout")
    for mount in container.get("mountPoints", []):
        client(mount["sourceVolume"] in volumes, "mountPoints: no such volume")
    for after in container.get("dependsOn", []):
        client(after["containerName"] in names, "dependsOn: no such container")
        client(after["condition"] in ("START", "COMPLETE", "SUCCESS", "HEALTHY"), "condition")
    linux = container.get("linuxParameters", {})
    for name in ("sharedMemorySize", "maxSwap", "swappiness", "devices"):
        client(name not in linux, "%s is not supported on Fargate" % name)
    client(set(linux.get("capabilities", {}).get("add", [])) <= {"SYS_PTRACE"},
           "Fargate adds no capability but SYS_PTRACE")
    client(set(linux.get("capabilities", {}).get("drop", [])) <= CAPABILITIES, "drop")
    for tmpfs in linux.get("tmpfs", []):
        client(tmpfs.get("containerPath", "").startswith("/") and tmpfs.get("size", 0) > 0, "tmpfs")
        client(set(tmpfs.get("mountOptions", [])) <= TMPFS_OPTIONS, "tmpfs mountOptions")
