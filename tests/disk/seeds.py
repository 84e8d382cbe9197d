"""Seeds of the fuzz targets for images (tests/fuzz/disk_image.h): what is not zero in a file's tables, as records; and
some requests. Blocks' data is left out."""

import os
import struct

from source import Source

PIECE, END, PARENT, LONGEST = 512, b"\xff\xff\xff\xff", 1, 60000
# 6 requests, and then others after a change: writes, a flush, reads, zeros; near the beginning and the end.
DOINGS = bytes([7, 1, 0, 0, 0, 0, 8, 1, 0, 8, 0, 0, 3, 2, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 3, 4, 0, 0, 0, 128, 0,
                65, 0, 0, 0, 128, 1, 2, 0, 0, 0, 0, 0, 0, 9, 1, 9, 0, 0, 0, 9])


def records(source, most):
    """Runs of 512-byte pieces that are not zero, trimmed at their ends; no more than `most` bytes."""
    start, run, used = 0, b"", 0
    pieces = [(at, source.read(at, PIECE)) for a, z in source.ranges(0, source.size)
              for at in range(a // PIECE * PIECE, z, PIECE)]
    for at, data in pieces + [(-1, b"")]:
        if run and (at != start + len(run) or not any(data) or len(run) + PIECE > LONGEST):
            body = run.rstrip(b"\0")
            if used + len(body) + 6 > most:
                return
            used += len(body) + 6
            yield struct.pack("<IH", start // PIECE, len(body)) + body
            run = b""
        if any(data):
            start, run = (start, run + data) if run else (at, data)


def pack(paths, most=3000):
    out = bytes([PARENT if len(paths) > 1 else 0])
    for path in paths:
        s = Source(path)
        out += struct.pack("<I", -(-s.size // PIECE)) + b"".join(records(s, most)) + END
        s.close()
    return out + DOINGS


def small_vhd(folder):
    """Images without data: {name: files}."""
    from vhd_make import VhdMaker
    base = VhdMaker("base", 6 << 20)
    child = VhdMaker("child", 6 << 20, kind="differencing", parent=base, parent_path="base.vhd")
    for m, blocks in ((base, (0, 2)), (child, (1, 2))):
        for p in blocks:
            m.place(p)
            m.bits[p][:3] = b"\xff\x0f\x01"
    no_trailer = VhdMaker("short", 6 << 20, block=512 << 10)
    no_trailer.place(3)
    no_trailer.trailer = False
    return save(folder, {"dynamic": [base], "child": [child, base], "no-trailer": [no_trailer],
                         "fixed": [VhdMaker("fixed", 1 << 20, kind="fixed")]}, ".vhd")


def small_vhdx(folder):
    from make import ZERO, UNMAPPED
    from vhdx_make import MIB, VhdxMaker, child_of, log_entry, name_id
    base = VhdxMaker("base", 8 * MIB, block=MIB)
    child = VhdxMaker("child", 8 * MIB, block=MIB, kind="differencing", parent=child_of(base, "base.vhdx"))
    for m, blocks in ((base, (0, 2, 7)), (child, (1, 2))):
        for p in blocks:
            m.place(p, 6 if m is base or p == 1 else 7)
    child.mark(2 * 2048 + 3, 9)
    base.state(3, ZERO)
    base.state(4, UNMAPPED, anchor=True)
    native = VhdxMaker("native", 8 * MIB, block=2 * MIB, lss=4096)
    native.place(1, 6)
    logged = VhdxMaker("log", 8 * MIB, block=MIB)
    logged.place(1, 6)
    logged.log_guid = name_id("log")
    logged.log(0, log_entry(logged.log_guid, 5, 0, [], logged.next, logged.next))
    logged.log(4096, log_entry(logged.log_guid, 6, 0, [(logged.bat_off, logged.bat_page(0)), (logged.next - MIB, 8192)],
                               logged.next, logged.next + 2 * MIB))
    logged.patches.append((logged.bat_off, bytes(4096)))
    return save(folder, {"dynamic": [base], "child": [child, base], "native": [native], "log": [logged],
                         "fixed": [VhdxMaker("fixed", 2 * MIB, block=MIB, kind="fixed")]}, ".vhdx")


def save(folder, made, ending):
    out = {}
    for name, makers in made.items():
        out[name] = [os.path.join(folder, "%s%d%s" % (name, i, ending)) for i in range(len(makers))]
        for path, m in zip(out[name], makers):
            m.save(path)
    return out


def write_all(out, made):
    for name, paths in made.items():
        with open(os.path.join(out, name), "wb") as f:
            f.write(pack(paths))
