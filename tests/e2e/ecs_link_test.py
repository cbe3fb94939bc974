"""Who gets anything from a task's agent: its owner, and nobody else."""

import os
import shutil
import socket
import ssl
import struct
import subprocess
import tempfile
import unittest
import uuid

from lib.ecs import EcsCase, EcsService
from lib.service import short_form

PORT = 8723


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


if __name__ == "__main__":
    unittest.main()
