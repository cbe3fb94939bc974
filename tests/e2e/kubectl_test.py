"""kubectl as a client: every version found here, against the real engine."""

import json
import os
import re
import subprocess
import threading
import time
import unittest

from lib import kubectl
from lib.kubectl import Kubectl
from lib.service import IMAGE, Service, binary, is_sanitized, manifest, short_form, wait_for

KUBECTLS = kubectl.installed()
SPARE_POOL = short_form(0, 2)


def pool(name, **spec):
    return manifest(name, **dict({"minSize": 1, "maxSize": 4, "targetIdle": 0}, **spec))


class Reader:
    """The lines of a process, as they come."""

    def __init__(self, process):
        self.process, self.lines = process, []
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.append(line)

    def wait(self, pattern, timeout=30):
        def seen():
            return any(re.search(pattern, line) for line in list(self.lines))
        seen.__doc__ = "%r among %r" % (pattern, self.lines)
        wait_for(seen, timeout)

    def end(self, timeout=20):
        self.process.wait(timeout)
        self.thread.join(timeout)
        return "".join(self.lines)


@unittest.skipUnless(KUBECTLS, "no kubectl from 1.28 on is installed")
class KubectlTest(unittest.TestCase):

    def test_each_version(self):
        with Service(SPARE_POOL) as service:
            for version, path in sorted(KUBECTLS.items()):
                with self.subTest(version="%d.%d" % version):
                    self.smoke(service, Kubectl(service, path), "v%d-%d" % version)

    def smoke(self, service, k, name):
        self.assertIn("sandboxpools", k("api-resources"))
        self.assertIn("created", k("apply", "-f", "-", text=pool(name)))
        self.assertIn("unchanged", k("apply", "-f", "-", text=pool(name)))
        k("wait", "--for=condition=Available", "sandboxpool/" + name, "--timeout=60s")
        service.wait_sandboxes(1, name)
        self.assertRegex(k("get", "sbp", name, "-o", "wide"), r"(?m)^%s +docker .* api " % name)
        self.assertIn("serverside-applied",
                      k("apply", "--server-side", "--force-conflicts", "-f", "-",
                        text=pool(name, targetIdle=1)))
        self.assertEqual(k.json("get", "sbp", name)["spec"]["targetIdle"], 1)
        k("scale", "sbp", name, "--replicas=2")
        service.wait_sandboxes(2, name)
        k("patch", "sbp", name, "--type=merge", "-p", '{"spec":{"minSize":1,"targetIdle":0}}')
        k("label", "sbp", name, "seen=yes")
        self.assertIn(name, k("get", "sbp", "-l", "seen=yes", "-o", "name"))
        self.assertIn("ScaledUp", k("describe", "sbp", name))
        self.assertIn("minSize", k("explain", "sandboxpools.spec", "--recursive"))
        self.assertIn("unknown field", k.fails("apply", "-f", "-", text=pool(name, minSice=1)))
        k("delete", "sbp", name, "--timeout=60s")
        self.assertEqual(service.sandboxes(name), [])

    def test_everyday(self):
        with Service(SPARE_POOL) as service:
            k = Kubectl(service)
            self.reads(service, k)
            self.changes(service, k)
            self.goes(service, k)

    def reads(self, service, k):
        self.assertIn("created", k("apply", "-f", "-", text=pool("py")))
        service.wait_sandboxes(1, "py")
        k("wait", "--for=condition=Available", "sbp/py", "--timeout=60s")
        table = k("get", "sbp")
        self.assertRegex(table, r"NAME +PROVIDER +IMAGE +MIN +MAX +READY +CLAIMED +AVAILABLE +AGE")
        self.assertRegex(table, r"(?m)^py +docker +%s +1 +4 +1 +0 +True +\d+s$" % IMAGE)
        self.assertRegex(k("get", "sbp", "-A"), r"(?m)^default +py ")
        self.assertIn("kind: SandboxPool", k("get", "sbp", "py", "-o", "yaml"))
        self.assertEqual(k("get", "sbp", "py", "-o", "jsonpath={.status.readyReplicas}"), "1")
        self.assertRegex(k("get", "all"), r"(?s)sandboxpool.paddock.dev/py.*sandbox.paddock.dev/py-")
        found = k.json("get", "sandboxes", "-l", "paddock.dev/pool=py")["items"]
        self.assertEqual([s["metadata"]["name"] for s in found],
                         [c["Labels"]["paddock.dev/sandbox"] for c in service.sandboxes("py")])
        self.assertEqual(found[0]["status"]["providerID"], service.sandboxes("py")[0]["Id"])
        self.assertEqual(found[0]["status"]["phase"], "Warm")
        self.assertIn("405", k.fails("delete", "sandbox", found[0]["metadata"]["name"], "-v=6"))
        story = k("describe", "sbp", "py")
        self.assertRegex(story, r"(?s)Events:.*Normal +ScaledUp")
        self.assertRegex(k("get", "events"), r"Normal +ScaledUp +sandboxpool/py +from 0 to 1")
        self.assertRegex(k("events", "--for=sandboxpool/py"), r"ScaledUp")
        self.assertIn("default", k("get", "ns"))

    def changes(self, service, k):
        differs = k.try_("diff", "-f", "-", text=pool("py", minSize=2))
        self.assertEqual(differs.returncode, 1, differs.stderr)
        self.assertRegex(differs.stdout, r"(?m)^-  minSize: 1\n\+  minSize: 2$")
        self.assertEqual(len(service.sandboxes("py")), 1)
        same = k.try_("diff", "-f", "-", text=pool("py"))
        self.assertEqual(same.returncode, 0, same.stdout + same.stderr)
        self.assertIn("configured", k("apply", "-f", "-", text=pool("py", minSize=2)))
        service.wait_sandboxes(2, "py")
        k("scale", "sbp", "py", "--replicas=3")
        service.wait_sandboxes(3, "py")
        k("scale", "sbp", "py", "--replicas=1", "--current-replicas=3")
        self.assertIn("Expected", k.fails("scale", "sbp", "py", "--replicas=2",
                                          "--current-replicas=3"))
        generation = k.json("get", "sbp", "py")["metadata"]["generation"]
        k("label", "sbp", "py", "team=green")
        k("annotate", "sbp", "py", "note=hello there")
        found = k.json("get", "sbp", "-l", "team in (green,blue),!none")["items"]
        self.assertEqual([p["metadata"]["name"] for p in found], ["py"])
        self.assertEqual(found[0]["metadata"]["generation"], generation, "labels are no spec")
        k("patch", "sbp", "py", "--type=json",
          "-p", '[{"op":"test","path":"/spec/maxSize","value":4},'
                '{"op":"replace","path":"/spec/maxSize","value":5}]')
        k("patch", "sbp", "py", "--type=merge", "-p", '{"metadata":{"labels":{"team":null}}}')
        self.assertNotIn("team", k.json("get", "sbp", "py")["metadata"].get("labels", {}))
        self.assertIn("strategic", k.fails("patch", "sbp", "py", "-p", '{"spec":{"maxSize":6}}'))
        editor = os.path.join(service.dir, "editor")
        with open(editor, "w") as file:
            file.write("#!/bin/sh\nsed -i 's/maxSize: 5/maxSize: 7/' \"$1\"\n")
        os.chmod(editor, 0o755)
        self.assertIn("edited", k("edit", "sbp", "py", env={"KUBE_EDITOR": editor}))
        after = k.json("get", "sbp", "py")
        self.assertEqual(after["spec"]["maxSize"], 7)
        self.assertGreater(after["metadata"]["generation"], generation)
        k("replace", "-f", "-", text=pool("py", minSize=1))
        self.assertEqual(k.json("get", "sbp", "py")["spec"]["maxSize"], 4)

    def goes(self, service, k):
        """A pool that goes lets its run finish."""
        run = threading.Thread(target=lambda: self.answers.append(service.request(
            "POST", "/execute", {"code": "import time; time.sleep(4); print('finished')",
                                 "language": "python", "pool": "py"})))
        self.answers = []
        run.start()

        def claimed():
            """a claimed sandbox"""
            return "Claimed" in k("get", "sb")
        wait_for(claimed, 30)
        k("delete", "sbp", "py", "--wait=false")
        gone = k.json("get", "sbp", "py")["metadata"]
        self.assertIn("deletionTimestamp", gone)
        self.assertEqual(gone["finalizers"], ["paddock.dev/drain"])
        self.assertIn("being deleted", k.fails("scale", "sbp", "py", "--replicas=2"))
        k("wait", "--for=delete", "sbp/py", "--timeout=60s")
        run.join(60)
        self.assertEqual(self.answers[0].json.get("output"), "finished\n", self.answers)
        self.assertEqual(service.sandboxes("py"), [])

    def test_server_side_apply(self):
        with Service(SPARE_POOL) as service:
            k = Kubectl(service)
            apply = ["apply", "--server-side", "-f", "-"]
            k(*apply, text=pool("py", maxSize=6))
            version = k.json("get", "sbp", "py")["metadata"]["resourceVersion"]
            k(*apply, text=pool("py", maxSize=6))
            self.assertEqual(k.json("get", "sbp", "py")["spec"]["maxSize"], 6)
            k(*apply, "--field-manager=other", text=pool("py", maxSize=6))
            conflict = k.fails(*apply, "--field-manager=third", text=pool("py", maxSize=7))
            self.assertRegex(conflict, r'conflict with "(kubectl|other)".*: \.spec\.maxSize')
            k(*apply, "--field-manager=third", "--force-conflicts", text=pool("py", maxSize=7))
            managed = k("get", "sbp", "py", "-o", "json", "--show-managed-fields")
            owners = {entry["manager"]: entry for entry in
                      json.loads(managed)["metadata"]["managedFields"]}
            self.assertEqual(set(owners), {"kubectl", "other", "third"})
            self.assertIn("f:maxSize", owners["third"]["fieldsV1"]["f:spec"])
            self.assertNotIn("f:maxSize", owners["kubectl"]["fieldsV1"]["f:spec"])
            # What its only owner says no more goes back to its default.
            text = "\n".join(line for line in pool("py").splitlines() if "maxSize" not in line)
            k(*apply, "--field-manager=third", text=text)
            self.assertEqual(k.json("get", "sbp", "py")["spec"]["maxSize"], 10)
            self.assertNotEqual(k.json("get", "sbp", "py")["metadata"]["resourceVersion"], version)
            differs = k.try_("diff", "--server-side", "--field-manager=third", "-f", "-",
                             text=text.replace("minSize: 1", "minSize: 2"))
            self.assertIn("conflict", (differs.stdout + differs.stderr).lower())
            # From client-side apply over to it.
            k("apply", "-f", "-", text=pool("old"))
            k(*apply, text=pool("old"))
            managed = json.loads(k("get", "sbp", "old", "-o", "json", "--show-managed-fields"))
            self.assertEqual({(entry["manager"], entry["operation"])
                              for entry in managed["metadata"]["managedFields"]},
                             {("kubectl", "Apply"), ("kubectl-last-applied", "Apply")})

    def test_watch(self):
        with Service(SPARE_POOL) as service:
            k = Kubectl(service)
            pools = Reader(k.start("get", "sbp", "-w"))
            members = Reader(k.start("get", "sandboxes", "-w", "-o", "wide"))
            events = Reader(k.start("get", "events", "-w", "--field-selector",
                                    "involvedObject.name=py"))
            pools.wait(r"^default ")
            k("apply", "-f", "-", text=pool("py"))
            pools.wait(r"^py +docker .* 1 +0 +True ")
            members.wait(r"^py-\S+ +py +Warm ")
            events.wait(r"ScaledUp +sandboxpool/py")
            k("delete", "sbp", "py")
            members.wait(r"^py-\S+ +py +Terminating .* its pool is being deleted")
            began = time.monotonic()
            self.assertEqual(service.stop(), 0)
            self.assertLess(time.monotonic() - began, 15, "watches end when the service drains")
            for reader in (pools, members, events):
                reader.process.terminate()
                self.assertNotIn("rror", reader.end())

    def test_explain_every_field(self):
        with Service(SPARE_POOL) as service:
            k = Kubectl(service)
            document = service.request("GET", "/openapi/v3/apis/paddock.dev/v1").json
            schemas = document["components"]["schemas"]
            paths = []

            def walk(schema, path):
                for name, member in schema.get("properties", {}).items():
                    if name != "metadata":
                        paths.append((path + [name], member.get("description", "")))
                        walk(member.get("items", member), path + [name])
            walk(schemas["dev.paddock.v1.SandboxPool"], ["sandboxpool"])
            walk(schemas["dev.paddock.v1.Sandbox"], ["sandbox"])
            self.assertGreater(len(paths), 80)
            recursive = k("explain", "sandboxpool", "--recursive") + \
                k("explain", "sandbox", "--recursive")
            for path, description in paths:
                self.assertTrue(description, path)
                self.assertRegex(recursive, r"\s%s\t" % re.escape(path[-1]))
            chosen = paths if not is_sanitized() else paths[::8]
            for path, description in chosen[::3]:
                said = " ".join(k("explain", ".".join(path)).split())
                self.assertIn(" ".join(description.split()), said)

    def test_mistakes(self):
        with Service(SPARE_POOL, pools={"filed": pool("filed", minSize=0)}) as service:
            k = Kubectl(service)
            self.assertIn('unknown field "spec.minSice"',
                          k.fails("apply", "-f", "-", text=pool("py", minSice=1)))
            self.assertIn('Warning: unknown field "spec.minSice"',
                          k("apply", "--validate=warn", "-f", "-", text=pool("py", minSice=1)))
            self.assertNotIn("Warning", k("apply", "--validate=ignore", "-f", "-",
                                          text=pool("py", minSice=1)))
            said = k.fails("apply", "-f", "-", text=pool("py", minSize=-3))
            self.assertRegex(said, r'"py" is invalid.*spec.minSize: .*must be >= 0, got -3')
            self.assertIn("spec.minSize", k.fails("scale", "sbp", "py", "--replicas=99"))
            self.assertIn("NotFound", k.fails("get", "sbp", "nobody"))
            self.assertIn("not found", k.fails("apply", "-n", "elsewhere", "-f", "-",
                                               text=pool("py")))
            self.assertIn("No resources", k("get", "sbp", "-n", "elsewhere"))
            self.assertIn("AlreadyExists", k.fails("create", "-f", "-", text=pool("py")))
            owner = "belongs to file:"
            for words in (["scale", "sbp", "filed", "--replicas=1"], ["delete", "sbp", "filed"],
                          ["label", "sbp", "filed", "a=b"]):
                self.assertIn(owner, k.fails(*words, timeout=120))
            self.assertEqual(k.json("get", "sbp", "filed")["spec"]["minSize"], 0)
            stale = k.json("get", "sbp", "py")
            k("label", "sbp", "py", "a=b")
            self.assertIn("modified", k.fails("replace", "-f", "-", text=json.dumps(stale)))

    def test_scopes(self):
        with Service(SPARE_POOL) as service:
            admin = Kubectl(service)
            admin("apply", "-f", "-", text=pool("py", minSize=0))
            made = subprocess.run([binary(), "key", "new", "--scopes", "read", "--state-dir",
                                   service.state_dir], env=service.env, capture_output=True,
                                  text=True, timeout=30)
            reader = Kubectl(service, key=made.stdout.split()[-1])

            def sees():
                """the new key to be in force"""
                return reader.try_("get", "sbp", "py").returncode == 0
            wait_for(sees, 15)
            for words in (["label", "sbp", "py", "a=b"], ["delete", "sbp", "py"],
                          ["scale", "sbp", "py", "--replicas=1"]):
                self.assertRegex(reader.fails(*words), r"Forbidden.*sandboxpools.paddock.dev \"py\"")
            self.assertIn("Forbidden", reader.fails("create", "-f", "-", text=pool("new")))
            self.assertIn("py", reader("get", "sbp"))
            stranger = Kubectl(service, key="nobodys-key-0000")
            self.assertRegex(stranger.fails("get", "sbp"), r"Unauthorized|logged in")
            service.request("DELETE", "/apis/paddock.dev/v1/namespaces/default/sandboxpools/py")

    def test_kept(self):
        """Pools made here outlive a kill, and are the same afterwards."""
        with Service(SPARE_POOL) as service:
            k = Kubectl(service)
            k("apply", "-f", "-", text=pool("py", minSize=1))
            k("label", "sbp", "py", "team=green")
            service.wait_sandboxes(1, "py")
            before, members = k.json("get", "sbp", "py"), service.sandboxes("py")
            service.kill9()
            service.start()
            k = Kubectl(service)
            after = k.json("get", "sbp", "py")
            for key in ("uid", "generation", "labels", "creationTimestamp", "annotations"):
                self.assertEqual(after["metadata"][key], before["metadata"][key], key)
            self.assertEqual(after["spec"], before["spec"])
            self.assertGreater(int(after["metadata"]["resourceVersion"]),
                               int(before["metadata"]["resourceVersion"]))
            service.wait_sandboxes(1, "py")
            self.assertEqual([c["Id"] for c in service.sandboxes("py")],
                             [c["Id"] for c in members], "adopted, not made anew")
            self.assertIn("unchanged", k("apply", "-f", "-", text=pool("py", minSize=1)))
            k("delete", "sbp", "py")
            service.kill9()
            service.start()
            self.assertIn("NotFound", Kubectl(service).fails("get", "sbp", "py"))
            self.assertEqual(service.sandboxes("py"), [])
