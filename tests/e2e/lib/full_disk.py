"""A small file system of a test's own, that is full when the test says so."""

import errno
import os
import subprocess
import tempfile
import unittest


class Disk:
    """A tmpfs of so many MiB at `path`. Where none may be mounted the test is skipped,
    and says so."""

    def __init__(self, mib):
        self.path = tempfile.mkdtemp(prefix="pd-disk-")
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=%dm,mode=755" % mib, "tmpfs",
                               self.path], capture_output=True, text=True, timeout=30)
        if done.returncode:
            os.rmdir(self.path)
            raise unittest.SkipTest("no tmpfs may be mounted here: " + done.stderr.strip())
        self.filler = os.path.join(self.path, "filler")

    def fill(self):
        """To the last block; who writes next gets ENOSPC."""
        with open(self.filler, "ab", buffering=0) as file:
            for size in (1 << 20, 4096):
                block = b"x" * size
                try:
                    while True:
                        file.write(block)
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise

    def free(self):
        if os.path.exists(self.filler):
            os.truncate(self.filler, 0)
            os.unlink(self.filler)

    def close(self):
        """Whatever still has a file open there keeps it until it ends."""
        subprocess.run(["umount", "-l", self.path], check=True, timeout=30)
        os.rmdir(self.path)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
