"""What an operator installs: the manual, the shell's completion, the unit, and the
Debian package, in a container that has nothing else."""

import os
import re
import shutil
import socket
import subprocess
import tempfile
import unittest

from lib.engine import Engine, default_socket
from lib.service import ROOT, Service, binary, is_sanitized, short_form, wait_for

UNIT = os.path.join(ROOT, "deploy", "systemd", "paddock.service")
KEY = "package-key-77aa"


def say(*words):
    return subprocess.run([binary()] + list(words), stdout=subprocess.PIPE, text=True, timeout=60,
                          check=True).stdout


def commands():
    return re.findall(r"^  (\w+) ", say("--help"), re.M)


class Manual(unittest.TestCase):
    def test_version_names_the_libraries(self):
        lines = dict(line.rsplit(" ", 1) for line in say("--version").splitlines())
        for name in ("paddock", "libuv", "libcurl", "OpenSSL", "SQLite", "hiredis", "jansson", "libyaml"):
            self.assertRegex(lines[name], r"^\d+\.\d+(\.\d+)?")

    def test_page_has_every_command_and_flag(self):
        page = say("man").replace("\\-", "-")
        self.assertTrue(page.startswith(".TH PADDOCK 1"))
        for command in commands():
            self.assertIn('.SH "PADDOCK %s"' % command, page)
            for flag in re.findall(r"--[a-z-]+", say(command, "--help")):
                self.assertIn(flag, page)
        if shutil.which("man") and shutil.which("groff"):
            with tempfile.NamedTemporaryFile("w", suffix=".1") as file:
                file.write(say("man"))
                file.flush()
                shown = subprocess.run(["man", "--warnings", "-l", file.name], stdout=subprocess.PIPE,
                                       stderr=subprocess.PIPE, text=True, timeout=60,
                                       env=dict(os.environ, MANWIDTH="120", LC_ALL="C.UTF-8"))
                self.assertIn("--listen", shown.stdout.replace("\u2212", "-"))

    def complete(self, *words):
        script = say("completion") + 'COMP_WORDS=(%s); COMP_CWORD=%d; _paddock; echo "${COMPREPLY[@]}"' % (
            " ".join("'%s'" % word for word in words), len(words) - 1)
        return subprocess.run(["bash", "-c", script], stdout=subprocess.PIPE, text=True, timeout=30,
                              check=True, cwd=ROOT).stdout.split()

    def test_completion(self):
        self.assertGreaterEqual(set(self.complete("paddock", "")), set(commands()))
        self.assertEqual(self.complete("paddock", "se"), ["serve", "selftest"])
        self.assertEqual(self.complete("paddock", "serve", "--li"), ["--listen"])
        self.assertIn("conf", self.complete("paddock", "check", "con"))


class Unit(unittest.TestCase):
    def test_systemd_finds_nothing(self):
        if not shutil.which("systemd-analyze"):
            raise unittest.SkipTest("systemd-analyze is not installed")
        with open(UNIT) as file:
            text = file.read()
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "paddock.service")
            with open(path, "w") as file:
                file.write(text.replace("/usr/bin/paddock", os.path.realpath(binary()))
                           .replace("Documentation=man:paddock(1)\n", ""))
            done = subprocess.run(["systemd-analyze", "verify", "--man=no", path], text=True, timeout=60,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            found = [line for line in done.stdout.splitlines() if "paddock" in line]
            self.assertEqual((done.returncode, found), (0, []), done.stdout)
            rated = subprocess.run(["systemd-analyze", "security", "--offline=true", "--threshold=20", path],
                                   text=True, timeout=60, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            self.assertEqual(rated.returncode, 0, rated.stdout[-600:])

    def test_tells_the_manager(self):
        """READY, the watchdog, STOPPING: as systemd would hear them."""
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "notify")
            manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self.addCleanup(manager.close)
            manager.bind(path)
            manager.settimeout(30)
            service = Service(short_form(0, 1), env={"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "400000"})
            try:
                service.start()
                heard = ""
                while "READY=1" not in heard or heard.count("WATCHDOG=1") < 4:
                    heard += manager.recv(4096).decode() + "\n"
                service.process.terminate()
                while "STOPPING=1" not in heard:
                    heard += manager.recv(4096).decode() + "\n"
            finally:
                service.close()


class Deb(unittest.TestCase):
    def build(self, folder):
        config = os.path.join(os.path.dirname(os.path.realpath(binary())), "CPackConfig.cmake")
        done = subprocess.run(["cpack", "-G", "DEB", "--config", config, "-B", folder], cwd=folder,
                              text=True, timeout=120, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.assertEqual(done.returncode, 0, done.stdout)
        return [name for name in os.listdir(folder) if name.endswith(".deb")][0]

    def need_base(self):
        script = ("set -euo pipefail; ROOT=%s; for p in say packages image base_images; do "
                  ". $ROOT/scripts/lib/$p.sh; done; PULL_ANSWER_S=5; need_base_image debian:bookworm-slim" % ROOT)
        subprocess.run(["bash", "-c", script], check=True, timeout=600, stdout=subprocess.DEVNULL)

    def docker(self, *words, timeout=240):
        done = subprocess.run(["docker", "-H", "unix://" + default_socket()] + list(words), text=True,
                              timeout=timeout, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.assertEqual(done.returncode, 0, done.stdout[-3000:])
        return done.stdout

    def test_installed_in_a_clean_container_it_runs(self):
        if is_sanitized():
            print("     not done again: a package of a release is what is installed")
            return
        folder = tempfile.mkdtemp(prefix="pd-deb-")
        self.addCleanup(shutil.rmtree, folder, ignore_errors=True)
        package = self.build(folder)
        self.need_base()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        name = "paddock-e2e-deb-%d" % os.getpid()
        self.docker("run", "-d", "--name", name, "--network", "host", "-e", "EXECUTION_API_KEY=" + KEY,
                    "-v", folder + ":/deb:ro", "-v", default_socket() + ":/var/run/docker.sock",
                    "debian:bookworm-slim", "sleep", "600")
        self.addCleanup(self.docker, "rm", "-f", "-v", name)
        self.docker("exec", name, "sh", "-c", "apt-get update -q && DEBIAN_FRONTEND=noninteractive "
                    "apt-get install -y -q --no-install-recommends /deb/" + package)
        self.assertIn("libuv", self.docker("exec", name, "paddock", "--version"))
        self.assertIn("paddock", self.docker("exec", name, "getent", "passwd", "paddock"))
        self.assertIn("maxSize: 10", self.docker("exec", name, "paddock", "check", "/etc/paddock/default.yaml"))
        self.docker("exec", "-d", name, "sh", "-c", "exec paddock serve --listen 127.0.0.1:%d "
                    "--kube-listen off >/log 2>&1" % port)
        self.run_a_program(name, port)
        self.upgrade_remove_purge(name, package)

    def upgrade_remove_purge(self, name, package):
        """What an operator changed outlives an upgrade and a removal, and nothing outlives a purge."""
        def there(*paths):
            return self.docker("exec", name, "sh", "-c", "ls -d %s 2>/dev/null || true" % " ".join(paths)).split()
        mine = ["/etc/paddock/default.yaml", "/etc/paddock/pools.d/mine.yaml", "/var/lib/paddock/instance"]
        self.docker("exec", name, "sh", "-c", "echo '# mine' >> /etc/paddock/default.yaml; "
                    "touch /etc/paddock/pools.d/mine.yaml; chown -R paddock: /var/lib/paddock")
        before = self.docker("exec", name, "sh", "-c", "id -u paddock; cat /etc/paddock/default.yaml")
        self.docker("exec", name, "sh", "-c", "DEBIAN_FRONTEND=noninteractive apt-get install -y -q --reinstall "
                    "--no-install-recommends /deb/" + package)
        self.assertEqual(self.docker("exec", name, "sh", "-c", "id -u paddock; cat /etc/paddock/default.yaml"), before)
        self.assertIn("# mine", before)
        self.docker("exec", name, "dpkg", "--remove", "paddock")
        self.assertEqual(there("/usr/bin/paddock", *mine), mine)
        self.docker("exec", name, "dpkg", "--purge", "paddock")
        self.assertEqual(there("/usr/bin/paddock", "/etc/paddock/default.yaml", "/etc/apparmor.d/paddock-sandbox",
                               "/var/lib/paddock"), [])
        self.assertEqual(self.docker("exec", name, "sh", "-c", "getent passwd paddock || true"), "")

    def test_lintian_finds_nothing(self):
        if is_sanitized():
            print("     not done again: a package of a release is what is looked at")
            return
        if not shutil.which("lintian"):
            raise unittest.SkipTest("lintian is not installed")
        with tempfile.TemporaryDirectory() as folder:
            package = self.build(folder)
            user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] if os.getuid() == 0 else []
            os.chmod(folder, 0o755)
            done = subprocess.run(user + ["lintian", "--allow-root", os.path.join(folder, package)], text=True, timeout=300,
                                  env=dict(os.environ, HOME="/tmp"), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            found = [line for line in done.stdout.splitlines() if re.match("[EWF]: ", line)]
            self.assertEqual((done.returncode, found), (0, []), done.stdout)
            version = subprocess.run(["dpkg-deb", "-f", os.path.join(folder, package), "Version"], text=True,
                                     stdout=subprocess.PIPE, timeout=60).stdout.strip()
            with open(os.path.join(ROOT, "deploy", "debian", "changelog")) as file:
                self.assertTrue(file.readline().startswith("paddock (%s)" % version))

    def run_a_program(self, name, port):
        probe = lambda what: subprocess.run(
            ["docker", "exec", name, "paddock", "probe", "--url", "http://127.0.0.1:%d" % port, what],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0
        try:
            wait_for(lambda: probe("readyz"), 60, 0.2)
            service = Service.__new__(Service)
            service.port, service.key = port, KEY
            answer = service.request("POST", "/execute", {"code": "print('from the package')"})
            self.assertEqual((answer.status, answer.json["output"]), (200, "from the package\n"))
        finally:
            instance = self.docker("exec", name, "cat", "/var/lib/paddock/instance").strip()
            self.docker("exec", name, "sh", "-c", "kill $(pidof paddock); while pidof paddock; do sleep 0.1; done")
        self.assertEqual(Engine().sandboxes(instance), [])


if __name__ == "__main__":
    unittest.main()
