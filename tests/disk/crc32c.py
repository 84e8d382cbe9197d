"""CRC-32C (Castagnoli), as VHDX wants it, in plain Python: long runs of zeros, of which its structures mostly
consist, are passed over with powers of the matrix that one zero byte is."""

POLY = 0x82F63B78


def _table():
    rows = []
    for n in range(256):
        for _ in range(8):
            n = n >> 1 ^ (POLY if n & 1 else 0)
        rows.append(n)
    return rows


TABLE = _table()


def _times(matrix, v):
    out, i = 0, 0
    while v:
        if v & 1:
            out ^= matrix[i]
        v >>= 1
        i += 1
    return out


def _zero_powers():
    """What 2^k zero bytes do to a register, as matrices: one column a bit."""
    m = [TABLE[1 << i & 0xFF] ^ (1 << i >> 8) for i in range(32)]
    powers = [m]
    for _ in range(31):
        m = [_times(m, c) for c in m]
        powers.append(m)
    return powers


POWERS = _zero_powers()


def _skip(crc, zeros):
    k = 0
    while zeros:
        if zeros & 1:
            crc = _times(POWERS[k], crc)
        zeros >>= 1
        k += 1
    return crc


def _feed(crc, data):
    table = TABLE
    for b in data:
        crc = table[(crc ^ b) & 0xFF] ^ crc >> 8
    return crc


def crc32c(data, hole=None):
    """hole: the offset of four bytes that count as zero."""
    data = bytes(data)
    if hole is not None:
        data = data[:hole] + bytes(4) + data[hole + 4:]
    crc, zero = 0xFFFFFFFF, bytes(256)
    for at in range(0, len(data), 256):
        piece = data[at:at + 256]
        crc = _skip(crc, len(piece)) if piece == zero[:len(piece)] else _feed(crc, piece)
    return crc ^ 0xFFFFFFFF


assert crc32c(b"123456789") == 0xE3069283
assert crc32c(bytes(32)) == 0x8A9136AA
