"""Makes VHD files, good and bad, from a description; as vhdx_make.py."""

import struct

from vhd_read import ABSENT, SECTOR, checksum
from vhdx_make import name_id


def geometry(size):
    """Cylinders, heads, sectors: the specification's algorithm."""
    total = min(size // SECTOR, 65535 * 16 * 255)
    if total >= 65535 * 16 * 63:
        spt, heads, cyl_heads = 255, 16, total // 255
    else:
        spt, cyl_heads = 17, total // 17
        heads = max(4, -(-cyl_heads // 1024))
        if cyl_heads >= heads * 1024 or heads > 16:
            spt, heads, cyl_heads = 31, 16, total // 31
        if cyl_heads >= heads * 1024:
            spt, heads, cyl_heads = 63, 16, total // 63
    return cyl_heads // heads, heads, spt


class VhdMaker:
    def __init__(self, name, size, block=2 << 20, kind="dynamic", parent=None, parent_path=None):
        self.size, self.block, self.kind, self.id = size, block, kind, name_id(name + "/vhd")
        self.type = {"fixed": 2, "dynamic": 3, "differencing": 4}[kind]
        self.creator, self.features, self.saved = b"win ", 2, 0
        self.data_offset, self.bat_off = (SECTOR, 1536) if kind != "fixed" else ((1 << 64) - 1, 0)
        self.parent, self.parent_path = parent, parent_path
        self.max_entries = -(-size // block)
        self.bitmap_len = -(-(block // SECTOR // 8) // SECTOR) * SECTOR
        self.bat, self.bits, self.data, self.patches = {}, {}, [], []
        self.first = self.bat_off + -(-self.max_entries * 4 // SECTOR) * SECTOR
        self.locators = []
        if parent_path:
            for code, text in ((b"W2ru", ".\\" + parent_path), (b"W2ku", "C:\\disks\\" + parent_path)):
                self.locators.append((code, text.encode("utf-16-le"), self.first))
                self.first += 1024
        self.next = self.first
        self.copy = self.trailer = True

    def footer(self, **change):
        v = dict(self.__dict__, **change)
        c, h, s = geometry(self.size)
        raw = struct.pack(">8sIIQI4sI4sQQHBBII16sB", b"conectix", v["features"], v.get("version", 0x10000),
                          v["data_offset"], 0x2A000000, v["creator"], 0xA0000, b"Wi2k", v["size"], v["size"], c, h, s,
                          v["type"], 0, v["id"].bytes, v["saved"]).ljust(512, b"\0")
        return raw[:64] + struct.pack(">I", checksum(raw, 64)) + raw[68:]

    def header(self):
        parent_id = self.parent.id.bytes if self.parent else bytes(16)
        name = (self.parent_path or "").encode("utf-16-be")[:512].ljust(512, b"\0")
        raw = struct.pack(">8sQQIIII16sII512s", b"cxsparse", (1 << 64) - 1, self.bat_off, 0x10000, self.max_entries,
                          self.block, 0, parent_id, 0, 0, name)
        for code, text, at in self.locators:
            raw += struct.pack(">4sIIIQ", code, 1024, len(text), 0, at)
        raw = raw.ljust(1024, b"\0")
        return raw[:36] + struct.pack(">I", checksum(raw, 36)) + raw[40:]

    def place(self, p):
        if p not in self.bat:
            self.bat[p] = self.next // SECTOR
            self.next += self.bitmap_len + self.block
            self.bits[p] = bytearray(self.bitmap_len)
        return self.bat[p] * SECTOR

    def write(self, off, data, mark=True):
        if self.kind == "fixed":
            self.data.append((off, data))
            return
        while data:
            p, within = divmod(off, self.block)
            piece = data[:self.block - within]
            self.data.append((self.place(p) + self.bitmap_len + within, piece))
            for s in range(within // SECTOR, (within + len(piece)) // SECTOR) if mark else ():
                self.bits[p][s // 8] |= 0x80 >> s % 8
            off, data = off + len(piece), data[len(piece):]

    def table(self):
        n = min(self.max_entries, 1 << 22)
        raw = struct.pack(">%dI" % n, *(self.bat.get(p, ABSENT) for p in range(n)))
        return raw.ljust(-(-len(raw) // SECTOR) * SECTOR, b"\xff")

    def save(self, path):
        with open(path, "wb") as f:
            def put(at, raw):
                f.seek(at)
                f.write(raw)
            end = self.size
            if self.kind != "fixed":
                end = self.next
                if self.copy:
                    put(0, self.footer())
                put(self.data_offset, self.header())
                put(self.bat_off, self.table())
                for _, text, at in self.locators:
                    put(at, text)
                for p, raw in self.bits.items():
                    put(self.bat[p] * SECTOR, raw)
            f.truncate(end)
            for at, raw in self.data:
                put(at, raw)
            if self.trailer:
                put(end, self.footer())
            for at, raw in self.patches:
                put(at, raw)
