"""A door between a service and the engine's socket: shut, the engine is gone for the
service and for nobody else."""

import os
import shutil
import socket
import tempfile
import threading
import weakref

from lib.engine import Engine


class Door:
    def __init__(self, target=None):
        self.target = target or Engine().path
        self.dir = tempfile.mkdtemp(prefix="pd-door-")
        self.path = os.path.join(self.dir, "docker.sock")
        self.lock, self.through, self.listener = threading.Lock(), weakref.WeakSet(), None

    def open(self):
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen(128)
        threading.Thread(target=self._accept, args=(self.listener,), daemon=True).start()
        return self

    def _accept(self, listener):
        while True:
            try:
                client, _ = listener.accept()
                server = socket.socket(socket.AF_UNIX)
                server.connect(self.target)
            except OSError:
                return
            with self.lock:
                if self.listener is not listener:
                    client.close()
                    server.close()
                    return
                self.through.update((client, server))
            for source, sink in ((client, server), (server, client)):
                threading.Thread(target=self._copy, args=(source, sink), daemon=True).start()

    def _copy(self, source, sink):
        try:
            while True:
                data = source.recv(65536)
                if not data:
                    sink.shutdown(socket.SHUT_WR)
                    return
                sink.sendall(data)
        except OSError:
            for end in (source, sink):
                try:
                    end.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def shut(self):
        """Nobody comes in, and who is in goes."""
        with self.lock:
            listener, self.listener = self.listener, None
            ends, self.through = list(self.through), weakref.WeakSet()
        if listener:
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()
            os.unlink(self.path)
        for end in ends:
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def __enter__(self):
        return self.open()

    def __exit__(self, *_):
        self.shut()
        shutil.rmtree(self.dir, ignore_errors=True)
