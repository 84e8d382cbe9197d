"""Images that no other tool here makes, each with what a guest must read from it: children of both formats, disks
with 4096-byte sectors, every state of a block, and logs as a power cut may leave them."""

import os
import random

import content
from vhd_make import VhdMaker
from vhdx_make import MIB, VhdxMaker, child_of, log_entry, name_id
from vhdx_read import FULL, UNDEFINED, UNMAPPED, ZERO

KIB, GIB = 1 << 10, 1 << 30


class Model:
    """What a disk holds, by sectors of 512 bytes."""

    def __init__(self, size, below=None):
        self.size, self.sectors = size, dict(below.sectors) if below else {}

    def write(self, off, data):
        for i in range(0, len(data), 512):
            self.sectors[(off + i) // 512] = data[i:i + 512]

    def clear(self, off, n):
        for s in range(off // 512, min(off + n, self.size) // 512):
            self.sectors.pop(s, None)

    def digest(self):
        per, chunks = content.CHUNK // 512, {}
        for s, data in self.sectors.items():
            if s * 512 < self.size:
                chunks.setdefault(s // per, {})[s % per] = data
        zero = bytes(512)
        pairs = ((c, b"".join(chunks[c].get(i, zero) for i in range(per))) for c in sorted(chunks))
        return content.digest(self.size, ((c * content.CHUNK, d) for c, d in pairs if any(d)))


def noise(seed, n):
    return random.Random(seed).randbytes(n)


def put(pair, off, data):
    """The same write to the maker and to the model."""
    for one in pair:
        one.write(off, data)


def fill(pair, seed, sector, count=12, longest=64 * KIB):
    r, size = random.Random(seed), pair[1].size
    for i in range(count):
        off = r.randrange(size // sector) * sector
        n = min(r.randrange(1, longest // sector + 1) * sector, size - off)
        put(pair, off, noise(seed * 1000 + i, n))


# --- Each makes its files in a folder and returns the one to open, and the model ---

def vhdx_states(folder):
    m, model = VhdxMaker("states", 64 * MIB), Model(64 * MIB)
    fill((m, model), 1, 512, 6)
    for p, (state, anchor) in enumerate([(ZERO, 0), (UNMAPPED, 0), (UNDEFINED, 0), (UNMAPPED, 1), (UNDEFINED, 1)], 20):
        m.state(p, state, anchor)
        if anchor:
            m.data.append((m.bat[m.index(p)] >> 20 << 20, noise(p, 4096)))  # what nobody may see
        model.clear(p * m.block, m.block)
    return save(folder, "states.vhdx", m), model


def vhdx_fixed(folder):
    m, model = VhdxMaker("fixed", 10 * MIB, block=MIB, kind="fixed"), Model(10 * MIB)
    fill((m, model), 2, 512)
    return save(folder, "fixed.vhdx", m), model


def vhdx_4096(folder):
    m, model = VhdxMaker("native", 40 * GIB + 4096, block=32 * MIB, lss=4096), Model(40 * GIB + 4096)
    fill((m, model), 3, 4096)
    put((m, model), 32 * GIB - 4096, noise(4, 8192))  # across the chunks' border
    put((m, model), 40 * GIB, noise(5, 4096))
    return save(folder, "native.vhdx", m), model


def vhdx_border(folder):
    size = 4 * GIB + 2 * MIB
    m, model = VhdxMaker("border", size), Model(size)
    put((m, model), 4 * GIB - 8192, noise(6, 16384))
    put((m, model), size - 512, noise(7, 512))
    return save(folder, "border.vhdx", m), model


def chain(folder, name, depth, size, lss=512, block=2 * MIB):
    base, model = VhdxMaker(name + "0", size, block, lss), Model(size)
    fill((base, model), depth, lss)
    path = save(folder, name + "0.vhdx", base)
    for i in range(1, depth + 1):
        here = "%s%d.vhdx" % (name, i)
        base = VhdxMaker(name + str(i), size, block, lss, kind="differencing",
                         parent=child_of(base, os.path.basename(path)))
        model = Model(size, model)
        fill((base, model), depth * 10 + i, lss, 6)
        for p, state in ((i, ZERO), (i + 4, UNMAPPED), (i + 8, UNDEFINED)):
            if base.index(p) not in base.bat:
                base.state(p, state, anchor=p % 2 and state != ZERO)
                model.clear(p * block, block)
        whole = i + 12
        if base.index(whole) not in base.bat:  # entirely here: nobody asks the bits
            base.place(whole, FULL)
            model.clear(whole * block, block)
            put((base, model), whole * block + 8192, noise(i, 4096))
        path = save(folder, here, base)
    return path, model


def vhdx_child(folder):
    return chain(folder, "child", 1, 64 * MIB)


def vhdx_chain(folder):
    return chain(folder, "chain", 5, 9 * GIB)


def vhdx_child_4096(folder):
    return chain(folder, "native-child", 2, 33 * GIB, 4096)


def vhdx_larger_child(folder):
    return vhdx_other_size(folder, "larger", 96 * MIB)


def vhdx_smaller_child(folder):
    return vhdx_other_size(folder, "smaller", 33 * MIB)


def vhdx_other_size(folder, name, size):
    base, below = VhdxMaker(name, 64 * MIB), Model(64 * MIB)
    fill((base, below), 8, 512)
    put((base, below), 64 * MIB - 512, noise(9, 512))
    save(folder, name + "-base.vhdx", base)
    m = VhdxMaker(name + "1", size, kind="differencing", parent=child_of(base, name + "-base.vhdx"))
    model = Model(size, below)
    fill((m, model), 10, 512, 4)
    return save(folder, name + ".vhdx", m), model


def vhd_dynamic(folder):
    m, model = VhdMaker("dynamic", 33 * MIB), Model(33 * MIB)
    fill((m, model), 11, 512)
    m.data.append((m.place(15) + m.bitmap_len, noise(12, 4096)))  # bits clear: reads zero
    model.clear(15 * m.block, 4096)
    for s in range(8):
        m.bits[15][0] &= ~(0x80 >> s)
    return save(folder, "dynamic.vhd", m), model


def vhd_fixed(folder):
    m, model = VhdMaker("fixed", 5 * MIB, kind="fixed"), Model(5 * MIB)
    fill((m, model), 13, 512)
    return save(folder, "fixed.vhd", m), model


def vhd_small_blocks(folder):
    m, model = VhdMaker("small", 20 * MIB, block=512 * KIB), Model(20 * MIB)
    fill((m, model), 14, 512)
    return save(folder, "small.vhd", m), model


def vhd_chain(folder):
    return vhd_chain_of(folder, "vhd-chain", 3, 512)


def vhd_chain_of_8(folder):
    """By eight sectors: libvhdi 20210425 reads bits wrongly that are not alike in a byte."""
    return vhd_chain_of(folder, "vhd-eights", 3, 4096)


def vhd_chain_of(folder, name, depth, unit):
    size = 40 * MIB
    base, model = VhdMaker(name + "0", size), Model(size)
    fill((base, model), 15, 512)
    path = save(folder, name + "0.vhd", base)
    for i in range(1, depth + 1):
        base = VhdMaker(name + str(i), size, kind="differencing", parent=base, parent_path=os.path.basename(path))
        model = Model(size, model)
        fill((base, model), 16 + i, unit, 6)
        path = save(folder, "%s%d.vhd" % (name, i), base)
    return path, model


# --- Logs ---

def dirty(name, size=64 * MIB):
    """A file whose tables are empty, and which has a log that will say what they should be."""
    m, model = VhdxMaker(name, size), Model(size)
    fill((m, model), 30 + len(name), 512)
    m.log_guid = name_id(name + "/log")
    m.final, m.bat = m.bat_page(0), {}
    m.patches.append((m.bat_off, bytes(4096)))
    return m, model


def log_one(folder):
    m, model = dirty("log-one")
    m.log(0, log_entry(m.log_guid, 5, 0, [(m.bat_off, m.final)], m.next, m.next))
    return save(folder, "log-one.vhdx", m), model


def log_many(folder):
    """An empty entry first, as Windows does; then older pages, then the last; the tail is the first."""
    m, model = dirty("log-many")
    g, pos = m.log_guid, 4096
    m.log(0, log_entry(g, 1 << 60, 0, [], m.next, m.next))
    for i in range(1, 6):
        old = bytes(4096) if i < 5 else m.final
        m.log(pos, log_entry(g, (1 << 60) + i, 0, [(m.bat_off, old)], m.next, m.next))
        pos += 8192
    return save(folder, "log-many.vhdx", m), model


def log_wrapped(folder):
    """The last entry begins at the ring's end and goes on at its beginning; so does the sequence."""
    m, model = dirty("log-wrapped")
    g, last = m.log_guid, m.log_len - 4096
    m.log(last - 8192, log_entry(g, 90, last - 8192, [(m.bat_off, noise(1, 4096))], m.next, m.next))
    m.log(last, log_entry(g, 91, last - 8192, [(m.bat_off, m.final)], m.next, m.next))
    return save(folder, "log-wrapped.vhdx", m), model


def log_retired(folder):
    """What lies before the tail has been applied long ago, and must not be again."""
    m, model = dirty("log-retired")
    g, first = m.log_guid, m.data[0]
    m.log(0, log_entry(g, 7, 0, [(first[0] // 4096 * 4096, 4096), (m.bat_off, noise(2, 4096))], m.next, m.next))
    m.log(8192, log_entry(g, 8, 8192, [(m.bat_off, m.final)], m.next, m.next))
    return save(folder, "log-retired.vhdx", m), model


def log_zeros(folder):
    """Zero descriptors: on a bitmap page and on blocks' data; more descriptors than one sector holds."""
    m, model = dirty("log-zeros")
    at = m.take(m.block)
    m.data.append((at, noise(3, 1 << 20)))
    m.final = m.final[:31 * 8] + (at | FULL).to_bytes(8, "little") + m.final[32 * 8:]
    model.clear(31 * m.block, m.block)
    model.write(31 * m.block, noise(3, 1 << 20))
    model.clear(31 * m.block + 4096, 200 * 4096)
    zeros = [(at + 4096 * (i + 1), 4096) for i in range(200)]
    m.log(0, log_entry(m.log_guid, 3, 0, zeros + [(m.bat_off, m.final)], m.next, m.next))
    return save(folder, "log-zeros.vhdx", m), model


def log_gap(folder):
    """Numbers 5, 6, 9: what is behind the gap is of another time."""
    m, model = dirty("log-gap")
    g = m.log_guid
    m.log(0, log_entry(g, 5, 0, [], m.next, m.next))
    m.log(4096, log_entry(g, 6, 0, [(m.bat_off, m.final)], m.next, m.next))
    m.log(12288, log_entry(g, 9, 0, [(m.bat_off, noise(4, 4096))], m.next, m.next))
    # 9 alone has its tail elsewhere: it is no sequence of its own
    return save(folder, "log-gap.vhdx", m), model


def log_torn(folder):
    """The newest entry is torn; a stale one of another log lies behind it."""
    m, model = dirty("log-torn")
    g = m.log_guid
    m.log(0, log_entry(g, 5, 0, [(m.bat_off, m.final)], m.next, m.next))
    torn = bytearray(log_entry(g, 6, 0, [(m.bat_off, noise(5, 4096))], m.next, m.next))
    torn[6000] ^= 1
    m.log(8192, bytes(torn))
    m.log(16384, log_entry(name_id("other"), 7, 0, [(m.bat_off, noise(6, 4096))], m.next, m.next))
    return save(folder, "log-torn.vhdx", m), model


def log_extends(folder):
    """LastFileOffset is behind the end: the file was about to grow."""
    m, model = dirty("log-extends")
    at = m.next
    m.final = m.final[:31 * 8] + (at | FULL).to_bytes(8, "little") + m.final[32 * 8:]
    model.clear(31 * m.block, m.block)
    m.log(0, log_entry(m.log_guid, 5, 0, [(m.bat_off, m.final)], at, at + m.block))
    return save(folder, "log-extends.vhdx", m), model


def save(folder, name, maker):
    path = os.path.join(folder, name)
    maker.save(path)
    return path


MAKERS = {f.__name__.replace("_", "-"): f for f in (
    vhdx_states, vhdx_fixed, vhdx_4096, vhdx_border, vhdx_child, vhdx_chain, vhdx_child_4096, vhdx_larger_child,
    vhdx_smaller_child, vhd_dynamic, vhd_fixed, vhd_small_blocks, vhd_chain, vhd_chain_of_8, log_one, log_many,
    log_wrapped, log_retired, log_zeros, log_gap, log_torn, log_extends)}


def write_all(folder, names=()):
    """Makes them; yields lines "name path sum"."""
    os.makedirs(folder, exist_ok=True)
    for name in names or MAKERS:
        path, model = MAKERS[name](folder)
        yield "%s %s %s" % (name, path, model.digest())
