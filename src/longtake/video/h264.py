"""Faults of H.264 files that other programs have written, and that players pass over."""

import re
from collections.abc import Iterable, Iterator

from av.packet import Packet
from av.video.stream import VideoStream

NAME = "h264"
FORBIDDEN = 0x05
"""First byte of a slice of an IDR picture to which no other picture refers.

The standard forbids it (ITU-T H.264, 7.4.1, ``nal_ref_idc``). VLC leaves out the first byte of the
message in which x264 describes itself, the second of which is this one.
"""

FILLER = 0x0C
PICTURE_PARAMETERS = re.compile(rb"\x00\x00\x01[\x08\x28\x48\x68]")  # start of a NAL unit of type 8
AVCC = 1
"""First byte of the ``extradata`` of streams whose units each follow their length."""


def repaired(packets: Iterable[Packet], stream: VideoStream) -> Iterator[Packet]:
    """Yield the packets of a video stream; NAL units that H.264 forbids become filler data.

    Decoders skip filler data. Packets of other codecs, and of streams without a length before each
    unit, as in broadcasts, are unchanged.
    """
    extradata = stream.codec_context.extradata or b""
    if stream.codec_context.name != NAME or len(extradata) < 5 or extradata[0] != AVCC:
        yield from packets
        return
    length_bytes = (extradata[4] & 3) + 1
    for packet in packets:
        if packet.is_keyframe:
            _pass_over_forbidden(packet, length_bytes)
        yield packet


def is_arithmetic(packet: bytes) -> bool:
    """Whether the picture parameters in a packet of a broadcast choose arithmetic coding (CABAC).

    False if the packet has none. (ITU-T H.264, 7.3.2.2.)
    """
    found = PICTURE_PARAMETERS.search(packet)
    if found is None:
        return False
    bits = "".join(f"{byte:08b}" for byte in packet[found.end() :][:8])
    for _ in range(2):  # Exp-Golomb codes of two identifiers
        zeros = len(bits) - len(bits.lstrip("0"))
        bits = bits[2 * zeros + 1 :]
    return bits.startswith("1")


def _pass_over_forbidden(packet: Packet, length_bytes: int) -> None:
    before = bytes(packet)
    data, at = bytearray(before), 0
    while at + length_bytes < len(data):
        if data[at + length_bytes] == FORBIDDEN:
            data[at + length_bytes] = FILLER
        at += length_bytes + int.from_bytes(data[at : at + length_bytes], "big")
    if data != before:
        packet.update(bytes(data))
