"""PostgreSQL by TLS, by service file and password file, with few rights; what
`paddock check --live` says of it and of Redis. No password is ever said."""

import os
import shutil
import subprocess
import tempfile
import unittest

from lib import postgres
from lib.redis import Redis
from lib.service import Service, binary, short_form, wait_for

PASSWORD = "hunter2-never-in-a-log"


def live(**env):
    """`paddock check --live`: its exit status and everything that it printed."""
    clean = {k: v for k, v in os.environ.items()
             if not k.startswith(("PG", "DATABASE_", "REDIS_", "ECS_", "SANDBOX_"))}
    done = subprocess.run([binary(), "check", "--live"], env=dict(clean, **env), timeout=120,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True)
    return done.returncode, done.stdout


@unittest.skipUnless(postgres.tools(), "PostgreSQL is not installed")
class Tls(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.dir = tempfile.mkdtemp(prefix="pd-pgtls-", dir="/tmp")
        os.chmod(cls.dir, 0o755)
        cls.own = postgres.Authority(cls.dir, "own")
        cls.other = postgres.Authority(cls.dir, "other")
        cls.server = postgres.Postgres(tls=(cls.own, "localhost")).start()
        cls.server.query("ALTER ROLE paddock PASSWORD '%s'" % PASSWORD)

    @classmethod
    def tearDownClass(cls):
        cls.server.__exit__()
        shutil.rmtree(cls.dir, ignore_errors=True)

    def url(self, host="localhost", mode="verify-full", password=PASSWORD, user="paddock", **more):
        address = "&hostaddr=127.0.0.1"
        return "postgresql://%s:%s@%s:%d/postgres?sslmode=%s%s%s" % (
            user, password, host, self.server.port, mode, address,
            "".join("&%s=%s" % item for item in more.items()))

    def refused(self, words, **env):
        """check --live says these words, and no password."""
        status, text = live(**env)
        self.assertEqual(status, 1, text)
        self.assertNotIn(PASSWORD, text)
        for word in words:
            self.assertIn(word, text)

    def test_verify_full(self):
        status, text = live(DATABASE_URL=self.url(sslrootcert=self.own.cert))
        self.assertEqual(status, 0, text)
        self.assertRegex(text, r"postgres: PostgreSQL \d+.*TLSv1\.[23].*schema 'paddock'")
        self.assertNotIn(PASSWORD, text)

    def test_what_is_refused(self):
        own = {"sslrootcert": self.own.cert}
        self.refused(["certificate verify failed", "no authority in sslrootcert"],
                     DATABASE_URL=self.url(sslrootcert=self.other.cert))
        self.refused(["does not match host name"],
                     DATABASE_URL=self.url(host="db.example", **own))
        self.refused(["does not exist"], DATABASE_URL=self.url(sslrootcert=self.dir + "/none"))
        self.refused(["password authentication failed"],
                     DATABASE_URL=self.url(password="wrong", **own))
        self.refused(["no encryption"], DATABASE_URL=self.url(mode="disable"))
        # What cannot be read is not quoted: the password is in it.
        for broken in ("postgres//paddock:%s@localhost/db", "password='%s", "pass word=%s",
                       "postgresql://u:%s@h/db?pass%%2gword=1", "postgresql://u@h/db?x=%s"):
            self.refused(["not a connection string"], DATABASE_URL=broken % PASSWORD)
        for broken in ("postgresql://paddock:%s/slash@localhost/db",
                       "postgresql://paddock:an@%s@localhost/db"):
            self.refused(["postgres: "], DATABASE_URL=broken % PASSWORD)

    def test_the_other_side_has_no_tls(self):
        with postgres.Postgres(tcp=True) as plain:
            url = "host=127.0.0.1 port=%d user=paddock dbname=postgres " % plain.port
            self.refused(["does not support SSL", "switch ssl on there"],
                         DATABASE_URL=url + "sslmode=require")
            status, text = live(DATABASE_URL=url)
            self.assertEqual(status, 0, text)
            self.assertIn("no TLS", text)
            plain.stop()
            self.refused(["PostgreSQL: connection to server", "refused"], DATABASE_URL=url)
            with postgres.Postgres(tcp=True) as second:  # of several hosts the one that answers
                status, text = live(DATABASE_URL="host=127.0.0.1,127.0.0.1 port=%d,%d user=paddock"
                                    " dbname=postgres" % (plain.port, second.port))
                self.assertEqual(status, 0, text)

    def test_service_file_and_password_file(self):
        service_file, passwords = self.dir + "/services.conf", self.dir + "/pgpass"
        with open(service_file, "w") as file:
            file.write("[records]\nhost=localhost\nhostaddr=127.0.0.1\nport=%d\nuser=paddock\n"
                       "dbname=postgres\nsslmode=verify-full\n" % self.server.port)
        with open(passwords, "w") as file:
            file.write("localhost:%d:*:paddock:%s\n" % (self.server.port, PASSWORD))
        os.chmod(passwords, 0o600)
        env = {"DATABASE_URL": "service=records", "PGSERVICEFILE": service_file,
               "PGPASSFILE": passwords, "PGSSLROOTCERT": self.own.cert}
        self.refused(["no password supplied"], **dict(env, PGPASSFILE="/dev/null"))
        self.refused(['definition of service "other" not found'],
                     **dict(env, DATABASE_URL="service=other"))
        with Service(config=short_form(1, 1), env=env) as service:
            id = service.execute("print('by TLS')")["id"]
            wait_for(lambda: "takes records" in service.log(), 60)
            wait_for(lambda: self.server.query("SELECT cause FROM paddock.executions WHERE id = '%s'"
                                               % id) == [["exited"]], 60)
            self.assertNotIn(PASSWORD, service.log())

    def test_a_wrong_certificate_takes_no_record(self):
        env = {"DATABASE_URL": self.url(sslrootcert=self.other.cert)}
        with Service(config=short_form(1, 1), env=env) as service:
            service.hello()  # goes on
            wait_for(lambda: "no authority in sslrootcert" in service.log(), 60)
            self.assertNotIn(PASSWORD, service.log())
            self.assertNotIn("takes records", service.log())
        with self.assertRaises(AssertionError) as caught:
            with Service(config=short_form(1, 1),
                         env={"DATABASE_URL": "postgres//paddock:%s@h/d" % PASSWORD}):
                pass
        self.assertIn("not a connection string", str(caught.exception))
        self.assertNotIn(PASSWORD, str(caught.exception))


@unittest.skipUnless(postgres.tools(), "PostgreSQL is not installed")
class Rights(unittest.TestCase):
    def test_few_are_enough(self):
        with postgres.Postgres() as server:
            url = server.url.replace("user=paddock", "user=few")
            server.query("CREATE ROLE few LOGIN")
            status, text = live(DATABASE_URL=url)
            self.assertEqual(status, 1, text)
            self.assertIn("GRANT CREATE ON DATABASE", text)
            server.query("GRANT CREATE ON DATABASE postgres TO few")
            status, text = live(DATABASE_URL=url)
            self.assertEqual(status, 0, text)
            self.assertIn("made at the first start", text)

            with Service(config=short_form(1, 1), env={"DATABASE_URL": url}) as service:
                wait_for(lambda: "takes records" in service.log(), 60)
                # Made by one role, used by another that may not create anything.
                server.query("CREATE ROLE writer LOGIN; GRANT USAGE ON SCHEMA paddock TO writer")
                writer = server.url.replace("user=paddock", "user=writer")
                status, text = live(DATABASE_URL=writer)
                self.assertEqual(status, 1, text)
                self.assertIn("GRANT SELECT, INSERT", text)
                server.query("GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA paddock TO writer")
                status, text = live(DATABASE_URL=writer)
                self.assertEqual(status, 0, text)
                self.assertIn("schema 'paddock' version 1", text)
                status, text = live(DATABASE_URL=writer, PADDOCK_DATABASE_AGE="1d")
                self.assertEqual(status, 1, text)
                self.assertIn("GRANT DELETE", text)
                service.stop()
                service.env["DATABASE_URL"] = writer
                service.start()
                wait_for(lambda: "takes records" in service.log(service.log_from), 60)
                id = service.hello()["id"]
                wait_for(lambda: server.query("SELECT id FROM paddock.executions WHERE id = '%s'"
                                              % id), 60)
            server.query("INSERT INTO paddock.schema_versions (version) VALUES (99)")
            status, text = live(DATABASE_URL=writer)
            self.assertEqual(status, 1, text)
            self.assertIn("has version 99", text)


class LiveRedis(unittest.TestCase):
    def test_what_is_said(self):
        status, text = live()
        self.assertEqual(status, 0, text)
        self.assertIn("redis: not configured", text)
        self.assertIn("postgres: not configured", text)
        with Redis("--appendonly", "yes", password=PASSWORD) as server:
            status, text = live(REDIS_URL=server.url)
            self.assertEqual(status, 0, text)
            self.assertIn("appendonly yes, maxmemory-policy noeviction: in order", text)
            server.cli("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
            server.cli("CONFIG", "SET", "appendonly", "no")
            status, text = live(REDIS_URL=server.url)
            self.assertEqual(status, 1, text)
            self.assertIn("appendonly is off", text)
            self.assertIn("maxmemory-policy is not noeviction", text)
            status, text = live(REDIS_URL=server.url.replace(PASSWORD, "wrong"))
            self.assertEqual(status, 1, text)
            self.assertIn("redis: ", text)
            self.assertNotIn(PASSWORD, text)
            url = server.url
        status, text = live(REDIS_URL=url)
        self.assertEqual(status, 1, text)
        self.assertNotIn(PASSWORD, text)


if __name__ == "__main__":
    unittest.main()
