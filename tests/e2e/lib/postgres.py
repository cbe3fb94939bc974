"""A PostgreSQL of the test's own, on a socket in a folder of its own. initdb and the
server refuse to be root, so they run as the user that Debian's package makes."""

import glob
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time

from lib.redis import free_port
from lib.service import wait_for


def tools():
    """The folder of PostgreSQL's programs, or None."""
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin"))
    return found[-1] if found and os.path.exists(found[-1] + "/initdb") else None


class Authority:
    """A certificate authority of the test's own, in a folder of its own."""

    def __init__(self, folder, name):
        self.key, self.cert = "%s/%s.key" % (folder, name), "%s/%s.crt" % (folder, name)
        self.folder = folder
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                        "ec_paramgen_curve:P-256", "-nodes", "-keyout", self.key, "-out", self.cert,
                        "-days", "2", "-subj", "/CN=" + name], check=True, capture_output=True)

    def sign(self, name, host, out):
        """Certificate and key for a host, at `out`.crt and .key."""
        request = subprocess.run(["openssl", "req", "-newkey", "ec", "-pkeyopt",
                                  "ec_paramgen_curve:P-256", "-nodes", "-keyout", out + ".key",
                                  "-subj", "/CN=" + name], check=True, capture_output=True)
        with open(out + ".ext", "w") as file:
            file.write("subjectAltName=DNS:%s\n" % host)
        subprocess.run(["openssl", "x509", "-req", "-CA", self.cert, "-CAkey", self.key,
                        "-CAcreateserial", "-days", "2", "-extfile", out + ".ext",
                        "-out", out + ".crt"], check=True, capture_output=True,
                       input=request.stdout)


class Postgres:
    """On a unix socket, where everybody is trusted; with `tls` (an Authority and the
    host name to certify) also on a port of 127.0.0.1, by TLS and password alone; with
    `tcp` there without either."""

    def __init__(self, tls=None, tcp=False, folder="/tmp"):
        self.tls, self.port = None, free_port() if tcp else None
        self.dir = tempfile.mkdtemp(prefix="pd-pg-", dir=folder)
        self.data = self.dir + "/data"
        self.user = pwd.getpwnam("postgres") if os.getuid() == 0 else None
        if self.user:
            os.chown(self.dir, self.user.pw_uid, self.user.pw_gid)
        os.chmod(self.dir, 0o755)
        self.process = None
        self.run("initdb", "-D", self.data, "-U", "paddock", "-A", "trust", "--no-sync",
                 "--no-instructions")
        if tls:
            self.serve_tls(*tls)

    def serve_tls(self, authority, host):
        """From the next start on with a certificate for that host."""
        authority.sign("postgres", host, self.dir + "/server")
        os.chmod(self.dir + "/server.key", 0o600)
        if self.user:
            os.chown(self.dir + "/server.key", self.user.pw_uid, self.user.pw_gid)
        with open(self.data + "/pg_hba.conf", "w") as file:
            file.write("local all all trust\nhostssl all all 127.0.0.1/32 scram-sha-256\n")
        self.tls, self.port = authority, self.port or free_port()

    def as_user(self, command):
        if not self.user:
            return command
        return ["setpriv", "--reuid=%d" % self.user.pw_uid, "--regid=%d" % self.user.pw_gid,
                "--clear-groups"] + command

    def run(self, program, *args):
        return subprocess.run(self.as_user([tools() + "/" + program, *args]), check=True, cwd="/",
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True).stdout

    @property
    def url(self):
        """By the socket."""
        return "host=%s port=%d user=paddock dbname=postgres" % (self.dir, self.port or 5432)

    def listening(self):
        if not self.port:
            return []
        tcp = ["-c", "listen_addresses=127.0.0.1", "-c", "port=%d" % self.port]
        return tcp if not self.tls else tcp + [
            "-c", "ssl=on", "-c", "ssl_cert_file=%s/server.crt" % self.dir,
            "-c", "ssl_key_file=%s/server.key" % self.dir]

    def start(self):
        self.process = subprocess.Popen(
            self.as_user([tools() + "/postgres", "-D", self.data, "-k", self.dir,
                          "-c", "listen_addresses=",
                          "-c", "fsync=off", "-c", "shared_buffers=16MB"] + self.listening()),
            cwd="/", stdout=open(self.dir + "/log", "a"), stderr=subprocess.STDOUT)

        def answers():
            """PostgreSQL"""
            return subprocess.run([tools() + "/pg_isready", "-q", "-h", self.dir, "-p",
                                   str(self.port or 5432)]).returncode == 0
        wait_for(answers, 60)
        return self

    def stop(self, how=signal.SIGQUIT):
        if self.process:
            self.process.send_signal(how)
            self.process.wait(60)
            self.process = None

    def query(self, sql):
        """Rows, of columns of text."""
        text = subprocess.run(["psql", "-X", "-At", "-h", self.dir, "-p",
                               str(self.port or 5432), "-U", "paddock", "-d", "postgres",
                               "-c", sql], check=True, capture_output=True,
                              text=True).stdout
        return [line.split("|") for line in text.splitlines()]

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()
        time.sleep(0)
        shutil.rmtree(self.dir, ignore_errors=True)
