"""What documents say of the source is true: who includes whom, that the files they name
exist, that links lead somewhere."""

import json
import os
import re
import subprocess
import unittest

from lib.service import ROOT, binary

# Who may include whose headers: the picture of docs/architecture.md. An area always
# may include itself.
MAY = {
    "common": set(),
    "controller": {"common"},
    "api": {"common"},
    "cli": {"common", "controller", "api"},
    "agent": set(),
}
# The agent links the frames and nothing else of common/.
AGENT_OF_COMMON = {"common/proto.h", "common/slice.h"}


def files(folder, *suffixes):
    for at, folders, names in os.walk(os.path.join(ROOT, folder)):
        folders[:] = [name for name in folders if name not in ("node_modules", "build", ".git", "__pycache__")]
        for name in names:
            if name.endswith(suffixes):
                yield os.path.relpath(os.path.join(at, name), ROOT)


def read(path):
    with open(os.path.join(ROOT, path), errors="replace") as file:
        return file.read()


def documents():
    yield from (name for name in os.listdir(ROOT) if name.endswith(".md"))
    yield from files("docs", ".md")


class Architecture(unittest.TestCase):
    def test_dependencies_point_down(self):
        wrong, seen = [], set()
        for area, allowed in MAY.items():
            for path in files(area, ".c", ".h"):
                for header in re.findall(r'^#include "((?:agent|api|cli|common|controller)/[^"]+)"', read(path), re.M):
                    target = header.split("/")[0]
                    seen.add((area, target))
                    if target == area or target in allowed:
                        continue
                    if area == "agent" and header in AGENT_OF_COMMON:
                        continue
                    wrong.append("%s includes %s" % (path, header))
        self.assertEqual(wrong, [])
        self.assertLessEqual({("api", "common"), ("controller", "common"), ("cli", "api")}, seen)

    def test_picture_names_what_exists(self):
        text = read("docs/architecture.md")
        picture = text[text.index("```"):text.index("```", text.index("```") + 3)]
        named = set(re.findall(r"\b((?:agent|api|cli|common|controller|crds|conf)/[\w.]*)", picture))
        self.assertGreaterEqual(named, {"api/", "controller/", "common/store"})
        for name in named:
            path = os.path.join(ROOT, name)
            self.assertTrue(os.path.exists(path) or os.path.exists(path + ".h"), name + " is in the picture only")

    def test_states_are_those_of_the_code(self):
        told = set(re.findall(r"^\| `(\w+)` \|", read("docs/architecture.md"), re.M))
        header = read("common/store.h")
        phases = re.findall(r"^    PD_SANDBOX_(\w+),", header[header.index("enum pd_sandbox_phase"):], re.M)
        self.assertGreaterEqual(len(phases), 5)
        self.assertLessEqual({phase.lower() for phase in phases}, told)


class Links(unittest.TestCase):
    def test_links_lead_somewhere(self):
        wrong = []
        for path in documents():
            for link in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", read(path)):
                if not re.match(r"\w+:", link) and not os.path.exists(
                        os.path.join(ROOT, os.path.dirname(path), link)):
                    wrong.append("%s: %s" % (path, link))
        self.assertEqual(wrong, [])

    def test_every_document_can_be_found(self):
        linked = "".join(read(path) for path in documents())
        lonely = [path for path in files("docs", ".md")
                  if os.path.basename(path) + ")" not in linked and os.path.basename(path) + "#" not in linked]
        self.assertEqual(lonely, [], "nothing links to them")


class Commands(unittest.TestCase):
    """Whoever types what a document says gets something else than "unknown"."""

    def lines(self):
        """(document, line) of every shell block and every `paddock ...` in the text."""
        for path in documents():
            text = read(path)
            for block in re.findall(r"```(?:sh|console|bash)\n(.*?)```", text, re.S):
                for line in block.replace("\\\n", " ").splitlines():
                    yield path, line.split(" #")[0]
            for quoted in re.findall(r"`((?:build/\w+/)?paddock [^`]+)`", text):
                yield path, " ".join(quoted.split())

    def help(self, *words):
        done = subprocess.run([binary(), *words, "--help"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, timeout=60)
        return done.stdout

    def test_commands_and_flags_exist(self):
        known = set(re.findall(r"^  (\w+) ", self.help(), re.M))
        helps, wrong, seen = {}, [], 0
        for path, line in self.lines():
            for rest in re.findall(r"(?:^|[ (;|&$]|/)paddock ((?:[a-z]|--)[^|;&)]*)", line):
                words = rest.split()
                if words[0].startswith("--") or "/" in words[0]:
                    continue
                if words[0] not in known:
                    if re.search(r"(systemctl|apt-get|dpkg|journalctl|cd|-u|User) [\w -]*paddock |mv paddock|paddock\.", line):
                        continue
                    wrong.append("%s: there is no `paddock %s` (%s)" % (path, words[0], line.strip()))
                    continue
                seen += 1
                told = helps.setdefault(words[0], self.help(words[0]))
                for flag in re.findall(r"(?:^| )(--[a-z][\w-]*)", rest):
                    if flag != "--help" and flag not in told:
                        wrong.append("%s: `paddock %s` has no %s" % (path, words[0], flag))
        self.assertEqual(wrong, [])
        self.assertGreater(seen, 30)

    def test_scripts_exist(self):
        wrong = []
        for path, line in self.lines():
            for name in re.findall(r"(?:^|[ (;|&])(?:\./)?((?:scripts|tests|deploy|conf|crds)/[\w./-]+)", line):
                if not os.path.exists(os.path.join(ROOT, name)):
                    wrong.append("%s: %s" % (path, name))
        self.assertEqual(wrong, [])

    def test_variables_are_read_by_something(self):
        """PADDOCK_... of the documents: in the source, the compose file, the scripts or the tests."""
        source = "".join(read(path) for folder in ("agent", "api", "cli", "common", "controller", "scripts",
                                                   "tests", "deploy", "cmake")
                         for path in files(folder, ".c", ".h", ".sh", ".py", ".cmake", "Dockerfile", ".service"))
        source += read("docker-compose.yml") + read("CMakeLists.txt") + read(".env.example")
        told = {(path, name) for path in documents() for name in re.findall(r"\bPADDOCK_[A-Z_]+[A-Z]\b", read(path))}
        self.assertGreater(len(told), 10)
        self.assertEqual(sorted("%s: %s" % pair for pair in told if pair[1] not in source), [])


class Sbom(unittest.TestCase):
    def test_names_what_the_program_is_linked_with(self):
        done = subprocess.run([os.path.join(ROOT, "scripts", "sbom.sh"), binary()], stdout=subprocess.PIPE,
                              text=True, timeout=120, check=True)
        found = json.loads(done.stdout)
        self.assertEqual((found["bomFormat"], found["specVersion"]), ("CycloneDX", "1.5"))
        self.assertRegex(found["metadata"]["component"]["version"], r"^\d+\.\d+")
        refs = [part["bom-ref"] for part in found["components"]]
        self.assertEqual(len(refs), len(set(refs)))
        self.assertEqual(found["dependencies"][0]["dependsOn"], refs)
        names = {part["name"]: part for part in found["components"]}
        for name in ("libuv1", "libssl3", "libcurl4", "libsqlite3-0"):
            installed = subprocess.run(["dpkg-query", "-W", "-f", "${Version}", name + ":amd64"],
                                       stdout=subprocess.PIPE, text=True).stdout
            self.assertEqual(names[name]["version"], installed or names[name]["version"])
            self.assertTrue(names[name]["purl"].startswith("pkg:deb/debian/%s@" % name))
        for part in found["components"]:
            self.assertTrue(part["licenses"], part)
            self.assertTrue(all(entry["license"]["name"] for entry in part["licenses"]), part)
        self.assertEqual([e["license"]["name"] for e in names["libuv1"]["licenses"]], ["Expat"])
        self.assertEqual([e["license"]["name"] for e in names["libssl3"]["licenses"]], ["Apache-2.0"])
        self.assertIn("curl", [e["license"]["name"] for e in names["libcurl4"]["evidence"]["licenses"]])
        if os.path.exists(os.path.join(ROOT, "api/web/package-lock.json")):
            self.assertTrue([ref for ref in refs if ref.startswith("pkg:npm/")])


if __name__ == "__main__":
    unittest.main()
