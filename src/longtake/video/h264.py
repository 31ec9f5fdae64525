"""Faults of H.264 files that other programs have written, and that players pass over."""

from av.packet import Packet

FORBIDDEN = 0x05
"""First byte of a slice of an IDR picture to which no other picture refers.

The standard forbids it (ITU-T H.264, 7.4.1, ``nal_ref_idc``). VLC leaves out the first byte of the
message in which x264 describes itself, the second of which is this one.
"""

FILLER = 0x0C
AVCC_VERSION = 1


def pass_over_forbidden(packet: Packet, extradata: bytes | None) -> None:
    """Turn units of a packet that no encoder may write into filler, which decoders pass over.

    ``extradata`` is that of the stream: packets of streams without a length before each unit, as in
    broadcasts, are left alone.
    """
    if not extradata or extradata[0] != AVCC_VERSION or len(extradata) < 5:
        return
    data, width, at = bytearray(bytes(packet)), (extradata[4] & 3) + 1, 0
    found = False
    while at + width < len(data):
        if data[at + width] == FORBIDDEN:
            data[at + width], found = FILLER, True
        at += width + int.from_bytes(data[at : at + width], "big")
    if found:
        packet.update(bytes(data))
