"""A VHDX's log: finding the active sequence, and what it says. By the specification, section 2.3, with the checks
that hostile files make necessary."""

import struct
from uuid import UUID

from crc32c import crc32c
from source import Refused

SECTOR, MIB = 4096, 1 << 20
HEADERS_END = 192 * 1024  # nothing below may be a log's target


class Entry:
    def __init__(self, pos, length, tail, number, flushed, last, changes):
        self.pos, self.length, self.tail, self.number = pos, length, tail, number
        self.flushed, self.last, self.changes = flushed, last, changes


class Ring:
    def __init__(self, source, off, length, guid):
        self.source, self.off, self.length, self.guid = source, off, length, guid
        self.known = {}

    def read(self, pos, n):
        first = min(n, self.length - pos)
        return self.source.read(self.off + pos, first) + (self.source.read(self.off, n - first) if n > first else b"")

    def entry(self, pos):
        """The valid entry at pos, or None."""
        if pos not in self.known:
            self.known[pos] = self._parse(pos)
        return self.known[pos]

    def _parse(self, pos):
        head = self.read(pos, 64)
        sig, crc, length, tail, number, n, _, guid, flushed, last = struct.unpack("<4sIIIQII16sQQ", head)
        if sig != b"loge" or UUID(bytes_le=guid) != self.guid or number == 0:
            return None
        if length == 0 or length % SECTOR or length > self.length or tail % SECTOR or tail >= self.length:
            return None
        heads = 1 if n <= 126 else 1 + -(-(n - 126) // 128)
        if heads * SECTOR > length:
            return None
        raw = self.read(pos, length)
        if crc32c(raw, 4) != crc:
            return None
        changes = self._changes(raw, heads, n, number)
        return None if changes is None else Entry(pos, length, tail, number, flushed, last, changes)

    def _changes(self, raw, heads, n, number):
        """[(file offset, page or number of zeros)], or None if any of it is wrong."""
        changes, data = [], heads * SECTOR
        for i in range(n):
            at = 64 + 32 * i  # the first sector holds 126 behind its head: they follow on without a gap
            sig, a, b, target, seq = struct.unpack("<4sIQQQ", raw[at:at + 32])
            if seq != number:
                return None
            if sig == b"zero":
                span, what = b, b
                if b % SECTOR or b == 0:
                    return None
            elif sig == b"desc":
                span, sector = SECTOR, raw[data:data + SECTOR]
                data += SECTOR
                if len(sector) < SECTOR or sector[:4] != b"data":
                    return None
                high, low = struct.unpack("<I", sector[4:8])[0], struct.unpack("<I", sector[4092:])[0]
                if high << 32 | low != number:
                    return None
                what = struct.pack("<Q", b) + sector[8:4092] + struct.pack("<I", a)
            else:
                return None
            if not self.allowed(target, span):
                return None
            changes.append((target, what))
        return changes if data == len(raw) else None

    def allowed(self, target, span):
        if target % SECTOR or target < HEADERS_END or target + span > 1 << 63:
            return False
        return target + span <= self.off or target >= self.off + self.length

    def active(self):
        """The entries to apply, oldest first, and the head. Refused if there are none."""
        best, tail = None, 0
        while True:
            seq, pos, used = [], tail, 0
            while True:
                e = self.entry(pos)
                if not e or seq and e.number != seq[-1].number + 1 or used + e.length > self.length:
                    break
                seq.append(e)
                used += e.length
                pos = (pos + e.length) % self.length
            ok = bool(seq) and any(e.pos == seq[-1].tail for e in seq)
            if ok and (not best or seq[-1].number > best[-1].number):
                best = seq
            old, tail = tail, pos if ok else (tail + SECTOR) % self.length
            if tail <= old:
                break
        if not best:
            raise Refused("the log has no valid sequence, though the header says that there is one")
        head = best[-1]
        first = [e.pos for e in best].index(head.tail)
        return best[first:], head


def replay(overlay, off, length, guid):
    """Applies the log to an overlay; returns what it was, for info."""
    entries, head = Ring(overlay.base, off, length, guid).active()
    if overlay.size < head.flushed:
        raise Refused("the file has %d bytes, the log knows of %d that were flushed" % (overlay.size, head.flushed))
    size = max(overlay.size, head.last)
    for e in entries:
        for target, what in e.changes:
            n = what if isinstance(what, int) else SECTOR
            if target + n > max(size, overlay.size):
                raise Refused("a log entry writes at %d, behind the end" % target)
            if isinstance(what, int):
                overlay.clear(target, n)
            else:
                overlay.put(target, what)
    overlay.size = size
    return {"entries": len(entries), "first": entries[0].number, "last": head.number,
            "positions": [e.pos for e in entries], "pages": sum(len(e.changes) for e in entries),
            "flushed": head.flushed, "last_file_offset": head.last}
