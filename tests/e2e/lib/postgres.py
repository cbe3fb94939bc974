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

from lib.service import wait_for


def tools():
    """The folder of PostgreSQL's programs, or None."""
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin"))
    return found[-1] if found and os.path.exists(found[-1] + "/initdb") else None


class Postgres:
    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="pd-pg-", dir="/tmp")
        self.data = self.dir + "/data"
        self.user = pwd.getpwnam("postgres") if os.getuid() == 0 else None
        if self.user:
            os.chown(self.dir, self.user.pw_uid, self.user.pw_gid)
        os.chmod(self.dir, 0o755)
        self.process = None
        self.run("initdb", "-D", self.data, "-U", "paddock", "-A", "trust", "--no-sync",
                 "--no-instructions")

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
        return "host=%s user=paddock dbname=postgres" % self.dir

    def start(self):
        self.process = subprocess.Popen(
            self.as_user([tools() + "/postgres", "-D", self.data, "-k", self.dir, "-h", "",
                          "-c", "fsync=off", "-c", "shared_buffers=16MB"]),
            cwd="/", stdout=open(self.dir + "/log", "a"), stderr=subprocess.STDOUT)

        def answers():
            """PostgreSQL"""
            return subprocess.run([tools() + "/pg_isready", "-q", "-h", self.dir]).returncode == 0
        wait_for(answers, 60)
        return self

    def stop(self, how=signal.SIGQUIT):
        if self.process:
            self.process.send_signal(how)
            self.process.wait(60)
            self.process = None

    def query(self, sql):
        """Rows, of columns of text."""
        text = subprocess.run(["psql", "-X", "-At", "-h", self.dir, "-U", "paddock", "-d",
                               "postgres", "-c", sql], check=True, capture_output=True,
                              text=True).stdout
        return [line.split("|") for line in text.splitlines()]

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()
        time.sleep(0)
        shutil.rmtree(self.dir, ignore_errors=True)
