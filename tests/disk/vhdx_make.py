"""Makes VHDX files, good and bad, from a description: for readers to be tried with. Everything of a file is kept
in memory until save(), so that a test may change any of it before."""

import struct
from uuid import UUID, uuid5

from crc32c import crc32c
from vhdx_read import (BAT, CHUNK_SECTORS, DISK_ID, DISK_SIZE, FILE_PARAMETERS, FULL, KIB, LOCATOR, LOCATOR_TYPE,
                       LOGICAL, METADATA, MIB, NIL, PARTIAL, PHYSICAL)

SECTOR = 4096
SPACE = UUID("9f2cf5a4-5f0a-4d6e-9d9e-6a1c9f7f1d10")


def name_id(text):
    """The same text, the same identity: files do not change from run to run."""
    return uuid5(SPACE, text)


def sealed(raw):
    raw = bytearray(raw)
    raw[4:8] = struct.pack("<I", crc32c(raw, 4))
    return bytes(raw)


def log_entry(guid, number, tail, changes, flushed, last, descriptors=None, length=None):
    """changes: [(offset, page of 4096 bytes or number of zeros)]. descriptors, length: lies about them."""
    n = len(changes)
    heads = 1 if n <= 126 else 1 + -(-(n - 126) // 128)
    table, sectors = bytearray(), bytearray()
    for off, what in changes:
        if isinstance(what, int):
            table += struct.pack("<4sIQQQ", b"zero", 0, what, off, number)
            continue
        table += struct.pack("<4s4s8sQQ", b"desc", what[4092:], what[:8], off, number)
        sectors += b"data" + struct.pack("<I", number >> 32) + what[8:4092] + struct.pack("<I", number & 0xFFFFFFFF)
    total = heads * SECTOR + len(sectors)
    head = struct.pack("<4sIIIQII16sQQ", b"loge", 0, total if length is None else length, tail, number,
                       n if descriptors is None else descriptors, 0, guid.bytes_le, flushed, last)
    return sealed(head + table + bytes(heads * SECTOR - 64 - len(table)) + sectors)


class VhdxMaker:
    def __init__(self, name, size, block=2 * MIB, lss=512, pss=4096, kind="dynamic", parent=None, log_len=MIB):
        """parent: {key: text} of the locator."""
        self.size, self.block, self.lss, self.pss, self.kind = size, block, lss, pss, kind
        self.id, self.file_write, self.data_write = (name_id(name + s) for s in ("/id", "/file", "/data"))
        self.log_guid, self.log_off, self.log_len, self.sequence = NIL, MIB, log_len, 7
        self.version, self.log_version, self.file_size = 1, 0, None
        self.ratio = CHUNK_SECTORS * lss // block
        blocks = -(-size // block)
        self.chunks = -(-blocks // self.ratio)
        entries = self.chunks * (self.ratio + 1) if kind == "differencing" else blocks + (blocks - 1) // self.ratio
        bat_len = -(-entries * 8 // MIB) * MIB
        self.meta_off, self.bat_off = MIB + log_len, 2 * MIB + log_len
        self.next = self.bat_off + bat_len
        self.regions = [(METADATA, self.meta_off, MIB, 1), (BAT, self.bat_off, bat_len, 1)]
        flags = {"fixed": 1, "dynamic": 0, "differencing": 2}[kind]
        self.items = [(FILE_PARAMETERS, 4, struct.pack("<II", block, flags)), (DISK_SIZE, 6, struct.pack("<Q", size)),
                      (DISK_ID, 6, self.id.bytes_le), (LOGICAL, 6, struct.pack("<I", lss)),
                      (PHYSICAL, 6, struct.pack("<I", pss))]
        if parent:
            self.items.append((LOCATOR, 4, locator(parent)))
        self.item_places = {}  # GUID: (offset, length) that the table tells instead of the truth
        self.bat, self.bits, self.data, self.rings, self.patches = {}, {}, [], [], []
        if kind == "fixed":
            for p in range(blocks):
                self.place(p, FULL)

    def index(self, p):
        return p + p // self.ratio

    def take(self, n):
        at, self.next = self.next, self.next + n
        return at

    def place(self, p, state):
        """Gives block p a place of its own; returns it."""
        i = self.index(p)
        at = self.bat.get(i, 0) >> 20 << 20 or self.take(self.block)
        self.bat[i] = at | state
        return at

    def state(self, p, state, anchor=False):
        if anchor:
            self.place(p, state)
        else:
            self.bat[self.index(p)] = state

    def write(self, off, data):
        """As a guest: a child's sectors are partly present."""
        while data:
            p, within = divmod(off, self.block)
            piece = data[:self.block - within]
            state = self.bat.get(self.index(p), 0) & 7
            child = self.kind == "differencing" and state != FULL
            at = self.place(p, PARTIAL if child else FULL)
            self.data.append((at + within, piece))
            if child:
                self.mark(off // self.lss, len(piece) // self.lss)
            off, data = off + len(piece), data[len(piece):]

    def mark(self, sector, n):
        for s in range(sector, sector + n):
            c, s = divmod(s, CHUNK_SECTORS)
            if c not in self.bits:
                at = self.take(MIB)
                self.bat[c * (self.ratio + 1) + self.ratio] = at | FULL
                self.bits[c] = (at, bytearray(MIB))
            self.bits[c][1][s // 8] |= 1 << s % 8

    def bat_page(self, page):
        return struct.pack("<512Q", *(self.bat.get(page * 512 + i, 0) for i in range(512)))

    def header(self, sequence=None, **change):
        v = dict(self.__dict__, **change)
        raw = struct.pack("<4sIQ16s16s16sHHIQ", b"head", 0, self.sequence if sequence is None else sequence,
                          v["file_write"].bytes_le, v["data_write"].bytes_le, v["log_guid"].bytes_le,
                          v["log_version"], v["version"], v["log_len"], v["log_off"])
        return sealed(raw.ljust(4096, b"\0"))

    def region_table(self):
        raw = struct.pack("<4sIII", b"regi", 0, len(self.regions), 0)
        raw += b"".join(struct.pack("<16sQII", g.bytes_le, o, n, f) for g, o, n, f in self.regions)
        return sealed(raw.ljust(64 * KIB, b"\0"))

    def metadata(self):
        table = struct.pack("<8sHH20s", b"metadata", 0, len(self.items), b"")
        at, body = 64 * KIB, b""
        for guid, flags, data in self.items:
            place = self.item_places.get(guid, (at, len(data)))
            table += struct.pack("<16sIIII", guid.bytes_le, *place, flags, 0)
            body += data
            at += len(data)
        return table.ljust(64 * KIB, b"\0") + body

    def log(self, pos, raw):
        """Bytes in the ring, which wraps."""
        first = min(len(raw), self.log_len - pos)
        self.rings.append((self.log_off + pos, raw[:first]))
        if len(raw) > first:
            self.rings.append((self.log_off, raw[first:]))

    def save(self, path):
        with open(path, "wb") as f:
            def put(at, raw):
                f.seek(at)
                f.write(raw)
            put(0, b"vhdxfile" + "Freehold test".encode("utf-16-le"))
            put(64 * KIB, self.header(self.sequence - 1))
            put(128 * KIB, self.header())
            put(192 * KIB, self.region_table())
            put(256 * KIB, self.region_table())
            put(self.meta_off, self.metadata())
            for page in {i // 512 for i in self.bat}:
                put(self.bat_off + page * SECTOR, self.bat_page(page))
            for at, raw in self.bits.values():
                put(at, raw)
            f.truncate(self.next)
            for at, raw in self.data + self.rings + self.patches:
                put(at, raw)
            f.truncate(self.file_size if self.file_size is not None else max(self.next, f.seek(0, 2)))


def locator(pairs, kind=LOCATOR_TYPE):
    raw, body = struct.pack("<16sHH", kind.bytes_le, 0, len(pairs)), b""
    at = 20 + 12 * len(pairs)
    for key, value in pairs.items():
        k, v = key.encode("utf-16-le"), value.encode("utf-16-le")
        raw += struct.pack("<IIHH", at + len(body), at + len(body) + len(k), len(k), len(v))
        body += k + v
    return raw + body


def child_of(parent, path):
    """The locator of a child of a maker whose file is beside it."""
    return {"parent_linkage": "{%s}" % parent.data_write, "relative_path": ".\\" + path,
            "absolute_win32_path": "\\\\?\\C:\\disks\\" + path}
