#!/usr/bin/env python3
"""Is the oracle right? It reads what Microsoft's software, QEMU and our own makers wrote; QEMU and libvhdi read
what our makers wrote; hostile images are refused. Ends with "oracle: N passed, N failed, N skipped".

    selftest.py
"""

import bz2
import gzip
import importlib.util
import os
import shutil
import sys
import tempfile

import content
import hostile
import make
import peers
from source import Refused

MIB = 1 << 20
count = {"passed": 0, "failed": 0, "skipped": 0}


def tell(name, good, why=""):
    count["passed" if good else "failed"] += 1
    if not good:
        print("FAIL %s: %s" % (name, why))


def skip(name, why):
    count["skipped"] += 1
    print("SKIP oracle %s: %s" % (name, why))


# --- Other people's images: facts that hold of each ---

def log_replay(image):
    r = image.log
    return (image.states() == {"0": 28, "2": 3, "6": 1} and r["positions"] == [20480, 28672]
            and content.read(image, 510, 2) == b"\x55\xaa" and image.size == 1 << 30)


def chs(image):
    return image.size == 136365211648 and image.geometry == [65278, 16, 255]


def differential(image):
    bits = sum(bin(b).count("1") for p in range(image.blocks) if image.place(p) for b in image.bits(p))
    return (bits == 18 and image.bat_off == 8192 and image.locator["W2ru"] == ".\\fat-parent.vhd"
            and image.place(0) == 159 * 512)


FACTS = {
    "vhdx-log-replay.vhdx.gz": log_replay,
    "swap.vhdx.gz": lambda i: i.size == 10 << 30 and i.states() == {"0": 318, "2": 1, "6": 1}
    and content.read(i, MIB, 64 * 1024).find(b"SWAPSPACE2") > 0 or b"SWAPSPACE2" in b"".join(
        d for _, d in content.chunks(i)),
    "xfs.vhdx.gz": lambda i: i.size == 10 << 30 and i.states()["6"] == 20
    and b"XFSB" in b"".join(d[:4] for _, d in content.chunks(i)),
    "iotest-dynamic-1G.vhdx.bz2": lambda i: i.states() == {"2": 29, "6": 3} and i.block == 32 * MIB,
    "test-disk2vhd.vhdx.bz2": lambda i: i.states() == {"6": 128} and i.creator == "d2v",
    "iotest-dirtylog-10G-4M.vhdx.bz2": lambda i: i.states()["6"] == 18 and i.log["positions"] == [49152]
    and i.log["first"] == 7 and {d for _, c in content.chunks(i) for d in set(c)} <= {0, 0xA5},
    "hyperv2012r2-dynamic.vhd.bz2": chs,
    "virtualpc-dynamic.vhd.bz2": chs,
    "d2v-zerofilled.vhd.bz2": lambda i: i.size == 263454720 and i.geometry == [65535, 16, 255],
    "fat-differential.vhd.gz": differential,
}


def unpack(path, folder):
    out = os.path.join(folder, os.path.basename(path).rsplit(".", 1)[0])
    with (gzip.open if path.endswith(".gz") else bz2.open)(path) as f, open(out, "wb") as o:
        while True:
            b = f.read(MIB)
            if not b:
                break
            if b.count(0) == len(b):
                o.seek(len(b), 1)
            else:
                o.write(b)
        o.truncate()
    return out


def samples(folder, where):
    for name, fact in FACTS.items():
        path = os.path.join(where, name)
        if not os.path.exists(path):
            skip(name, "no sample images (FREEHOLD_SAMPLES)")
            continue
        image_path = unpack(path, folder)
        image = content.guess(image_path)(image_path)
        bad = image.check()
        tell(name, fact(image) and not bad, bad or image.info())
        if not image.has_parent and (image.format == "VHD" or image.log is None):
            same_as_peers(name, image, (image_path,), sectors="d2v" in name or image.format == "VHDX")
        elif image.format == "VHDX":
            repaired_by_qemu(name, image, image_path)
        image.file.close()
        os.unlink(image_path)


def repaired_by_qemu(name, image, path):
    """A dirty log: what QEMU makes of it is what the oracle reads through it."""
    if not shutil.which("qemu-img"):
        skip(name + " replayed", "qemu-utils is not installed")
        return
    peers.run("qemu-img", "check", "-r", "all", "-f", "vhdx", path)
    tell(name + " replayed", content.checksum(content.open_image(path)) == content.checksum(image), "QEMU differs")


def same_as_peers(name, image, paths, sectors=True):
    """sectors: QEMU agrees on the disk's size."""
    offsets = peers.probes(image.size, [a for a, _ in content.chunks(image)])
    want = content.checksum(image)
    readers = [("libvhdi", lambda: peers.Libvhdi(*paths))] if importlib.util.find_spec("pyvhdi") else []
    if not image.has_parent and image.lss == 512 and sectors and shutil.which("qemu-nbd"):
        readers.append(("qemu", lambda: peers.Qemu(paths[0], image.format.lower())))
    for who, start in readers:
        reader = start()
        tell("%s: %s" % (name, who), peers.digest(reader, offsets) == want, "reads something else")
        reader.close()


# --- Our own ---

# What libvhdi 20210425 reads wrongly: it takes clear bits beside a set one for set, and asks the parent where a
# child's block is ZERO; parents of another length it reads to their own end. It replays no log, nor does QEMU when it
# only reads.
NOT_FOR_PEERS = ("vhd-dynamic", "vhd-chain", "vhd-small-blocks", "vhdx-child", "vhdx-larger-child",
                 "vhdx-smaller-child")


def family(image):
    out = []
    while image:
        out.append(image.file.path)
        image = image.parent
    return out


def made(folder):
    for name in make.MAKERS:
        path, model = make.MAKERS[name](folder)
        image = content.open_image(path)
        bad = image.check()
        tell(name, not bad and content.checksum(image) == model.digest(), bad or "reads something else")
        logged = image.format == "VHDX" and image.log
        if not logged and name not in NOT_FOR_PEERS:
            same_as_peers(name, image, family(image), image.format == "VHDX" and name != "vhdx-states")


def by_qemu(folder):
    for kind, options in (("vhdx", "subformat=dynamic,block_size=1M"), ("vhdx", "subformat=fixed"),
                          ("vhdx", "subformat=fixed,block_state_zero=off"), ("vhd", "subformat=dynamic,force_size=on"),
                          ("vhd", "subformat=fixed,force_size=on"), ("vhd", "subformat=dynamic")):
        path = os.path.join(folder, "qemu." + kind)
        peers.run("qemu-img", "create", "-q", "-f", "vpc" if kind == "vhd" else kind, "-o", options, path, "20M")
        disk = peers.Qemu(path, kind, write=True)
        model = make.Model(disk.size)
        for i in range(20):
            # by blocks of 64 KiB: QEMU does not set the bits of a VHD one by one
            off, data = i * 1000 * 1024 // 512 * 512, make.noise(i, 4096)
            disk.write(off, data)
            model.write(off, data)
        disk.close()
        image = content.open_image(path, kind)
        tell("qemu %s %s" % (kind, options), content.checksum(image) == model.digest() and not image.check(),
             "reads something else; %s" % image.check())
        os.unlink(path)


def judge(path):
    """What the oracle thinks of an image: refuse, damage or accept."""
    try:
        image = content.open_image(path)
    except Refused:
        return {"refuse"}
    bad = image.check()
    try:
        good = content.checksum(image) == hostile.good_sum(path)
    except Refused:
        good = False
    return {"damage"} if bad and not good else {"damage", "accept"} if bad else {"accept"} if good else set()


def hostiles(folder):
    for path, want in hostile.write_all(folder):
        tell("hostile " + os.path.basename(path), want in judge(path), "wanted: " + want)


def sample_folder():
    here = os.path.dirname(os.path.abspath(__file__))
    return os.environ.get("FREEHOLD_SAMPLES", os.path.join(here, "../../../shared/samples"))


def others(folder):
    samples(folder, sample_folder())


PARTS = (made, by_qemu, hostiles, others) if shutil.which("qemu-nbd") else (made, hostiles, others)


def main():
    if not importlib.util.find_spec("pyvhdi"):
        skip("libvhdi", "python3-libvhdi is not installed")
    for part in PARTS:
        folder = tempfile.mkdtemp(prefix="fh-oracle.")
        try:
            part(folder)
        finally:
            shutil.rmtree(folder)
    print("oracle: %(passed)d passed, %(failed)d failed, %(skipped)d skipped" % count)
    return 1 if count["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
