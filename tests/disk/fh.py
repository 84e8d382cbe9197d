"""Our own reader and writer, through the command fh-disk; and what disks of each size are filled with."""

import json
import os
import subprocess

import content
import make

KIB, MIB, GIB, TIB = 1 << 10, 1 << 20, 1 << 30, 1 << 40
FH = os.environ.get("FH_DISK", "build/bin/fh-disk")
RAW_MOST = 4 * TIB  # no longer raw file is made: file systems end


def call(*args, ok=(0,)):
    """What fh-disk prints; RuntimeError with what it says if its status is another."""
    p = subprocess.run([FH, *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=120,
                       check=False)
    if p.returncode not in ok:
        raise RuntimeError("fh-disk %s: status %d: %s %s" % (" ".join(map(str, args))[:200], p.returncode,
                                                            p.stderr.strip()[-300:], p.stdout.strip()[-300:]))
    return p.stdout


def status(*args):
    """(status, what it says)"""
    p = subprocess.run([FH, *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, check=False)
    return p.returncode, p.stdout.decode("utf-8", "replace").strip()


def info(path):
    return json.loads(call("info", "--json", path))


def io(path, *operations, options=()):
    """Operations on one opened image; all have to succeed, but what comes after a crash."""
    out = call("io", *options, path, *operations)
    lines = out.split()
    good = len(operations) - ("crash" in operations)
    if lines[:good] != ["ok"] * good:
        raise RuntimeError("fh-disk io %s: %s" % (path, out.strip()[-300:]))


def pattern(n):
    """16 bytes that only the n-th write has."""
    return (b"%08x" % (n * 2654435761 & 0xFFFFFFFF) + b"fh-disk!")


class Filling:
    """Writes that reach every border of a disk; what they are is known to the model."""

    def __init__(self, size, below=None):
        self.size, self.model, self.n = size, make.Model(size, below.model if below else None), below.n if below else 0

    def places(self, unit, sector=512):
        """(offset, length): at the beginning and end, across borders of blocks, chunks and 4 GiB, here and there."""
        out = [(0, 4 * KIB), (self.size - sector, sector), (3 * unit - 2 * KIB if sector == 512 else 3 * unit, 4 * KIB)]
        out += [(at - 4 * KIB, 8 * KIB) for at in (unit, 7 * unit, 4 * GIB, 32 * GIB, self.size // unit * unit)]
        out += [(self.size // 16 * i // (64 * KIB) * 64 * KIB, 12 * KIB) for i in (1, 5, 11)]
        return [(a, n) for a, n in out if a >= 0 and n and a + n <= self.size]

    def writes(self, places):
        """[(offset, data, pattern)], which are in the model then."""
        for off, n in places:
            self.n += 1
            data = pattern(self.n) * (n // 16)
            self.model.write(off, data)
            yield off, data, pattern(self.n)

    def by_us(self, path, places, *more, options=()):
        io(path, *["write %d %d %s" % (off, len(data), p.hex()) for off, data, p in self.writes(places)], *more,
           options=options)

    def by(self, disk, places):
        for off, data, _ in self.writes(places):
            disk.write(off, data)

    def chunks(self):
        return sorted({s * 512 // content.CHUNK * content.CHUNK for s in self.model.sectors if s * 512 < self.size})


def reads(path, filling):
    """Does fh-disk read what was written, and nothing else? An empty string, or what is wrong."""
    if info(path)["size"] != filling.size:
        return "it has %d bytes, not %d" % (info(path)["size"], filling.size)
    if filling.size <= RAW_MOST:
        raw = path + ".raw"
        call("convert", "-t", "raw", "--sparse", "--force", path, raw)
        image = content.Raw(raw)
        same = content.checksum(image) == filling.model.digest()
        image.file.close()
        os.unlink(raw)
        return "" if same else "fh-disk reads something else"
    asked = []
    for at in filling.chunks():
        for s in range(at // 512, (at + content.CHUNK) // 512):
            data = filling.model.sectors.get(s, bytes(512))
            asked.append("read %d 512 %s" % (s * 512, data[:16].hex() if data[:16] != bytes(16) else "00"))
    known, step = filling.chunks(), filling.size // 7 // content.CHUNK * content.CHUNK
    asked += ["read %d 65536 00" % at for at in range(step, filling.size - step, step) if at not in known]
    try:
        for i in range(0, len(asked), 500):
            io(path, *asked[i:i + 500], options=("--read-only",))
    except RuntimeError as e:
        return str(e)
    return ""


def oracle_reads(path, filling):
    image = content.open_image(path)
    bad = image.check()
    if bad:
        return "the oracle's check: %s" % bad[0]
    return "" if content.checksum(image) == filling.model.digest() else "the oracle reads something else"


def clean(path, repair=False):
    if repair:
        call("check", "--repair", path, ok=(0, 3))
    code, text = status("check", path)
    return "" if code == 0 else "fh-disk check: %s" % text[-300:]
