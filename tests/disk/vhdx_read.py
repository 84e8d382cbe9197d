"""VHDX, read from its specification (MS-VHDX v20240423): structure, content, and what is wrong with it."""

import struct
from uuid import UUID

from crc32c import crc32c
from source import Overlay, Refused, Source
from vhdx_log import replay

KIB, MIB, TIB = 1 << 10, 1 << 20, 1 << 40
NIL = UUID(int=0)
BAT = UUID("2DC27766-F623-4200-9D64-115E9BFD4A08")
METADATA = UUID("8B7CA206-4790-4B9A-B8FE-575F050F886E")
FILE_PARAMETERS = UUID("CAA16737-FA36-4D43-B3B6-33F0AA44E76B")
DISK_SIZE = UUID("2FA54224-CD1B-4876-B211-5DBED83BF4B8")
DISK_ID = UUID("BECA12AB-B2E6-4523-93EF-C309E000C746")
LOGICAL = UUID("8141BF1D-A96F-4709-BA47-F233A8FAAB5F")
PHYSICAL = UUID("CDA348C7-445D-4471-9CC9-E9885251C556")
LOCATOR = UUID("A8D35F2D-B30B-454D-ABF7-D3D84834AB0C")
LOCATOR_TYPE = UUID("B04AEFB7-D19E-4A81-B789-25B8E9445913")
INCOMPLETE = UUID("71CC85F0-1B69-4E28-9558-C3BF83AE75D3")
ITEMS = (FILE_PARAMETERS, DISK_SIZE, DISK_ID, LOGICAL, PHYSICAL, LOCATOR)

NOT_PRESENT, UNDEFINED, ZERO, UNMAPPED, FULL, PARTIAL = 0, 1, 2, 3, 6, 7
CHUNK_SECTORS = 1 << 23


def refuse(cond, text, *args):
    if cond:
        raise Refused(text % args if args else text)


class Vhdx:
    format = "VHDX"

    def __init__(self, path):
        self.file = Overlay(Source(path))
        self.parent = None
        self.notes = []
        refuse(self.file.read(0, 8) != b"vhdxfile", "no VHDX: it does not begin with vhdxfile")
        self.creator = self.file.read(8, 512).decode("utf-16-le", "replace").split("\0")[0]
        self._header()
        self.log = replay(self.file, self.log_off, self.log_len, self.log_guid) if self.log_guid != NIL else None
        self._regions()
        self._metadata()
        self._geometry()
        self.table = {}

    # --- Structure ---

    def _one_header(self, off):
        raw = self.file.read(off, 4096)
        sig, crc, seq, fw, dw, log, logv, ver, loglen, logoff = struct.unpack("<4sIQ16s16s16sHHIQ", raw[:80])
        if sig != b"head" or crc32c(raw, 4) != crc:
            self.notes.append("header at %d is damaged" % off)
            return None
        return seq, raw, UUID(bytes_le=fw), UUID(bytes_le=dw), UUID(bytes_le=log), logv, ver, loglen, logoff

    def _header(self):
        both = [h for h in (self._one_header(64 * KIB), self._one_header(128 * KIB)) if h]
        refuse(not both, "both headers are damaged")
        if len(both) == 2 and both[0][0] == both[1][0]:
            refuse(both[0][1] != both[1][1], "two different headers have the same number")
        self.headers = both
        h = max(both, key=lambda x: x[0])
        self.sequence, _, self.file_write, self.data_write, self.log_guid, logv, ver, self.log_len, self.log_off = h
        refuse(ver != 1, "version %d", ver)
        refuse(self.log_guid != NIL and logv != 0, "log version %d", logv)
        refuse(self.log_len % MIB or self.log_off % MIB or self.log_off < MIB, "the log's place is not in whole MiB")
        refuse(self.log_guid != NIL and not self.log_len, "a log without length")
        refuse(self.log_guid != NIL and self.log_off + self.log_len > self.file.base.size, "the log is behind the end")

    def _one_region_table(self, off):
        raw = self.file.read(off, 64 * KIB)
        sig, crc, n, _ = struct.unpack("<4sIII", raw[:16])
        if sig != b"regi" or n > 2047 or crc32c(raw, 4) != crc:
            self.notes.append("region table at %d is damaged" % off)
            return None
        return [struct.unpack("<16sQII", raw[16 + 32 * i:48 + 32 * i]) for i in range(n)]

    def _regions(self):
        first, second = self._one_region_table(192 * KIB), self._one_region_table(256 * KIB)
        refuse(first is None and second is None, "both region tables are damaged")
        table = first if first is not None else second
        self.regions, places = {}, [(self.log_off, self.log_len, "log")]
        for guid, off, length, flags in table:
            guid = UUID(bytes_le=guid)
            refuse(off % MIB or off < MIB or length % MIB or not length, "region %s: %d+%d", guid, off, length)
            refuse(off + length > 1 << 63, "region %s lies behind everything", guid)
            refuse(guid in self.regions, "region %s twice", guid)
            refuse(flags & 1 and guid not in (BAT, METADATA), "unknown required region %s", guid)
            self.regions[guid] = (off, length)
            places.append((off, length, str(guid)))
        places.sort()
        for a, b in zip(places, places[1:]):
            refuse(a[0] + a[1] > b[0], "%s and %s overlap", a[2], b[2])
        refuse(BAT not in self.regions, "no BAT region")
        refuse(METADATA not in self.regions, "no metadata region")
        self.places = places

    def _metadata(self):
        off, length = self.regions[METADATA]
        raw = self.file.read(off, 64 * KIB)
        refuse(raw[:8] != b"metadata", "the metadata region has no table")
        n = struct.unpack("<H", raw[10:12])[0]
        refuse(n > 2047, "%d metadata items", n)
        self.items, spans, users = {}, [], 0
        for i in range(n):
            guid, at, size, flags, _ = struct.unpack("<16sIIII", raw[32 + 32 * i:64 + 32 * i])
            guid, user = UUID(bytes_le=guid), flags & 1
            users += user
            refuse((guid, user) in self.items, "metadata item %s twice", guid)
            refuse(flags & 4 and (user or guid not in ITEMS), "unknown required metadata item %s", guid)
            refuse(guid == INCOMPLETE, "the image was not completed when it was made")
            refuse(not size and at, "metadata item %s has an offset but no length", guid)
            refuse(size > MIB, "metadata item %s has %d bytes", guid, size)
            if size:
                refuse(at < 64 * KIB or at + size > length, "metadata item %s lies outside its region", guid)
                spans.append((at, at + size))
            self.items[guid, user] = (at, size, flags)
        refuse(users > 1024, "%d user metadata items", users)
        spans.sort()
        refuse(any(a[1] > b[0] for a, b in zip(spans, spans[1:])), "metadata items overlap")

    def _item(self, guid, size):
        refuse((guid, 0) not in self.items, "metadata item %s is missing", guid)
        at, n, _ = self.items[guid, 0]
        refuse(size is not None and n != size, "metadata item %s has %d bytes, not %s", guid, n, size)
        return self.file.read(self.regions[METADATA][0] + at, n)

    def _geometry(self):
        self.block, flags = struct.unpack("<II", self._item(FILE_PARAMETERS, 8))
        b = self.block
        refuse(b & (b - 1) or not MIB <= b <= 256 * MIB, "blocks of %d bytes", b)
        self.lss, = struct.unpack("<I", self._item(LOGICAL, 4))
        self.pss, = struct.unpack("<I", self._item(PHYSICAL, 4))
        refuse(self.lss not in (512, 4096), "logical sectors of %d bytes", self.lss)
        refuse(self.pss not in (512, 4096), "physical sectors of %d bytes", self.pss)
        self.size, = struct.unpack("<Q", self._item(DISK_SIZE, 8))
        refuse(not self.size or self.size % self.lss or self.size > 64 * TIB, "a disk of %d bytes", self.size)
        self.id = UUID(bytes_le=self._item(DISK_ID, 16))
        self.has_parent, self.fixed = bool(flags & 2), bool(flags & 1)
        self.kind = "differencing" if self.has_parent else "fixed" if self.fixed else "dynamic"
        self.ratio = CHUNK_SECTORS * self.lss // b
        self.blocks = -(-self.size // b)
        self.chunks = -(-self.blocks // self.ratio)
        self.entries = self.chunks * (self.ratio + 1) if self.has_parent \
            else self.blocks + (self.blocks - 1) // self.ratio
        refuse(self.regions[BAT][1] < self.entries * 8, "the BAT is too short for the disk")
        self.locator = self._locator() if self.has_parent else {}

    def _locator(self):
        raw = self._item(LOCATOR, None)
        refuse(len(raw) < 20, "the parent locator is too short")
        kind, _, n = struct.unpack("<16sHH", raw[:20])
        refuse(UUID(bytes_le=kind) != LOCATOR_TYPE, "an unknown kind of parent locator")
        refuse(20 + 12 * n > len(raw), "the parent locator is too short for its %d pairs", n)
        out = {}
        for i in range(n):
            k, v, kn, vn = struct.unpack("<IIHH", raw[20 + 12 * i:32 + 12 * i])
            refuse(k + kn > len(raw) or v + vn > len(raw) or not kn or kn % 2 or vn % 2, "parent locator, pair %d", i)
            key = raw[k:k + kn].decode("utf-16-le", "replace")
            refuse(key in out, "parent locator: %s twice", key)
            out[key] = raw[v:v + vn].decode("utf-16-le", "replace")
        refuse("parent_linkage" not in out, "the parent locator does not name the parent's identity")
        return out

    # --- Tables ---

    def entry(self, index):
        page = index // 512
        if page not in self.table:
            if len(self.table) > 4096:
                self.table.clear()
            self.table[page] = struct.unpack("<512Q", self.file.read(self.regions[BAT][0] + page * 4096, 4096))
        return self.table[page][index % 512]

    def payload(self, p):
        """(state, offset) of a block; Refused if it cannot be."""
        e = self.entry(p + p // self.ratio)
        return self._state(e, "block %d" % p, self.block, (0, 1, 2, 3, 6) + ((7,) if self.has_parent else ()))

    def bitmap(self, c):
        e = self.entry(c * (self.ratio + 1) + self.ratio)
        return self._state(e, "sector bitmap %d" % c, MIB, (0, 6) if self.has_parent else (0,))

    def _state(self, e, what, length, allowed):
        state, off = e & 7, e >> 20 << 20
        refuse(state not in allowed, "%s has state %d", what, state)
        refuse(e >> 3 & 0x1FFFF, "%s has reserved bits set", what)
        if state in (FULL, PARTIAL):
            refuse(off < MIB, "%s lies in the headers", what)
            refuse(off >= self.file.size, "%s lies behind the end", what)
        elif state == ZERO and off:  # Windows refuses it; nothing of it is ambiguous
            self.notes.append("%s reads as zero but has a place" % what)
        if off and state != NOT_PRESENT:
            for a, n, name in self.places:
                refuse(off < a + n and a < off + length, "%s lies in region %s", what, name)
        return state, off

    def used_entries(self):
        """Indexes that may not be zero."""
        base = self.regions[BAT][0]
        for a, z in self.file.ranges(base, base + self.entries * 8):
            for page in range((a - base) // 4096, -(-(z - base) // 4096)):
                first = page * 512
                self.entry(min(first, self.entries - 1))
                row = self.table[page]
                if any(row):
                    for i in range(first, min(first + 512, self.entries)):
                        if row[i - first]:
                            yield i

    def used_blocks(self):
        for i in self.used_entries():
            if i % (self.ratio + 1) != self.ratio:
                p = i - i // (self.ratio + 1)
                if p < self.blocks:
                    yield p

    # --- Content ---

    def read_own(self, off, n):
        """[(length, bytes or None: zeros or 'parent')] for a range within one block."""
        p, within = divmod(off, self.block)
        state, at = self.payload(p)
        if state == FULL:
            return [(n, self.file.read(at + within, n))]
        if state == NOT_PRESENT and self.has_parent:
            return [(n, "parent")]
        if state != PARTIAL:
            return [(n, None)]
        return self._partial(p, off, n, at + within)

    def _partial(self, p, off, n, at):
        state, bits_at = self.bitmap(p // self.ratio)
        refuse(state != FULL, "block %d is partly here, but its sector bitmap is not", p)
        first, last = off // self.lss % CHUNK_SECTORS, (off + n - 1) // self.lss % CHUNK_SECTORS
        bits = self.file.read(bits_at + first // 8, last // 8 - first // 8 + 1)
        out, done = [], 0
        for s in range(first, last + 1):
            here = bits[s // 8 - first // 8] >> s % 8 & 1
            end = min(n, (s + 1 - first) * self.lss - off % self.lss)
            piece = self.file.read(at + done, end - done) if here else "parent"
            out.append((end - done, piece))
            done = end
        return out

    def own_ranges(self):
        """Where this file, not its parent, may give something else than zeros."""
        for p in self.used_blocks():
            state, at = self.payload(p)
            if state in (FULL, PARTIAL):
                start = p * self.block
                for a, z in self.file.ranges(at, at + self.block):
                    if start + a - at < self.size:
                        yield start + a - at, min(start + z - at, self.size)

    # --- For people ---

    def states(self):
        count, seen = {}, 0
        for p in self.used_blocks():
            s = self.entry(p + p // self.ratio) & 7
            count[s] = count.get(s, 0) + 1
            seen += 1
        if self.blocks - seen:
            count[0] = count.get(0, 0) + self.blocks - seen
        return {str(k): count[k] for k in sorted(count)}

    def info(self):
        out = {"format": self.format, "kind": self.kind, "size": self.size, "block": self.block,
               "logical": self.lss, "physical": self.pss, "id": str(self.id), "creator": self.creator,
               "sequence": self.sequence, "data_write": str(self.data_write), "file_write": str(self.file_write),
               "file_size": self.file.base.size, "log": {"offset": self.log_off, "length": self.log_len,
                                                         "guid": str(self.log_guid), "replay": self.log},
               "regions": {str(g): r for g, r in self.regions.items()}, "states": self.states()}
        if self.has_parent:
            out["parent"] = self.locator
        if self.notes:
            out["notes"] = self.notes
        return out

    def check(self):
        """Everything that is wrong, as sentences: [] is clean."""
        bad, owner = list(self.notes), []
        for i in self.used_entries():
            c, r = divmod(i, self.ratio + 1)
            try:
                if r == self.ratio:
                    what, n = "sector bitmap %d" % c, MIB
                    state, off = self.bitmap(c)
                elif c * self.ratio + r >= self.blocks:
                    bad.append("BAT entry %d is behind the last block, but not empty" % i)
                    continue
                else:
                    what, n = "block %d" % (c * self.ratio + r), self.block
                    state, off = self.payload(c * self.ratio + r)
                    if state == PARTIAL:
                        refuse(self.bitmap(c)[0] != FULL, "%s has no sector bitmap", what)
            except Refused as e:
                bad.append(str(e))
                continue
            if off and state != NOT_PRESENT:
                owner.append((off, off + n, what))
                # QEMU leaves a last block short; only what the disk shows of it has to be there.
                p = self.blocks if r == self.ratio else c * self.ratio + r
                need = min(n, self.size - p * self.block) if p < self.blocks else n
                if state in (FULL, PARTIAL) and off + need > self.file.size:
                    bad.append("%s ends behind the end of the file" % what)
        owner.sort()
        bad += ["%s and %s overlap at %d" % (a[2], b[2], b[0]) for a, b in zip(owner, owner[1:]) if a[1] > b[0]]
        if self.fixed and any(self.entry(p + p // self.ratio) & 7 != FULL for p in range(min(self.blocks, 1 << 16))):
            self.notes.append("a fixed disk whose blocks are not all there")
        return bad
