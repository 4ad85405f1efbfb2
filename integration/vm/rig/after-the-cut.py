"""after-the-cut.py DISK LOG SEED: makes DISK what a disk with a volatile cache may hold after its power was cut.

DISK is the disk as it was before; LOG is what QEMU's blklogwrites recorded (the format of dm-log-writes): every write up to
the last completed flush is applied, and of the later ones each by the toss of a coin.
"""
import random
import struct
import sys

SECTOR = 512
MAGIC = 0x6A736677736872
FLUSH, FUA, DISCARD = 1, 2, 4


def entries(log):
    magic, version, _count, sector_size = struct.unpack("<QQQI", log[:28])
    # Without a single flush the header was never written.
    if (magic, version, sector_size) not in ((MAGIC, 1, SECTOR), (0, 0, 0)):
        sys.exit(f"not a log of writes: magic {magic:#x}, version {version}, sectors of {sector_size}")
    # The count in the header is brought up to date now and then only: entries end where the log holds zeros.
    at = SECTOR
    while at + SECTOR <= len(log):
        sector, count, flags, _length = struct.unpack("<QQQQ", log[at : at + 32])
        if count == 0 and flags == 0:
            if any(log[at:]):
                sys.exit("the log has a hole: the kill came between two parts of one write; cut again")
            return
        at += SECTOR
        data = b"" if flags & DISCARD else log[at : at + count * SECTOR]
        at += len(data)
        yield sector * SECTOR, count * SECTOR, flags, data


def main():
    disk_path, log_path, seed = sys.argv[1], sys.argv[2], int(sys.argv[3])
    with open(log_path, "rb") as file:
        log = list(entries(file.read()))
    if not log:
        sys.exit("the log of writes is empty")
    flushes = [number for number, entry in enumerate(log) if entry[2] & FLUSH]
    durable = flushes[-1] + 1 if flushes else 0
    coin = random.Random(seed)
    kept = lost = 0
    with open(disk_path, "r+b") as disk:
        for number, (at, length, flags, data) in enumerate(log):
            if flags & DISCARD or not length:
                continue
            if number >= durable and not flags & FUA:
                if coin.random() < 0.5:
                    lost += 1
                    continue
                kept += 1
            disk.seek(at)
            disk.write(data)
    print(f"rig: {durable} entries up to the last of {len(flushes)} flushes; of the writes after it {kept} kept, {lost} lost")


main()
