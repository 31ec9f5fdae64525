"""Faults of H.264 files that other programs have written, and that players pass over."""

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


def _pass_over_forbidden(packet: Packet, length_bytes: int) -> None:
    before = bytes(packet)
    data, at = bytearray(before), 0
    while at + length_bytes < len(data):
        if data[at + length_bytes] == FORBIDDEN:
            data[at + length_bytes] = FILLER
        at += length_bytes + int.from_bytes(data[at : at + length_bytes], "big")
    if data != before:
        packet.update(bytes(data))
