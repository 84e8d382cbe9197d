"""An image with its parents: what a guest would read. The sum of a disk is cheap where it is zero: SHA-256 over
(offset as u64 LE, 64 KiB) of each 64 KiB that is not all zeros, after the disk's size."""

import hashlib
import os
import struct

from source import Refused, Source, union
from vhd_read import Vhd
from vhdx_read import Vhdx

CHUNK = 64 * 1024
DEPTH = 128


class Raw:
    format, kind, has_parent, parent, lss, locator = "Raw", "fixed", False, None, 512, {}

    def __init__(self, path):
        self.file = Source(path)
        self.size = self.file.size

    def read_own(self, off, n):
        return [(n, self.file.read(off, n))]

    def own_ranges(self):
        return self.file.ranges(0, self.size)

    def info(self):
        return {"format": "Raw", "kind": "fixed", "size": self.size, "file_size": self.size}

    def check(self):
        return []


def guess(path):
    s = Source(path)
    try:
        if s.read(0, 8) == b"vhdxfile":
            return Vhdx
        for at in (s.size - 512, s.size - 511, 0):
            if at >= 0 and s.read(at, 8) == b"conectix":
                return Vhd
        return Raw
    finally:
        s.close()


def places(child):
    """Where a child says that its parent is, as paths of this machine; the best first."""
    here, loc = os.path.dirname(os.path.abspath(child.file.path)), child.locator
    for key in ("relative_path", "W2ru", "volume_path", "absolute_win32_path", "W2ku", "MacX", "name"):
        text = loc.get(key, "")
        if not text:
            continue
        text = text.removeprefix("\\\\?\\").removeprefix("file://").replace("\\", "/")
        yield os.path.join(here, text)
        yield os.path.join(here, os.path.basename(text))


def fits(child, parent):
    if child.format != parent.format:
        raise Refused("the parent is no %s" % child.format)
    if child.format == "VHD":
        if child.parent_id != parent.id:
            raise Refused("the parent is %s, not %s" % (parent.id, child.parent_id))
        return
    names = [child.locator.get(k, "").strip("{}").lower() for k in ("parent_linkage", "parent_linkage2")]
    if str(parent.data_write) not in names:
        raise Refused("the parent is %s, not %s" % (parent.data_write, names[0]))
    if child.lss != parent.lss:
        raise Refused("parent and child have sectors of different length")


def open_image(path, kind=None, parent=None, seen=()):
    """parent: a path, or None to look where the image says."""
    image = {"raw": Raw, "vhd": Vhd, "vhdx": Vhdx}[kind](path) if kind else guess(path)(path)
    if not image.has_parent:
        return image
    seen = seen + (image.file.id,)
    if len(seen) > DEPTH:
        raise Refused("a chain of more than %d images" % DEPTH)
    for where in [parent] if parent else places(image):
        if not os.path.exists(where):
            continue
        st = os.stat(where)
        if (st.st_dev, st.st_ino) in seen:
            raise Refused("the chain of parents is a circle")
        image.parent = open_image(where, None, None, seen)
        fits(image, image.parent)
        return image
    raise Refused("the parent is missing: %s" % image.locator)


def read(image, off, n):
    """What a guest reads. Behind a parent's end there are zeros."""
    if off >= image.size:
        return bytes(n)
    out, end = [], min(off + n, image.size)
    tail = off + n - end
    step = getattr(image, "block", 0) or 1 << 30
    while off < end:
        piece = min(end, (off // step + 1) * step) - off
        for length, what in image.read_own(off, piece):
            if what is None:
                what = bytes(length)
            elif isinstance(what, str):
                what = read(image.parent, off, length)
            out.append(what)
            off += length
    return b"".join(out) + bytes(tail)


def ranges(image):
    """Where the disk may hold something else than zeros."""
    lists = []
    while image:
        lists.append(list(image.own_ranges()))
        image = image.parent
    return union(*lists)


def chunks(image):
    """(offset, 64 KiB) of all that is not zero."""
    next_at, zero = 0, bytes(CHUNK)
    for a, z in ranges(image):
        for at in range(max(next_at, a // CHUNK * CHUNK), min(z, image.size), CHUNK):
            data = read(image, at, CHUNK)
            if data != zero:
                yield at, data
            next_at = at + CHUNK


def digest(size, pairs):
    h = hashlib.sha256(struct.pack("<Q", size))
    for at, data in pairs:
        h.update(struct.pack("<Q", at) + data)
    return h.hexdigest()


def checksum(image):
    return digest(image.size, chunks(image))


def compare(a, b):
    """The first difference, or None. What lies behind the shorter one's end has to be zero."""
    left, right = chunks(a), chunks(b)
    x, y = next(left, None), next(right, None)
    while x or y:
        if not y or x and x[0] < y[0]:
            at, one, other, x, = x[0], x[1], bytes(CHUNK), next(left, None)
        elif not x or y[0] < x[0]:
            at, one, other, y = y[0], bytes(CHUNK), y[1], next(right, None)
        else:
            at, one, other, x, y = x[0], x[1], y[1], next(left, None), next(right, None)
        if one != other:
            return at + next(i for i in range(CHUNK) if one[i] != other[i])
    return None
