"""Images that mean harm, by name. What must come of each:

    refuse   it cannot be opened, and the message says why
    damage   a check finds it, and reading the whole disk fails; opening may succeed, for tables are read when needed
    accept   it reads as if nothing were wrong (its checksum is that of the good image it was made from)

In no case is the file written, and no case costs more than a little memory and time.
"""

import os
import struct

from make import noise
from vhd_make import VhdMaker
from vhdx_make import MIB, VhdxMaker, child_of, locator, log_entry, name_id, sealed
from vhdx_read import (BAT, DISK_SIZE, FILE_PARAMETERS, FULL, INCOMPLETE, KIB, LOCATOR, LOGICAL,
                       PARTIAL, PHYSICAL)

TIB = 1 << 40
CASES = {}


def case(want, kind="vhdx"):
    def add(f):
        CASES[f.__name__.replace("_", "-")] = (want, kind, f)
        return f
    return add


def table(want, cases, kind="vhdx"):
    """Cases that are one change of the good image: {name: change of the maker}."""
    for name, change in cases.items():
        CASES[name] = (want, kind, change)


def good_vhdx():
    m = VhdxMaker("hostile", 64 * MIB)
    m.write(3 * MIB, noise(1, 8192))
    m.write(40 * MIB, noise(2, 8192))
    return m


def good_vhd():
    m = VhdMaker("hostile", 16 * MIB)
    m.write(3 * MIB, noise(1, 8192))
    m.write(9 * MIB, noise(2, 8192))
    return m


def spoil(*places):
    return lambda m: m.patches.extend((at, b"\xa5") for at in places)


# --- Headers and regions ---

table("accept", {"header-1-bad": spoil(64 * KIB + 100), "header-2-bad": lambda m: m.patches.extend(
    [(64 * KIB, m.header()), (128 * KIB + 100, b"\xa5")]), "region-copy-1-bad": spoil(192 * KIB + 40),
    "region-copy-2-bad": spoil(256 * KIB + 40), "equal-headers": lambda m: m.patches.append((64 * KIB, m.header()))})
table("refuse", {
    "both-headers-bad": spoil(64 * KIB + 100, 128 * KIB + 100),
    "both-regions-bad": spoil(192 * KIB + 40, 256 * KIB + 40),
    "equal-numbers-different-headers": lambda m: m.patches.append(
        (64 * KIB, m.header(data_write=name_id("another")))),
    "version-2": lambda m: m.__setattr__("version", 2),
    "log-offset-odd": lambda m: m.__setattr__("log_off", MIB + 4096),
    "log-offset-0": lambda m: m.__setattr__("log_off", 0),
})


def region(change):
    def f(m):
        m.regions = change(m, list(m.regions))
    return f


def regions_of(m, **change):
    return [(g, change.get("bat_off", o) if g == BAT else o, change.get("bat_len", n) if g == BAT else n, f)
            for g, o, n, f in m.regions]


table("refuse", {
    "regions-overlap": region(lambda m, r: regions_of(m, bat_off=m.meta_off)),
    "region-in-log": region(lambda m, r: regions_of(m, bat_off=m.log_off)),
    "region-in-headers": region(lambda m, r: regions_of(m, bat_off=0)),
    "region-not-aligned": region(lambda m, r: regions_of(m, bat_off=m.bat_off + 4096)),
    "region-behind-everything": region(lambda m, r: regions_of(m, bat_off=(1 << 64) - MIB)),
    "region-length-0": region(lambda m, r: regions_of(m, bat_len=0)),
    "region-twice": region(lambda m, r: r + [(BAT, 60 * MIB, MIB, 1)]),
    "region-required-unknown": region(lambda m, r: r + [(name_id("unknown"), 60 * MIB, MIB, 1)]),
    "region-bat-missing": region(lambda m, r: r[:1]),
    "region-metadata-missing": region(lambda m, r: r[1:]),
    "region-count-huge": lambda m: m.patches.extend((at, sealed(
        m.region_table()[:8] + b"\xff\xff\xff\xff" + m.region_table()[12:])) for at in (192 * KIB, 256 * KIB)),
})
table("accept", {"region-optional-unknown": region(lambda m, r: r + [(name_id("unknown"), 60 * MIB, MIB, 0)])})


# --- Metadata ---

def item(guid, data, flags=None):
    def f(m):
        m.items = [(g, fl if flags is None else flags, data if g == guid else d) for g, fl, d in m.items]
    return f


def more_items(*more):
    return lambda m: m.items.extend(more)


def without(guid):
    def f(m):
        m.items = [i for i in m.items if i[0] != guid]
    return f


def at_place(guid, off, n):
    return lambda m: m.item_places.__setitem__(guid, (off, n))


def parameters(block, flags=0):
    return item(FILE_PARAMETERS, struct.pack("<II", block, flags))


table("refuse", {
    "metadata-required-unknown": more_items((name_id("item"), 4, b"12345678")),
    "metadata-user-required-unknown": more_items((name_id("item"), 5, b"12345678")),
    "metadata-incomplete": more_items((INCOMPLETE, 0, b"1234")),
    "metadata-outside-region": at_place(DISK_SIZE, MIB - 4, 8),
    "metadata-far-outside": at_place(DISK_SIZE, 0xFFFFFFF8, 8),
    "metadata-in-table": at_place(DISK_SIZE, 32, 8),
    "metadata-overlap": at_place(DISK_SIZE, 64 * KIB + 4, 8),
    "metadata-empty-with-offset": at_place(DISK_SIZE, 64 * KIB + 8, 0),
    "metadata-long": at_place(DISK_SIZE, 64 * KIB + 4096, MIB + 1),
    "metadata-twice": more_items((DISK_SIZE, 6, struct.pack("<Q", MIB))),
    "metadata-count-huge": lambda m: m.patches.append((m.meta_off + 10, b"\xff\xff")),
    "metadata-size-missing": without(DISK_SIZE),
    "metadata-parameters-missing": without(FILE_PARAMETERS),
    "metadata-logical-missing": without(LOGICAL),
    "metadata-signature-bad": lambda m: m.patches.append((m.meta_off, b"M")),
    "block-size-0": parameters(0),
    "block-size-3M": parameters(3 * MIB),
    "block-size-512M": parameters(512 * MIB),
    "block-size-64K": parameters(64 * KIB),
    "size-0": item(DISK_SIZE, struct.pack("<Q", 0)),
    "size-odd": item(DISK_SIZE, struct.pack("<Q", 64 * MIB + 100)),
    "size-over-64T": item(DISK_SIZE, struct.pack("<Q", 64 * TIB + 512)),
    "size-huge": item(DISK_SIZE, struct.pack("<Q", (1 << 64) - 512)),
    "logical-1024": item(LOGICAL, struct.pack("<I", 1024)),
    "logical-0": item(LOGICAL, struct.pack("<I", 0)),
    "physical-0": item(PHYSICAL, struct.pack("<I", 0)),
    "bat-too-short": item(DISK_SIZE, struct.pack("<Q", 1 << 40)),
    "parent-flag-without-locator": parameters(2 * MIB, 2),
})
table("accept", {
    "metadata-optional-unknown": more_items((name_id("item"), 0, b"12345678")),
    "metadata-user-optional": more_items((name_id("item"), 1, b"12345678")),
})


def with_locator(raw):
    def f(m):
        parameters(2 * MIB, 2)(m)
        m.items.append((LOCATOR, 4, raw))
    return f


LINKAGE = {"parent_linkage": "{%s}" % name_id("nobody")}
table("refuse", {
    "locator-short": with_locator(b"1234"),
    "locator-kind-unknown": with_locator(locator(dict(LINKAGE, relative_path="x"), name_id("kind"))),
    "locator-count-huge": with_locator(locator(LINKAGE)[:18] + b"\xff\xff" + locator(LINKAGE)[20:]),
    "locator-value-outside": with_locator(locator(LINKAGE)[:24] + b"\xf0\xff\xff\xff" + locator(LINKAGE)[28:]),
    "locator-without-linkage": with_locator(locator({"relative_path": ".\\good.vhdx"})),
    "locator-without-path": with_locator(locator(LINKAGE)),
    "locator-path-endless": with_locator(locator(dict(LINKAGE, relative_path="..\\" * 9000 + "x"))),
    "locator-to-passwd": with_locator(locator(dict(LINKAGE, relative_path="..\\..\\..\\..\\..\\..\\etc\\passwd"))),
})


# --- The BAT ---

def entry(block, value):
    return lambda m: m.bat.__setitem__(m.index(block), value(m) if callable(value) else value)


table("damage", {
    "bat-state-4": entry(20, 4), "bat-state-5": entry(20, 5),
    "bat-state-7-no-child": entry(20, lambda m: m.take(m.block) | PARTIAL),
    "bat-offset-0": entry(20, FULL),
    "bat-in-log": entry(20, lambda m: m.log_off | FULL),
    "bat-in-metadata": entry(20, lambda m: m.meta_off | FULL),
    "bat-in-bat": entry(20, lambda m: m.bat_off | FULL),
    "bat-behind-end": entry(20, lambda m: m.next + 64 * MIB | FULL),
    "bat-far-behind-end": entry(20, (1 << 64) - MIB | FULL),
    "bat-reserved-bits": entry(20, lambda m: m.take(m.block) | 8 | FULL),
})
table("accept", {"bat-zero-with-offset": entry(25, lambda m: m.take(m.block) | 2)})


@case("damage")
def bat_duplicate(m):
    """Nothing shows it to a reader: only a check can."""
    m.bat[m.index(25)] = m.bat[m.index(1)]


@case("damage")
def bat_overlap(m):
    m.bat[m.index(20)] = m.bat[m.index(1)] + MIB


# --- The log ---

def with_log(build, **more):
    """A log that would put back the BAT, which is empty in the file."""
    def f(m):
        m.log_guid = name_id("log")
        m.page = m.bat_page(0)
        m.patches.append((m.bat_off, bytes(4096)))
        build(m, lambda pos, number, tail, changes, **k: m.log(pos, log_entry(
            m.log_guid, number, tail, changes, k.pop("flushed", m.next), k.pop("last", m.next), **k)))
    return f


def whole(m):
    return [(m.bat_off, m.page)]


table("accept", {
    "log-good": with_log(lambda m, e: e(0, 5, 0, whole(m))),
    "log-gap": with_log(lambda m, e: (e(0, 5, 0, whole(m)), e(8192, 9, 0, [(m.bat_off, bytes(4096))]))),
    "log-retired": with_log(lambda m, e: (e(0, 5, 0, [(m.data[0][0], 8192)]), e(4096, 6, 4096, whole(m)))),
    "log-wraps": with_log(lambda m, e: e(m.log_len - 4096, 5, m.log_len - 4096, whole(m))),
    "log-last-offset-extends": with_log(lambda m, e: e(0, 5, 0, whole(m), last=m.next + 8 * MIB)),
    "log-crc-bad-in-newest": with_log(lambda m, e: (e(0, 5, 0, whole(m)), e(8192, 6, 0, [(m.bat_off, bytes(4096))]),
                                                    m.patches.append((m.log_off + 9000, b"\xa5")))),
})
table("refuse", {
    "log-without-entry": with_log(lambda m, e: None),
    "log-guid-of-another": with_log(lambda m, e: m.log(0, log_entry(name_id("x"), 5, 0, whole(m), m.next, m.next))),
    "log-crc-bad": with_log(lambda m, e: (e(0, 5, 0, whole(m)), m.patches.append((m.log_off + 5000, b"\xa5")))),
    "log-crc-bad-in-the-middle": with_log(lambda m, e: (
        e(0, 5, 0, whole(m)), e(8192, 6, 0, whole(m)), e(16384, 7, 0, whole(m)),
        m.patches.extend([(m.log_off + 5000, b"\xa5"), (m.log_off + 13000, b"\xa5")]))),
    "log-tail-nowhere": with_log(lambda m, e: e(0, 5, 8192, whole(m))),
    "log-tail-odd": with_log(lambda m, e: e(0, 5, 100, whole(m))),
    "log-tail-outside": with_log(lambda m, e: e(0, 5, m.log_len, whole(m))),
    "log-number-0": with_log(lambda m, e: e(0, 0, 0, whole(m))),
    "log-longer-than-ring": with_log(lambda m, e: e(0, 5, 0, whole(m), length=m.log_len + 4096)),
    "log-length-0": with_log(lambda m, e: e(0, 5, 0, whole(m), length=0)),
    "log-length-huge": with_log(lambda m, e: e(0, 5, 0, whole(m), length=0xFFFFF000)),
    "log-descriptors-huge": with_log(lambda m, e: e(0, 5, 0, whole(m), descriptors=0xFFFFFFFF)),
    "log-descriptors-too-many": with_log(lambda m, e: e(0, 5, 0, whole(m), descriptors=2)),
    "log-target-0": with_log(lambda m, e: e(0, 5, 0, [(0, bytes(4096))])),
    "log-target-header": with_log(lambda m, e: e(0, 5, 0, [(64 * KIB, bytes(4096))])),
    "log-target-log": with_log(lambda m, e: e(0, 5, 0, [(m.log_off, bytes(4096))])),
    "log-target-odd": with_log(lambda m, e: e(0, 5, 0, [(m.bat_off + 512, m.page)])),
    "log-target-huge": with_log(lambda m, e: e(0, 5, 0, [((1 << 64) - 4096, m.page)])),
    "log-zeros-huge": with_log(lambda m, e: e(0, 5, 0, [(m.bat_off, 1 << 63)])),
    "log-zeros-over-the-end": with_log(lambda m, e: e(0, 5, 0, [(m.bat_off, (1 << 64) - 4096)])),
    "log-zeros-into-log": with_log(lambda m, e: e(0, 5, 0, [(512 * KIB, 2 * MIB)])),
    "log-file-too-short": with_log(lambda m, e: e(0, 5, 0, whole(m), flushed=m.next + MIB, last=m.next + MIB)),
    "log-version-1": lambda m: (with_log(lambda m, e: e(0, 5, 0, whole(m)))(m), m.__setattr__("log_version", 1)),
    "log-behind-end": lambda m: (with_log(lambda m, e: None)(m), m.__setattr__("log_off", 512 * MIB)),
})


# --- VHD ---

def unsealed(at, raw):
    return lambda m: m.patches.append((at, raw))


def vhd(name, **change):
    def f(m):
        for k, v in change.items():
            setattr(m, k, v)
    return f


@case("accept", "vhd")
def vhd_footer_511(m):
    """As Virtual PC before 2004 wrote them."""
    m.trailer = False
    m.patches.append((m.next, m.footer()[:511]))


table("accept", {
    "vhd-trailer-bad": lambda m: m.patches.append((m.next + 100, b"\xa5")),
    "vhd-trailer-missing": vhd("", trailer=False),
    "vhd-copy-bad": spoil(100),
}, "vhd")
table("refuse", {
    "vhd-both-footers-bad": lambda m: m.patches.extend([(100, b"\xa5"), (m.next + 100, b"\xa5")]),
    "vhd-table-in-footer": vhd("", bat_off=0),
    "vhd-table-in-header": vhd("", bat_off=1024),
    "vhd-table-behind-end": lambda m: (vhd("", bat_off=1 << 40)(m), m.__setattr__("table", lambda: b"")),
    "vhd-table-of-2G-entries": vhd("", max_entries=1 << 31),
    "vhd-table-too-short": vhd("", max_entries=3),
    "vhd-block-size-3M": vhd("", block=3 * MIB),
    "vhd-block-size-0": vhd("", block=0),
    "vhd-block-size-2G": vhd("", block=1 << 31),
    "vhd-type-4-no-parent": vhd("", type=4),
    "vhd-type-5": vhd("", type=5),
    "vhd-type-0": vhd("", type=0),
    "vhd-header-behind-end": lambda m: m.__setattr__("footer", lambda: VhdMaker.footer(m, data_offset=1 << 40)),
    "vhd-header-in-footer": lambda m: m.__setattr__("footer", lambda: VhdMaker.footer(m, data_offset=0)),
    "vhd-header-checksum": spoil(512 + 700),
    "vhd-size-0": lambda m: m.__setattr__("footer", lambda: VhdMaker.footer(m, size=0)),
    "vhd-size-odd": lambda m: m.__setattr__("footer", lambda: VhdMaker.footer(m, size=MIB + 1)),
    "vhd-size-huge": lambda m: m.__setattr__("footer", lambda: VhdMaker.footer(m, size=(1 << 64) - 512)),
    "vhd-version-2": lambda m: m.__setattr__("footer", lambda: VhdMaker.footer(m, version=0x20000)),
}, "vhd")
table("damage", {
    "vhd-block-in-table": lambda m: m.bat.__setitem__(6, 3),
    "vhd-block-in-footer": lambda m: m.bat.__setitem__(6, 0),
    "vhd-block-in-header": lambda m: m.bat.__setitem__(6, 1),
    "vhd-block-behind-end": lambda m: m.bat.__setitem__(6, 0xFFFFFFFE),
    "vhd-block-duplicate": lambda m: m.bat.__setitem__(6, m.bat[1]),
    "vhd-block-overlap": lambda m: m.bat.__setitem__(6, m.bat[1] + 1),
}, "vhd")

# What no reader can see, for each block reads as if it were right.
ONLY_CHECK = ("bat-duplicate", "bat-overlap", "bat-zero-with-offset", "vhd-block-duplicate", "vhd-block-overlap")


# --- Chains: a folder of files each; the first is opened ---

def cycle(folder):
    a = VhdxMaker("a", 8 * MIB, kind="differencing", parent=child_of(VhdxMaker("b", 8 * MIB), "cycle-b.vhdx"))
    b = VhdxMaker("b", 8 * MIB, kind="differencing", parent=child_of(VhdxMaker("a", 8 * MIB), "chain-cycle.vhdx"))
    b.save(os.path.join(folder, "cycle-b.vhdx"))
    return a


def child_and(parent, name):
    def f(folder):
        parent.save(os.path.join(folder, name))
        return VhdxMaker("c", 8 * MIB, kind="differencing", parent=child_of(VhdxMaker("base", 8 * MIB), name))
    return f


def vhd_parent(folder):
    VhdMaker("base", 8 * MIB).save(os.path.join(folder, "chain-mixed-base.vhd"))
    return VhdxMaker("c", 8 * MIB, kind="differencing",
                     parent=child_of(VhdxMaker("base", 8 * MIB), "chain-mixed-base.vhd"))


def to_itself(folder):
    return VhdxMaker("a", 8 * MIB, kind="differencing", parent=child_of(VhdxMaker("a", 8 * MIB), "chain-self.vhdx"))


def vhd_to_itself(folder):
    return VhdMaker("a", 8 * MIB, kind="differencing", parent=VhdMaker("a", 8 * MIB), parent_path="chain-vhd-self.vhd")


CHAINS = {
    "chain-cycle": cycle, "chain-self": to_itself, "chain-vhd-self": vhd_to_itself, "chain-mixed": vhd_parent,
    "chain-parent-modified": child_and(VhdxMaker("changed", 8 * MIB), "chain-modified-base.vhdx"),
    "chain-other-sectors": child_and(VhdxMaker("base", 8 * MIB, lss=4096), "chain-sectors-base.vhdx"),
    "chain-parent-missing": lambda folder: VhdxMaker("c", 8 * MIB, kind="differencing", parent=child_of(
        VhdxMaker("base", 8 * MIB), "nowhere.vhdx")),
}


def write_all(folder, names=()):
    """Makes them; yields (path, what must come of it)."""
    os.makedirs(folder, exist_ok=True)
    for name, (want, kind, change) in CASES.items():
        if names and name not in names:
            continue
        m = good_vhd() if kind == "vhd" else good_vhdx()
        change(m)
        path = os.path.join(folder, "%s.%s" % (name, kind))
        m.save(path)
        yield path, want
    for name, build in CHAINS.items():
        if names and name not in names:
            continue
        m = build(folder)
        path = os.path.join(folder, name + (".vhd" if isinstance(m, VhdMaker) else ".vhdx"))
        m.save(path)
        yield path, "refuse"


def good_sum(path):
    """The content of the image that an accepted one was made from."""
    import content
    m = good_vhd() if path.endswith(".vhd") else good_vhdx()
    m.save(path + ".good")
    try:
        return content.checksum(content.open_image(path + ".good"))
    finally:
        os.unlink(path + ".good")


