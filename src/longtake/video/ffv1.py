"""Checksums of FFV1, the lossless codec of `.mkv` files (RFC 9043, 4.8 and 4.9).

FFmpeg takes a slice whose checksum is wrong from the frame before, and only logs that.
"""

import zlib
from collections.abc import Sequence

CHECKED, PLAIN = 8, 3
"""Number of bytes that follow a slice's data, with and without a status and a checksum."""

_MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def is_damaged(packet: bytes) -> bool:
    """Whether an FFV1 packet is damaged.

    It is if the checksum of a slice is wrong, or the slices do not fill the packet's bytes.
    """
    slices = _slices(packet, CHECKED)
    if slices:
        return any(_remainder(packet[part]) for part in slices)
    return not _slices(packet, PLAIN)  # from an encoder without checksums


def _slices(packet: bytes, trailer: int) -> Sequence[slice]:
    """Places of a packet's slices, found from its end; empty if their sizes do not add up.

    ``trailer`` is the number of bytes that follow a slice's data.
    """
    found, end = [], len(packet)
    while end:
        size = int.from_bytes(packet[max(0, end - trailer) :][:3], "big") + trailer
        if size > end:
            return []
        found.append(slice(end - size, end))
        end -= size
    return found


def _remainder(data: bytes) -> int:
    """CRC-32, highest bit first, of data that end with their checksum; 0 if they are undamaged."""
    return zlib.crc32(data.translate(_MIRRORED), 0xFFFFFFFF) ^ 0xFFFFFFFF
