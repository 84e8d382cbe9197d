#!/usr/bin/env python3
"""States of disks after a power cut, as the crash targets leave them (disk_rig.h): each chain is opened and checked by the
oracle, and reads as the C library has read it. Prints what is wrong; exit status 1.

    states.py FOLDER    with N.top, its parents N.parent1, ..., in their order, and N.raw, what was read
"""

import glob
import os
import shutil
import sys

import content
import peers
from source import Refused
from vhdx_log import Ring

count = {"qemu": 0}


def open_chain(paths):
    """Files whose names no locator tells."""
    image = content.guess(paths[0])(paths[0])
    if len(paths) > 1:
        image.parent = open_chain(paths[1:])
        content.fits(image, image.parent)
    return image


def wrong(top):
    name = top[:-len(".top")]
    image = open_chain([top] + sorted(glob.glob(name + ".parent*")))
    bad = [b for b in image.check() if "damaged" not in b and "differ" not in b and "behind the end" not in b]
    if bad:
        return bad[0]
    at = content.compare(image, content.Raw(name + ".raw"))
    if at is not None:
        return "it reads otherwise at %d" % at
    return qemu_reads(image, top) if for_qemu(image) else ""


def for_qemu(image):
    """QEMU can read it: no parent, 512-byte sectors; of a log there is one entry alone (it does not know where a
    sequence begins and ends), of a VHD the footer."""
    if not shutil.which("qemu-nbd") or image.has_parent or image.lss != 512 or image.notes:
        return False
    if image.format != "VHDX" or not image.log:
        return True
    ring = Ring(image.file.base, image.log_off, image.log_len, image.log_guid)
    return sum(ring.entry(pos) is not None for pos in range(0, image.log_len, 4096)) == 1


def qemu_reads(image, top):
    count["qemu"] += 1
    kind = image.format.lower()
    if kind == "vhdx":
        peers.run("qemu-img", "check", "-q", "-r", "all", "-f", "vhdx", top)
    disk = peers.Qemu(top, kind)
    offsets = peers.probes(image.size, [a for a, _ in content.chunks(image)])
    same = disk.size == image.size and peers.digest(disk, offsets) == content.checksum(image)
    disk.close()
    return "" if same else "QEMU reads otherwise"


def main():
    tops, failed = sorted(glob.glob(os.path.join(sys.argv[1], "*.top"))), 0
    for top in tops:
        try:
            why = wrong(top)
        except (Refused, RuntimeError) as e:
            why = "refused: %s" % e
        if why:
            failed += 1
            print("%s: %s" % (top, why))
    print("%d states read by the oracle, %d by QEMU, %d otherwise" % (len(tops), count["qemu"], failed))
    return 1 if failed or not tops else 0


if __name__ == "__main__":
    sys.exit(main())
