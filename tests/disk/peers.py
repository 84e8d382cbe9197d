"""QEMU and libvhdi as readers (QEMU as a writer, too): what they read, at any place of a disk."""

import gc
import os
import random
import socket
import struct
import subprocess
import tempfile
import time

import content


def run(*args, ok=(0,)):
    """A tool's output; RuntimeError with what it said if its status is not among ok."""
    p = subprocess.run(args, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120, check=False)
    if p.returncode not in ok:
        raise RuntimeError("%s: status %d: %s" % (" ".join(args), p.returncode, p.stdout.strip()[-400:]))
    return p.stdout


class Qemu:
    """A disk served by qemu-nbd to ourselves, by the NBD protocol (newstyle)."""

    def __init__(self, path, kind, write=False):
        self.folder = tempfile.TemporaryDirectory()
        where = os.path.join(self.folder.name, "s")
        driver = {"vhd": "vpc", "vhdx": "vhdx", "raw": "raw"}[kind]
        args = ["qemu-nbd", "-f", driver, "-k", where, "--cache=writeback"] + ([] if write else ["-r"]) + [path]
        self.server = subprocess.Popen(args, stderr=subprocess.PIPE, text=True)
        self.sock = socket.socket(socket.AF_UNIX)
        for _ in range(500):
            try:
                self.sock.connect(where)
                break
            except OSError:
                if self.server.poll() is not None:
                    raise RuntimeError("qemu-nbd: " + self.server.stderr.read().strip()[-300:]) from None
                time.sleep(0.01)
        self._greet()

    def _take(self, n):
        parts = []
        while n:
            b = self.sock.recv(min(n, 1 << 20))
            if not b:
                raise RuntimeError("qemu-nbd has gone")
            parts.append(b)
            n -= len(b)
        return b"".join(parts)

    def _greet(self):
        _, _, _ = struct.unpack(">8s8sH", self._take(18))
        self.sock.sendall(struct.pack(">I8sIII", 3, b"IHAVEOPT", 7, 6, 0) + struct.pack(">H", 0))
        while True:
            _, _, kind, n = struct.unpack(">QIII", self._take(20))
            data = self._take(n)
            if kind == 3 and data[:2] == b"\0\0":
                self.size, = struct.unpack(">Q", data[2:10])
            if kind == 1:
                return
            if kind & 0x80000000:
                raise RuntimeError("qemu-nbd: %#x %s" % (kind, data))

    def _ask(self, what, off, n, data=b""):
        self.sock.sendall(struct.pack(">IHHQQI", 0x25609513, 0, what, 1, off, n) + data)
        _, error, _ = struct.unpack(">IIQ", self._take(16))
        if error:
            raise RuntimeError("qemu: error %d at %d" % (error, off))

    def read(self, off, n):
        n = min(n, self.size - off)
        self._ask(0, off, n)
        return self._take(n)

    def write(self, off, data):
        self._ask(1, off, len(data), data)

    def close(self):
        self.sock.sendall(struct.pack(">IHHQQI", 0x25609513, 0, 2, 1, 0, 0))
        self.sock.close()
        self.server.wait(60)
        self.folder.cleanup()


class Libvhdi:
    """paths: the image, its parent, and so on."""

    def __init__(self, *paths):
        import pyvhdi
        self.files = []
        for path in paths:
            f = pyvhdi.file()
            f.open(path)
            if self.files:
                self.files[-1].set_parent(f)
            self.files.append(f)
        self.size = self.files[0].get_media_size()

    def read(self, off, n):
        return self.files[0].read_buffer_at_offset(min(n, self.size - off), off)

    def close(self):
        for f in self.files:  # children first: they use their parents
            f.close()
        self.files = []
        gc.collect()


def probes(size, *known, count=40, seed=1):
    """Offsets of chunks: those that are known to hold something, their neighbours, and some more."""
    r, last, at = random.Random(seed), (size - 1) // content.CHUNK, set()
    for offsets in known:
        for off in offsets:
            c = off // content.CHUNK
            at |= {c - 1, c, c + 1}
    at |= {r.randrange(last + 1) for _ in range(count)} | {0, last}
    return sorted(c * content.CHUNK for c in at if 0 <= c <= last)


def digest(reader, offsets):
    """As content.checksum, of what lies at these offsets."""
    def pairs():
        for off in offsets:
            data = reader.read(off, content.CHUNK).ljust(content.CHUNK, b"\0")
            if data.count(0) != len(data):
                yield off, data
    return content.digest(reader.size, pairs())
