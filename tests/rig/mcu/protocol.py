"""Klipper's wire protocol, the micro-controller's side of it.

Source of every rule here: Klipper's ``docs/Protocol.md``. A frame is
``length sequence payload crc16 0x7e``; integers are variable length quantities (VLQ); several
commands may share one payload; an empty frame is an ACK, or a NAK when it repeats a sequence.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Mapping, Sequence, Tuple

MIN_FRAME = 5
MAX_FRAME = 64
HEADER = 2
TRAILER = 3
MAX_PAYLOAD = MAX_FRAME - MIN_FRAME
DESTINATION = 0x10
SEQUENCE_MASK = 0x0F
SYNC = 0x7E


class ProtocolError(Exception):
    """A payload that does not follow the message formats."""


def _crc_table() -> Tuple[int, ...]:
    table = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = (crc >> 1) ^ 0x8408 if crc & 1 else crc >> 1
        table.append(crc)
    return tuple(table)


_CRC = _crc_table()


def crc16(data: bytes) -> int:
    """CRC-16 CCITT as Klipper computes it (reflected, initial value 0xFFFF).

    >>> hex(crc16(b"123456789"))
    '0x6f91'
    """
    crc = 0xFFFF
    for byte in data:
        crc = (crc >> 8) ^ _CRC[(crc ^ byte) & 0xFF]
    return crc


def encode_vlq(value: int) -> bytes:
    """Encode one 32-bit integer, signed or unsigned.

    >>> encode_vlq(0x60 - 1).hex(), encode_vlq(0x60).hex(), encode_vlq(-1).hex()
    ('5f', '8060', '7f')
    """
    value &= 0xFFFFFFFF
    signed = value - (1 << 32) if value & 0x80000000 else value
    out = bytearray()
    for shift in (28, 21, 14, 7):
        if not -(1 << (shift - 2)) <= signed < (3 << (shift - 2)):
            out.append((value >> shift) & 0x7F | 0x80)
    out.append(value & 0x7F)
    return bytes(out)


def decode_vlq(data: bytes, pos: int) -> Tuple[int, int]:
    """Decode one integer; returns it (signed) and the position behind it.

    >>> decode_vlq(bytes.fromhex("8060"), 0)
    (96, 2)
    """
    byte = data[pos]
    value = byte & 0x7F
    if byte & 0x60 == 0x60:
        value -= 0x80
    while byte & 0x80:
        pos += 1
        byte = data[pos]
        value = (value << 7) | (byte & 0x7F)
    return value, pos + 1


def encode_frame(sequence: int, payload: bytes = b"") -> bytes:
    """One frame. Raises `ProtocolError` when the payload is longer than 59 bytes."""
    if len(payload) > MAX_PAYLOAD:
        raise ProtocolError("payload of %d bytes: at most %d fit" % (len(payload), MAX_PAYLOAD))
    head = bytes((len(payload) + MIN_FRAME, DESTINATION | (sequence & SEQUENCE_MASK)))
    crc = crc16(head + payload)
    return head + payload + bytes((crc >> 8, crc & 0xFF, SYNC))


class Message:
    """One message of the dictionary, e.g. ``clock clock=%u``."""

    def __init__(self, ident: int, template: str) -> None:
        self.ident = ident
        self.template = template
        words = template.split()
        self.name = words[0]
        self.fields: List[Tuple[str, str]] = []
        for word in words[1:]:
            name, kind = word.split("=")
            self.fields.append((name, kind))

    def encode(self, values: Mapping[str, Any]) -> bytes:
        out = bytearray(encode_vlq(self.ident))
        for name, kind in self.fields:
            value = values[name]
            if kind.endswith("s"):
                out.append(len(value))
                out += value
            else:
                out += encode_vlq(int(value))
        return bytes(out)

    def decode(self, data: bytes, pos: int) -> Tuple[Dict[str, Any], int]:
        """Read the fields that start at `pos`, behind the message's number."""
        values: Dict[str, Any] = {}
        for name, kind in self.fields:
            if kind.endswith("s"):
                length = data[pos]
                values[name] = data[pos + 1 : pos + 1 + length]
                pos += 1 + length
                continue
            value, pos = decode_vlq(data, pos)
            values[name] = value if kind in ("%i", "%hi") else value & 0xFFFFFFFF
        return values, pos


class Dictionary:
    """All messages of one direction, found by number and by name."""

    def __init__(self, messages: Sequence[Message]) -> None:
        self.by_ident = {message.ident: message for message in messages}
        self.by_name = {message.name: message for message in messages}

    def parse(self, payload: bytes) -> List[Tuple[str, Dict[str, Any]]]:
        """All messages in one payload, in order."""
        out = []
        pos = 0
        try:
            while pos < len(payload):
                ident, pos = decode_vlq(payload, pos)
                message = self.by_ident[ident]
                values, pos = message.decode(payload, pos)
                out.append((message.name, values))
        except (IndexError, KeyError) as exc:
            raise ProtocolError("not a known message: %s" % (payload.hex(),)) from exc
        return out


class Receiver:
    """Takes bytes as they come, delivers the payloads of frames that are next in sequence.

    Every other frame, and the first byte that cannot belong to one, is answered by `acknowledge`
    being called with the sequence expected: for Klippy that is a NAK, so it sends again.
    """

    def __init__(self, deliver: Callable[[bytes], None], acknowledge: Callable[[], None]) -> None:
        self.sequence = 0
        self.frames = 0
        self.rejected = 0
        self._deliver = deliver
        self._acknowledge = acknowledge
        self._buffer = bytearray()
        self._need_sync = False
        self._in_error = False
        self._generation = 0

    def reset(self) -> None:
        """Forget what was received and expect sequence 0, as after a power cycle."""
        self.sequence = 0
        self._buffer.clear()
        self._need_sync = self._in_error = False
        self._generation += 1

    def feed(self, data: bytes) -> None:
        self._buffer += data
        while self._buffer:
            used = self._take()
            if used == 0:
                return
            del self._buffer[:used]

    def _take(self) -> int:
        """Handle what the buffer starts with; returns the bytes used, 0 for "more needed"."""
        buffer = self._buffer
        if self._need_sync:
            return self._discard()
        if buffer[0] == SYNC:
            return 1
        if not MIN_FRAME <= buffer[0] <= MAX_FRAME:
            return self._reject()
        if len(buffer) < HEADER:
            return 0
        if buffer[1] & ~SEQUENCE_MASK != DESTINATION:
            return self._reject()
        length = buffer[0]
        if len(buffer) < length:
            return 0
        frame = bytes(buffer[:length])
        crc = frame[-TRAILER] << 8 | frame[-TRAILER + 1]
        if frame[-1] != SYNC or crc != crc16(frame[:-TRAILER]):
            return self._reject()
        self._in_error = False
        if frame[1] & SEQUENCE_MASK != self.sequence:
            self._acknowledge()
            return length
        self.sequence = (self.sequence + 1) & SEQUENCE_MASK
        self.frames += 1
        generation = self._generation
        self._deliver(frame[HEADER:-TRAILER])
        if generation != self._generation:
            # The frame held a `reset`: the buffer is gone already.
            return 0
        self._acknowledge()
        return length

    def _reject(self) -> int:
        self.rejected += 1
        self._need_sync = True
        return self._discard()

    def _discard(self) -> int:
        end = self._buffer.find(SYNC)
        used = len(self._buffer) if end < 0 else end + 1
        if end >= 0:
            self._need_sync = False
            if not self._in_error:
                self._in_error = True
                self._acknowledge()
        return used
