#!/usr/bin/env python3
"""What fh-disk writes is read by others, and what others write by fh-disk. Ends with "interop: N passed, N failed,
N skipped".

    FH_DISK=build/bin/fh-disk interop.py [ROW...]
"""

import importlib.util
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback

import content
import fh
import hostile
import make
import peers
import selftest
from fh import GIB, KIB, MIB, TIB, Filling
from source import Refused

SIZES = {"1M": MIB, "10M+512": 10 * MIB + 512, "1G": GIB, "4G+": 4 * GIB + 32 * MIB, "130G": 130 * GIB}
LARGEST = {"vhd": ("2040G", 2040 * GIB), "vhdx": ("64T", 64 * TIB)}
BLOCKS = (1, 2, 8, 16, 32, 64, 256)
count = {"passed": 0, "failed": 0, "skipped": 0}
ROWS = {}
HAVE_LIBVHDI = importlib.util.find_spec("pyvhdi") is not None
HAVE_QEMU = shutil.which("qemu-img") and shutil.which("qemu-nbd")


def row(f):
    ROWS[f.__name__.replace("_", "-")] = f
    return f


def skip(name, why):
    count["skipped"] += 1
    print("SKIP interop %s: %s" % (name, why), flush=True)


def tell(name, *wrong):
    """wrong: what is, or empty strings."""
    wrong = [w for w in wrong if w]
    count["failed" if wrong else "passed"] += 1
    if wrong:
        print("FAIL %s: %s" % (name, "; ".join(wrong)), flush=True)


def attempt(name, f, *args):
    """One cell: f tells what is wrong."""
    try:
        tell(name, *f(*args))
    except (RuntimeError, Refused, OSError, subprocess.TimeoutExpired) as e:
        tell(name, str(e))


def remove(*paths):
    for path in paths:
        if os.path.exists(path):
            os.unlink(path)


def sizes(kind):
    return dict(SIZES, **dict([LARGEST[kind]]))


def same(reader, filling):
    """A peer's reading of it."""
    try:
        if reader.size != filling.size:
            return "it says %d bytes, not %d" % (reader.size, filling.size)
        got = peers.digest(reader, peers.probes(filling.size, filling.chunks()))
        return "" if got == filling.model.digest() else "it reads something else"
    finally:
        reader.close()


def qemu_reads(path, kind, filling):
    why = same(peers.Qemu(path, kind), filling)
    return why and "qemu: " + why


def libvhdi_reads(paths, filling):
    if not HAVE_LIBVHDI:
        return ""
    why = same(peers.Libvhdi(*paths), filling)
    return why and "libvhdi: " + why


@row
def oracle(folder):
    """First of all: is the independent reader right?"""
    for part in selftest.PARTS:
        where = os.path.join(folder, part.__name__)
        os.makedirs(where)
        part(where)
    for k, n in selftest.count.items():
        count[k] += n


# --- 1 to 3: QEMU writes ---

def from_qemu(folder, kind, options, size, unit):
    path = os.path.join(folder, "q." + kind)
    remove(path)
    driver = "vpc" if kind == "vhd" else kind
    peers.run("qemu-img", "create", "-q", "-f", driver, "-o", options, path, str(size))
    disk = peers.Qemu(path, kind, write=True)
    filling = Filling(disk.size)
    filling.by(disk, filling.places(unit))
    disk.close()
    short = "fixed,block_state_zero=off" in options  # QEMU leaves out what is behind the disk's end
    wrong = [fh.reads(path, filling), fh.clean(path, repair=short), fh.oracle_reads(path, filling)]
    if not any(wrong):
        filling.by_us(path, filling.places(unit)[::2], "flush")
        wrong = [w and "after writes: " + w for w in (fh.reads(path, filling), fh.clean(path),
                                                      qemu_reads(path, kind, filling))]
    remove(path)
    return wrong


@row
def qemu_vhdx(folder):
    for i, block in enumerate(BLOCKS):
        for state in ("on", "off"):
            options = "subformat=dynamic,block_size=%dM,block_state_zero=%s" % (block, state)
            size = [GIB, block * MIB - 512, 4 * GIB + block * MIB][i % 3]
            attempt("qemu-vhdx %s %d" % (options, size), from_qemu, folder, "vhdx", options, size, block * MIB)
    for name, size in sizes("vhdx").items():
        attempt("qemu-vhdx " + name, from_qemu, folder, "vhdx", "subformat=dynamic", size, 16 * MIB)


@row
def qemu_vhdx_fixed(folder):
    for options in ("subformat=fixed", "subformat=fixed,block_state_zero=off"):
        for size in (MIB, 10 * MIB + 512, 64 * MIB):
            attempt("qemu-vhdx-fixed %s %d" % (options, size), from_qemu, folder, "vhdx", options, size, 8 * MIB)


@row
def qemu_vhd(folder):
    for options in ("subformat=dynamic,force_size=on", "subformat=dynamic", "subformat=fixed,force_size=on",
                    "subformat=fixed"):
        for name, size in sizes("vhd").items():
            if "fixed" not in options or size <= GIB:
                attempt("qemu-vhd %s %s" % (options, name), from_qemu, folder, "vhd", options, size, 2 * MIB)


# --- 4 and 5: we write, QEMU reads, writes, and we read again ---

def to_qemu(folder, kind, options, size, unit):
    path = os.path.join(folder, "w." + kind)
    remove(path)
    fh.call("create", "-t", kind, *options, path, size)
    filling = Filling(size)
    filling.by_us(path, filling.places(unit), "flush")
    wrong = [fh.oracle_reads(path, filling), fh.clean(path), qemu_reads(path, kind, filling)]
    if kind == "vhdx":
        peers.run("qemu-img", "check", "-q", "-f", "vhdx", path)
    if not any(wrong):
        disk = peers.Qemu(path, kind, write=True)
        # QEMU's bits of a VHD are of a whole block: what it writes beside what we wrote is zero in the file
        filling.by(disk, filling.places(unit)[1::2])
        disk.close()
        wrong = [w and "after QEMU's writes: " + w for w in (fh.reads(path, filling), fh.clean(path),
                                                             fh.oracle_reads(path, filling))]
    remove(path)
    return wrong


@row
def to_qemu_vhdx(folder):
    for block in BLOCKS:
        for size in (GIB, block * MIB - 512, 4 * GIB + block * MIB):
            attempt("to-qemu-vhdx block %dM %d" % (block, size), to_qemu, folder, "vhdx",
                    ("--block-size", block * MIB), size, block * MIB)
    for name, size in sizes("vhdx").items():
        attempt("to-qemu-vhdx " + name, to_qemu, folder, "vhdx", (), size, 32 * MIB)
    for size in (MIB, 10 * MIB + 512, 64 * MIB):
        attempt("to-qemu-vhdx fixed %d" % size, to_qemu, folder, "vhdx", ("--type", "fixed"), size, 32 * MIB)


@row
def to_qemu_vhd(folder):
    for name, size in sizes("vhd").items():
        attempt("to-qemu-vhd " + name, to_qemu, folder, "vhd", (), size, 2 * MIB)
        if size <= GIB:
            attempt("to-qemu-vhd fixed " + name, to_qemu, folder, "vhd", ("--type", "fixed", "--sparse"), size, 2 * MIB)


# --- 6 and 12: libvhdi reads ---

def chain_to_libvhdi(folder, kind, options, size, unit, depth, sector):
    paths, filling, wrong = [], None, []
    for level in range(depth + 1):
        path = os.path.join(folder, "l%d.%s" % (level, kind))
        remove(path)
        if level:
            fh.call("create", "-t", kind, "--parent", paths[0], path)
        else:
            fh.call("create", "-t", kind, *options, path, size)
        filling = Filling(size, filling)
        # by eight sectors, for libvhdi's sake
        places = [(a // 4096 * 4096, -(-n // 4096) * 4096) for a, n in filling.places(unit, sector)]
        places = [(a + level * 8192, n) for a, n in places]
        filling.by_us(path, [(a, n) for a, n in places if a + n <= size], "flush")
        paths.insert(0, path)
        wrong += [fh.reads(path, filling), fh.clean(path), fh.oracle_reads(path, filling),
                  libvhdi_reads(paths, filling)]
    remove(*paths)
    return wrong


@row
def libvhdi(folder):
    if not HAVE_LIBVHDI:
        skip("libvhdi", "python3-libvhdi is not installed")
    for kind in ("vhd", "vhdx"):
        for name, size in {"10M": 10 * MIB, "4G+": 4 * GIB + 32 * MIB, "130G": 130 * GIB}.items():
            attempt("libvhdi %s %s, 5 children" % (kind, name), chain_to_libvhdi, folder, kind, (), size, 2 * MIB, 5, 512)
        attempt("libvhdi %s fixed, a child" % kind, chain_to_libvhdi, folder, kind, ("--type", "fixed", "--sparse"),
                16 * MIB, 2 * MIB, 1, 512)


@row
def native(folder):
    for name, size in (("small", 64 * MIB), ("two chunks", 33 * GIB)):
        attempt("4096-byte sectors, %s" % name, chain_to_libvhdi, folder, "vhdx", ("--sector", 4096), size, 32 * MIB, 2,
                4096)
    path = os.path.join(folder, "n.vhdx")
    fh.call("create", "-t", "vhdx", "--sector", "4096", path, "1G")
    p = subprocess.run(["qemu-img", "info", "-f", "vhdx", path], capture_output=True, text=True, check=False)
    tell("qemu refuses 4096-byte sectors", p.returncode != 1 and "status %d" % p.returncode)


# --- 7 to 9: logs ---

def outside(path, skip_from, skip_to):
    """A file's bytes but for the headers and the log, as a sum."""
    s = content.Source(path)
    pairs = [(at, s.read(at, 64 * KIB)) for a, z in s.ranges(192 * KIB, s.size)
             for at in range(a // (64 * KIB) * 64 * KIB, z, 64 * KIB) if not skip_from <= at < skip_to]
    s.close()
    return content.digest(0, [p for p in pairs if any(p[1])])


def dirty_qemu(folder):
    path, copy = os.path.join(folder, "d.vhdx"), os.path.join(folder, "c.vhdx")
    for i in range(40):  # until it is stopped at a bad moment
        remove(path)
        peers.run("qemu-img", "create", "-q", "-f", "vhdx", "-o", "block_size=1M", path, "64G")
        p = subprocess.Popen(["qemu-img", "bench", "-f", "vhdx", "-w", "-t", "writeback", "-c", "100000", "-d", "1", "-s",
                              "4096", "-S", "2097152", "--pattern", "165", path], stdout=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL)
        time.sleep(0.05 + i * 0.01)
        p.send_signal(signal.SIGKILL)
        p.wait()
        code, text = fh.status("info", "--json", path)
        if code == 0 and json.loads(text)["dirty"]:
            break  # with LogGuid set and no entry the specification calls it damaged
    else:
        raise RuntimeError("QEMU never left a dirty log")
    shutil.copyfile(path, copy)
    peers.run("qemu-img", "check", "-q", "-r", "all", "-f", "vhdx", copy)
    want = content.checksum(content.open_image(copy))
    wrong = ["" if content.checksum(content.open_image(path)) == want else "the oracle replays otherwise"]
    fh.call("convert", "-t", "raw", "--sparse", path, path + ".raw")
    wrong.append("" if content.checksum(content.Raw(path + ".raw")) == want else "read-only replay differs")
    fh.call("check", "--repair", path)
    wrong.append("" if outside(path, MIB, 2 * MIB) == outside(copy, MIB, 2 * MIB) else "the replayed file differs")
    wrong.append("it is still dirty" if fh.info(path)["dirty"] else "")
    remove(path, copy, path + ".raw")
    return wrong


def crashed(folder, flushes):
    """Our own log after a crash: read by the oracle and by us; one entry alone by QEMU, too."""
    path = os.path.join(folder, "x.vhdx")
    remove(path)
    fh.call("create", "-t", "vhdx", "--block-size", "1M", path, "1G")
    filling = Filling(GIB)
    steps = []
    for i in range(flushes):
        steps += ["write %d %d %s" % (off, len(d), p.hex()) for off, d, p in filling.writes([(i * 3 * MIB % GIB, 8 * KIB)])]
        steps.append("flush")
    fh.io(path, *steps, "crash")
    wrong = ["" if fh.info(path)["dirty"] else "it is not dirty", fh.oracle_reads(path, filling),
             fh.reads(path, filling)]
    if flushes == 1 and HAVE_QEMU:
        copy = path + ".q"
        shutil.copyfile(path, copy)
        peers.run("qemu-img", "check", "-q", "-r", "all", "-f", "vhdx", copy)
        wrong += [fh.oracle_reads(copy, filling), qemu_reads(copy, "vhdx", filling)]
        remove(copy)
    filling.by_us(path, [(500 * MIB, 4 * KIB)], "flush")
    wrong += [fh.reads(path, filling), fh.clean(path), "it is still dirty" if fh.info(path)["dirty"] else ""]
    remove(path)
    return wrong


@row
def logs(folder):
    if HAVE_QEMU:
        attempt("logs: QEMU's, after a kill", dirty_qemu, folder)
    for flushes in (1, 2, 3, 17, 200, 700):
        attempt("logs: ours after %d flushes" % flushes, crashed, folder, flushes)


# --- 10: other people's images; and those that only the oracle makes ---

def sample(folder, archive, name):
    path = selftest.unpack(archive, folder)
    image = content.guess(path)(path)
    said = fh.info(path)
    wrong = ["" if said["size"] == image.size else "info says %d bytes" % said["size"], ""]
    if image.has_parent:
        wrong.append("" if said["type"] == "differencing" else "info says " + said["type"])
    else:
        fh.call("convert", "-t", "raw", "--sparse", path, path + ".raw")
        want = content.checksum(image)
        wrong += ["" if content.checksum(content.Raw(path + ".raw")) == want else "it is read otherwise"]
        if image.format == "VHDX" and image.log:
            fh.call("check", "--repair", path)
        wrong.append(fh.clean(path))
    remove(path, path + ".raw")
    return wrong


@row
def samples(folder):
    for name in selftest.FACTS:
        archive = os.path.join(selftest.sample_folder(), name)
        if os.path.exists(archive):
            attempt("sample " + name, sample, folder, archive, name)
        else:
            skip(name, "no sample images (FREEHOLD_SAMPLES)")


def made_one(folder, name):
    path, model = make.MAKERS[name](folder)
    filling = Filling(model.size)
    filling.model = model
    wrong = [fh.reads(path, filling), fh.clean(path) if not name.startswith("log") else ""]
    if name.startswith("log"):
        fh.call("check", "--repair", path)
        wrong += [fh.reads(path, filling), fh.oracle_reads(path, filling), fh.clean(path)]
    filling.by_us(path, [(8 * KIB, 4 * KIB)], "flush")
    wrong += [w and "after a write: " + w for w in (fh.reads(path, filling), fh.oracle_reads(path, filling),
                                                    fh.clean(path))]
    return wrong


@row
def made(folder):
    for name in make.MAKERS:
        attempt("made " + name, made_one, folder, name)


# --- 11: other formats ---

def imported(folder, kind, to):
    raw, other, ours = (os.path.join(folder, n) for n in ("r.raw", "o." + kind, "i." + to))
    remove(raw, other, ours)
    filling = Filling(GIB)
    with open(raw, "wb") as f:
        for off, data, _ in filling.writes(filling.places(2 * MIB)):
            f.seek(off)
            f.write(data)
        f.truncate(GIB)
    peers.run("qemu-img", "convert", "-f", "raw", "-O", kind, raw, other)
    fh.call("import", "-f", kind, "-t", to, other, ours)
    wrong = [fh.reads(ours, filling), fh.clean(ours), fh.oracle_reads(ours, filling)]
    if os.stat(ours).st_blocks * 512 > 600 * MIB:
        wrong.append("holes were filled: %d bytes" % (os.stat(ours).st_blocks * 512))
    remove(raw, other, ours)
    return wrong


@row
def imports(folder):
    for kind in ("vmdk", "qcow2", "vdi"):
        for to in ("vhdx", "vhd"):
            attempt("import %s to %s" % (kind, to), imported, folder, kind, to)


def converted(folder, kind, options, to, to_options):
    a, b = os.path.join(folder, "a." + kind), os.path.join(folder, "b." + to)
    remove(a, b)
    fh.call("create", "-t", kind, *options, a, "600M")
    filling = Filling(600 * MIB)
    filling.by_us(a, filling.places(2 * MIB), "flush")
    fh.call("convert", "-t", to, *to_options, a, b)
    wrong = [fh.reads(b, filling), "" if to == "raw" else fh.clean(b), fh.oracle_reads(b, filling)]
    if os.stat(b).st_blocks * 512 > 500 * MIB:
        wrong.append("holes were filled")
    remove(a, b)
    return wrong


@row
def conversions(folder):
    kinds = [("raw", ("--sparse",)), ("vhd", ()), ("vhd", ("--type", "fixed", "--sparse")), ("vhdx", ()),
             ("vhdx", ("--type", "fixed", "--sparse")), ("vhdx", ("--block-size", "1M"))]
    for kind, options in kinds:
        for to, to_options in kinds:
            attempt("convert %s %s to %s %s" % (kind, options, to, to_options), converted, folder, kind, options, to,
                    to_options)


# --- 13: hostile images ---

def before(path):
    with open(path, "rb") as f:
        return f.read()


def hostile_one(path, want):
    was = before(path)
    check, text = fh.status("check", path)
    convert, why = fh.status("convert", "-t", "raw", "--sparse", "--force", path, path + ".raw")
    wrong = []
    for code, said in ((check, text), (convert, why)):
        if code not in (0, 1, 3) or (code and not said):
            wrong.append("status %d: %s" % (code, said[-200:]))
    if want == "refuse":
        wrong.append("" if convert == 1 else "it is read")
        # a check of an image does not look for its parents
        parents = os.path.basename(path).startswith(("chain", "locator"))
        wrong.append("" if check in (1, 3) or parents else "check finds nothing")
    elif want == "damage":
        name = os.path.basename(path).rsplit(".", 1)[0]
        wrong.append("" if check in (1, 3) else "check finds nothing: %s" % text)
        wrong.append("" if convert == 1 or name in hostile.ONLY_CHECK else "it is read")
    else:
        wrong.append("" if convert == 0 else "it is refused: " + why[-200:])
        if convert == 0 and content.checksum(content.Raw(path + ".raw")) != hostile.good_sum(path):
            wrong.append("it is read otherwise")
    wrong.append("" if before(path) == was else "it was written")
    remove(path + ".raw")
    return wrong


@row
def hostiles(folder):
    for path, want in hostile.write_all(folder):
        attempt("hostile %s (%s)" % (os.path.basename(path), want), hostile_one, path, want)


# --- 14 and 15: chains, and what changes images ---

def chain(folder, kind, depth, size):
    paths, fillings = [], []
    for level in range(depth):
        path = os.path.join(folder, "k%d.%s" % (level, kind))
        remove(path)
        if level:
            fh.call("create", "-t", kind, "--parent", paths[-1], path)
        else:
            fh.call("create", "-t", kind, path, size)
        fillings.append(Filling(size, fillings[-1] if fillings else None))
        fillings[-1].by_us(path, [(a + level * 4096, n) for a, n in fillings[-1].places(2 * MIB)
                                  if a + n + level * 4096 <= size], "flush")
        paths.append(path)
    return paths, fillings


def merged(folder, kind):
    paths, fillings = chain(folder, kind, 4, 200 * MIB)
    fh.call("merge", "--delete", paths[3])
    wrong = ["the child is still there" if os.path.exists(paths[3]) else "",
             fh.reads(paths[2], fillings[3]), fh.clean(paths[2]), fh.oracle_reads(paths[2], fillings[3])]
    fh.call("merge", "--levels", "all", paths[2])
    wrong += [fh.reads(paths[0], fillings[3]), fh.clean(paths[0]), fh.oracle_reads(paths[0], fillings[3])]
    remove(*paths)
    return wrong


def moved(folder, kind):
    """A parent that was moved, changed, is of another family."""
    paths, fillings = chain(folder, kind, 3, 64 * MIB)
    other = os.path.join(folder, "elsewhere")
    os.makedirs(other, exist_ok=True)
    os.rename(paths[0], os.path.join(other, "base." + kind))
    wrong = ["" if fh.status("check", paths[2])[0] in (0, 1) and fh.status("read", paths[2], 0, 512)[0] == 1
             else "it is read without its parent"]
    fh.call("relink", "--parent", os.path.join(other, "base." + kind), paths[1])
    wrong += [fh.reads(paths[2], fillings[2]), fh.oracle_reads(paths[2], fillings[2])]
    if kind == "vhdx":  # a VHD's identity does not follow its content
        fh.io(paths[1], "write 0 512 77")
        code, text = fh.status("read", paths[2], 0, 512)
        wrong.append("" if code == 1 and "parent" in text else "a parent that was changed is taken: %s" % text[-200:])
    remove(*paths)
    shutil.rmtree(other)
    return wrong


def resized(folder, kind, options):
    path = os.path.join(folder, "z." + kind)
    remove(path)
    fh.call("create", "-t", kind, *options, path, "200M")
    filling = Filling(200 * MIB)
    filling.by_us(path, filling.places(2 * MIB), "flush")
    larger = 5 * GIB if not options else 300 * MIB
    wrong = []
    for size in (larger, 200 * MIB):
        fh.call("resize", path, size)
        filling.size = filling.model.size = size
        wrong += [fh.reads(path, filling), fh.clean(path), fh.oracle_reads(path, filling)]
    wrong.append("" if fh.status("resize", path, MIB)[0] == 1 else "data was cut off")
    wrong.append(fh.reads(path, filling))
    remove(path)
    return wrong


def compacted(folder, kind):
    path = os.path.join(folder, "m." + kind)
    remove(path)
    fh.call("create", "-t", kind, path, "600M")
    filling = Filling(600 * MIB)
    filling.by_us(path, [(i * 20 * MIB, 64 * KIB) for i in range(30)], "flush")
    for i in range(0, 30, 3):
        filling.model.clear(i * 20 * MIB, 20 * MIB)
    unmaps = ["unmap %d %d" % (i * 20 * MIB, 20 * MIB) for i in range(0, 30, 3)]
    fh.io(path, *unmaps, "flush")
    wrong, was = [fh.reads(path, filling)], os.stat(path).st_size
    fh.call("compact", path)
    wrong += [fh.reads(path, filling), fh.clean(path), fh.oracle_reads(path, filling)]
    if os.stat(path).st_size >= was:
        wrong.append("compact made %d bytes of %d" % (os.stat(path).st_size, was))
    remove(path)
    return wrong


@row
def changes(folder):
    for kind in ("vhd", "vhdx"):
        attempt("merge " + kind, merged, folder, kind)
        attempt("parents " + kind, moved, folder, kind)
        attempt("resize " + kind, resized, folder, kind, ())
        attempt("resize fixed " + kind, resized, folder, kind, ("--type", "fixed", "--sparse"))
        attempt("compact " + kind, compacted, folder, kind)


NEED_QEMU = ("qemu-vhdx", "qemu-vhdx-fixed", "qemu-vhd", "to-qemu-vhdx", "to-qemu-vhd", "imports")


def run_row(name):
    """What came of it; the rest it has printed."""
    count.update(passed=0, failed=0, skipped=0)
    if name in NEED_QEMU and not HAVE_QEMU:
        skip(name, "qemu-utils is not installed")
        return count
    folder, began = tempfile.mkdtemp(prefix="fh-interop."), time.monotonic()
    try:
        ROWS[name](folder)
    except Exception:  # a row that cannot go on is one failure, and the others go on
        traceback.print_exc(file=sys.stdout)
        tell(name, "it broke off")
    finally:
        shutil.rmtree(folder)
    print("%-16s %4d passed, %d failed, %3.0f s" % (name, count["passed"], count["failed"], time.monotonic() - began),
          flush=True)
    return count


def main():
    names = sys.argv[1:] or list(ROWS)
    unknown = [n for n in names if n not in ROWS]
    if unknown:
        sys.exit("interop: no row %s; there are %s" % (", ".join(unknown), ", ".join(ROWS)))
    total = {"passed": 0, "failed": 0, "skipped": 0}
    with multiprocessing.Pool(2, maxtasksperchild=1) as pool:
        for got in pool.imap_unordered(run_row, names):
            for k in total:
                total[k] += got[k]
    print("interop: %(passed)d passed, %(failed)d failed, %(skipped)d skipped" % total)
    return 1 if total["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
