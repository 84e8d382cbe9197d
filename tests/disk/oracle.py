#!/usr/bin/env python3
"""An independent reader of VHD and VHDX, for tests: it shares nothing with the C library.

    oracle.py info FILE            its structure, as JSON
    oracle.py sum FILE             size and sum of what a guest reads (content.py says what is summed)
    oracle.py check FILE           what is wrong with it; exit status 1 if anything is
    oracle.py compare FILE FILE    exit status 1 and the first byte that differs
    oracle.py raw FILE RAW         what a guest reads, as a sparse raw file
    oracle.py make DIR [NAME...]   images that no other tool makes (make.py)
    oracle.py hostile DIR [NAME...]  images that mean harm, with what must come of each (hostile.py)
    oracle.py pack FILE... OUT     an image, and its parent, as seed of the fuzz targets (tests/fuzz/disk_image.h)

--parent PATH names the parent of FILE; --format raw|vhd|vhdx what it is. An image that must be refused ends with
status 2 and a sentence.
"""

import argparse
import json
import sys

import content
from source import Refused


def do_info(args):
    image = content.open_image(args.file[0], args.format, args.parent) if args.chain \
        else (content.guess(args.file[0]) if not args.format else
              {"raw": content.Raw, "vhd": content.Vhd, "vhdx": content.Vhdx}[args.format])(args.file[0])
    print(json.dumps(image.info(), indent=1))
    return 0


def do_sum(args):
    image = content.open_image(args.file[0], args.format, args.parent)
    print(image.size, content.checksum(image))
    return 0


def do_check(args):
    bad = content.open_image(args.file[0], args.format, args.parent).check()
    for line in bad:
        print(line)
    return 1 if bad else 0


def do_compare(args):
    a, b = (content.open_image(f) for f in args.file[:2])
    at = content.compare(a, b)
    if at is not None:
        print("they differ at %d" % at)
    elif a.size != b.size:
        print("they have the same content, but %d and %d bytes" % (a.size, b.size))
    return 0 if at is None and a.size == b.size else 1


def do_raw(args):
    image = content.open_image(args.file[0], args.format, args.parent)
    with open(args.file[1], "wb") as out:
        for at, data in content.chunks(image):
            out.seek(at)
            out.write(data[:image.size - at])
        out.truncate(image.size)
    return 0


def do_make(args):
    import make
    for name in make.write_all(args.file[0], args.file[1:]):
        print(name)
    return 0


def do_hostile(args):
    import hostile
    for name, want in hostile.write_all(args.file[0], args.file[1:]):
        print(name, want)
    return 0


def do_pack(args):
    import seeds
    with open(args.file[-1], "wb") as out:
        out.write(seeds.pack(args.file[:-1]))
    return 0


def main():
    p = argparse.ArgumentParser(usage=__doc__)
    p.add_argument("--parent")
    p.add_argument("--format", choices=("raw", "vhd", "vhdx"))
    p.add_argument("--chain", action="store_true", help="info: open the parents too")
    p.add_argument("what", choices=("info", "sum", "check", "compare", "raw", "make", "hostile", "pack"))
    p.add_argument("file", nargs="+")
    args = p.parse_args()
    try:
        return globals()["do_" + args.what](args)
    except Refused as e:
        print("refused: %.300s" % e, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
