"""The file under an image, as the oracle sees it: reads behind the end are zero, holes are known without reading
them, and what a log would change lies over it in memory. Nothing here ever writes."""

import os
import stat

PAGE = 4096


class Refused(Exception):
    """The image must not be used; the text says why."""


class Source:
    def __init__(self, path):
        self.path = path
        self.fd = os.open(path, os.O_RDONLY)
        st = os.fstat(self.fd)
        self.id = (st.st_dev, st.st_ino)
        self.size = os.lseek(self.fd, 0, os.SEEK_END) if stat.S_ISBLK(st.st_mode) else st.st_size

    def close(self):
        os.close(self.fd)

    def read(self, off, n):
        """n bytes at off; zeros where the file has none."""
        parts, left = [], n
        while left and off < self.size:
            b = os.pread(self.fd, min(left, 1 << 24), off)
            if not b:
                break
            parts.append(b)
            off += len(b)
            left -= len(b)
        return b"".join(parts) + bytes(left)

    def ranges(self, start, end):
        """Where [start, end) may hold something else than zeros: (from, to), ascending."""
        end = min(end, self.size)
        while start < end:
            try:
                a = os.lseek(self.fd, start, os.SEEK_DATA)
            except OSError:  # ENXIO: only a hole follows
                return
            if a >= end:
                return
            b = min(os.lseek(self.fd, a, os.SEEK_HOLE), end)
            yield a, b
            start = b


class Overlay:
    """A source with a log's pages over it."""

    def __init__(self, base):
        self.base, self.size, self.path, self.id = base, base.size, base.path, base.id
        self.pages, self.zeros = {}, []

    def put(self, off, page):
        self.pages[off] = page

    def clear(self, off, n):
        for p in [p for p in self.pages if off <= p < off + n]:
            del self.pages[p]
        self.zeros.append((off, off + n))

    def close(self):
        self.base.close()

    def read(self, off, n):
        if not self.pages and not self.zeros:
            return self.base.read(off, n)
        b, end = bytearray(self.base.read(off, n)), off + n
        for a, z in self.zeros:
            a, z = max(a, off), min(z, end)
            if a < z:
                b[a - off:z - off] = bytes(z - a)
        if len(self.pages) < n // PAGE:
            touched = [p for p in self.pages if off - PAGE < p < end]
        else:
            touched = [p for p in range(off // PAGE * PAGE, end, PAGE) if p in self.pages]
        for p in touched:
            a, z = max(p, off), min(p + PAGE, end)
            b[a - off:z - off] = self.pages[p][a - p:z - p]
        return bytes(b)

    def ranges(self, start, end):
        own = sorted((max(p, start), min(p + PAGE, end)) for p in self.pages if start - PAGE < p < end)
        return union(self.base.ranges(start, end), own)


def union(*lists):
    """Ascending ranges of several such lists, joined where they touch."""
    everything = sorted(r for one in lists for r in one)
    last = None
    for a, z in everything:
        if last and a <= last[1]:
            last = (last[0], max(last[1], z))
        else:
            if last:
                yield last
            last = (a, z)
    if last:
        yield last
