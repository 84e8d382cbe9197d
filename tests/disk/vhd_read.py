"""VHD, read from its specification (1.0, 2006) and from what Windows writes."""

import struct
from uuid import UUID

from source import Refused, Source, union
from vhdx_read import refuse

SECTOR = 512
ABSENT = 0xFFFFFFFF
KINDS = {2: "fixed", 3: "dynamic", 4: "differencing"}


def checksum(raw, hole):
    return ~(sum(raw) - sum(raw[hole:hole + 4])) & 0xFFFFFFFF


class Vhd:
    format = "VHD"

    def __init__(self, path):
        self.file = Source(path)
        self.parent = None
        self.notes = []
        self._footer()
        self.lss = SECTOR
        if self.type == 2:
            refuse(self.file.size < self.size, "the file is shorter than its disk")
            self.data_end = self.size
            self.locator, self.parent_id, self.block, self.has_parent = {}, None, 0, False
            return
        self._header()
        self.bitmaps = {}

    def _one_footer(self, off, n=SECTOR):
        if off < 0:
            return None
        raw = self.file.read(off, n) + bytes(SECTOR - n)
        if raw[:8] != b"conectix" or struct.unpack(">I", raw[64:68])[0] != checksum(raw, 64):
            return None
        return raw

    def _footer(self):
        end = self.file.size
        trailer, short = self._one_footer(end - SECTOR), None
        if trailer is None:
            short = self._one_footer(end - 511, 511)
        raw = trailer or short
        first = self._one_footer(0)
        if raw is None:
            self.notes.append("the footer at the end is damaged or missing")
            raw = first
        refuse(raw is None, "no VHD: no footer at the end, no copy at the beginning")
        self.footer_off = end - SECTOR if trailer else end - 511 if short else None
        features, version, self.data_offset, self.created = struct.unpack(">IIQI", raw[8:28])
        self.creator = raw[28:32].decode("latin-1")
        self.creator_version, = struct.unpack(">I", raw[32:36])
        self.original, self.size, c, h, s, self.type = struct.unpack(">QQHBBI", raw[40:64])
        self.geometry = [c, h, s]
        self.id = UUID(bytes=raw[68:84])
        self.saved = raw[84]
        refuse(version != 0x10000, "version %#x", version)
        refuse(self.type not in KINDS, "a disk of type %d", self.type)
        refuse(not self.size or self.size % SECTOR, "a disk of %d bytes", self.size)
        refuse(self.size > 2040 << 30, "a disk of %d bytes: more than 2040 GiB", self.size)
        self.kind = KINDS[self.type]
        if self.type != 2 and first is None:
            self.notes.append("the copy of the footer at the beginning is damaged")
        elif self.type != 2 and first != raw and raw is not first:
            self.notes.append("footer and its copy differ")

    def _header(self):
        off = self.data_offset
        refuse(off % SECTOR or off < SECTOR or off + 1024 > self.file.size, "the header lies at %d", off)
        raw = self.file.read(off, 1024)
        refuse(raw[:8] != b"cxsparse", "the header at %d has no signature", off)
        refuse(struct.unpack(">I", raw[36:40])[0] != checksum(raw, 36), "the header's checksum is wrong")
        self.bat_off, version, self.max_entries, self.block = struct.unpack(">QIII", raw[16:36])
        refuse(version != 0x10000, "the header's version is %#x", version)
        b = self.block
        refuse(b < SECTOR or b & (b - 1) or b > 1 << 28, "blocks of %d bytes", b)
        self.blocks = -(-self.size // b)
        refuse(self.max_entries < self.blocks, "%d table entries for %d blocks", self.max_entries, self.blocks)
        refuse(self.bat_off % SECTOR or self.bat_off < SECTOR, "the BAT lies at %d", self.bat_off)
        self.bat_len = -(-self.max_entries * 4 // SECTOR) * SECTOR
        refuse(self.bat_off + self.bat_len > self.file.size, "the BAT lies behind the end")
        refuse(self.bat_off < off + 1024 and off < self.bat_off + self.bat_len, "the BAT lies in the header")
        self.bitmap_len = -(-(b // SECTOR // 8) // SECTOR) * SECTOR
        self.bat = struct.unpack(">%dI" % self.blocks, self.file.read(self.bat_off, self.blocks * 4))
        self.has_parent = self.type == 4
        self.parent_id = UUID(bytes=raw[40:56])
        self.locator = {}
        if self.has_parent:
            self._parent(raw)

    def _parent(self, raw):
        refuse(self.parent_id.int == 0, "a differencing disk that names no parent")
        self.locator["name"] = raw[64:576].decode("utf-16-be", "replace").split("\0")[0]
        self.locators = []
        for i in range(8):
            code, _, length, _, at = struct.unpack(">4sIIIQ", raw[576 + 24 * i:600 + 24 * i])
            if code == b"\0\0\0\0":
                continue
            refuse(length > 1 << 20 or at + length > self.file.size, "parent locator %d lies behind the end", i)
            text = self.file.read(at, length)
            self.locators.append((at, at + length))
            name = code.decode("latin-1")
            self.locator[name] = text.decode("utf-8" if name == "MacX" else "utf-16-le", "replace").split("\0")[0]

    # --- Tables ---

    def place(self, p):
        """Where a block's bitmap lies; None: nowhere."""
        e = self.bat[p]
        if e == ABSENT:
            return None
        off, n = e * SECTOR, self.bitmap_len + self.block
        refuse(off < SECTOR, "block %d lies in the footer's copy", p)
        refuse(off + self.bitmap_len > self.file.size, "block %d lies behind the end", p)
        refuse(off < self.bat_off + self.bat_len and self.bat_off < off + n, "block %d lies in the BAT", p)
        refuse(off < self.data_offset + 1024 and self.data_offset < off + n, "block %d lies in the header", p)
        return off

    def bits(self, p):
        if p not in self.bitmaps:
            if len(self.bitmaps) > 4096:
                self.bitmaps.clear()
            self.bitmaps[p] = self.file.read(self.place(p), self.bitmap_len)
        return self.bitmaps[p]

    # --- Content ---

    def read_own(self, off, n):
        if self.type == 2:
            return [(n, self.file.read(off, n))]
        p, within = divmod(off, self.block)
        absent = "parent" if self.has_parent else None
        at = self.place(p)
        if at is None:
            return [(n, absent)]
        bits, out, done = self.bits(p), [], 0
        data = self.file.read(at + self.bitmap_len + within, n)
        while done < n:
            s = (within + done) // SECTOR
            end = min(n, (s + 1) * SECTOR - within)
            here = bits[s // 8] >> 7 - s % 8 & 1
            out.append((end - done, data[done:end] if here else absent))
            done = end
        return out

    def own_ranges(self):
        if self.type == 2:
            yield from self.file.ranges(0, self.size)
            return
        for p, e in enumerate(self.bat):
            if e == ABSENT:
                continue
            start, at = p * self.block, self.place(p) + self.bitmap_len
            for a, z in self.file.ranges(at, at + self.block):
                if start + a - at < self.size:
                    yield start + a - at, min(start + z - at, self.size)

    # --- For people ---

    def info(self):
        out = {"format": self.format, "kind": self.kind, "size": self.size, "original": self.original,
               "geometry": self.geometry, "id": str(self.id), "creator": self.creator,
               "creator_version": self.creator_version, "created": self.created, "saved_state": self.saved,
               "logical": SECTOR, "file_size": self.file.size, "footer": self.footer_off}
        if self.type != 2:
            out.update(block=self.block, table=[self.bat_off, self.max_entries],
                       allocated=sum(e != ABSENT for e in self.bat))
        if self.has_parent:
            out["parent"] = dict(self.locator, id=str(self.parent_id))
        if self.notes:
            out["notes"] = self.notes
        return out

    def check(self):
        bad, owner = list(self.notes), []
        if self.type == 2:
            return bad
        stride = self.bitmap_len + self.block
        for p, e in enumerate(self.bat):
            try:
                at = self.place(p)
            except Refused as r:
                bad.append(str(r))
                continue
            if at is not None:
                owner.append((at, at + stride, "block %d" % p))
        owner += [(a, z, "a parent locator") for a, z in getattr(self, "locators", [])]
        if self.footer_off is not None:
            owner.append((self.footer_off, self.file.size, "the footer"))
        else:
            bad += ["%s ends behind the end of the file" % w for a, z, w in owner if z > self.file.size]
        owner.sort()
        bad += ["%s and %s overlap at %d" % (a[2], b[2], b[0]) for a, b in zip(owner, owner[1:]) if a[1] > b[0]]
        return bad


assert list(union([(0, 2)], [(1, 3), (5, 6)])) == [(0, 3), (5, 6)]
