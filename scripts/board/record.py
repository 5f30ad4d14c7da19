"""Signals of a native record (`ID.lsr`, version 2), in plain Python.

In: a record's bytes, as src/deliver/format/native.rs tells them. Out: its traces in microvolts,
with None where a sample is missing. Lengths and the checksum are checked; what is not as it should
be is a `ValueError`.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

MAGIC = b"\x89LSR\r\n\x1a\n"
HEAD_BYTES, CRC_BYTES = 14, 4
LEADS = "I II III aVR aVL aVF V1 V2 V3 V4 V5 V6 -aVR V7 V8 V9 V3R V4R V5R".split()

T = TypeVar("T")


@dataclass(frozen=True)
class Trace:
    """A printed trace: its lead, when it starts, its samples."""

    lead: str
    start_s: float
    samples_uv: list[int | None]


class _Fields:
    """Reads postcard's fields one after another."""

    def __init__(self, payload: bytes) -> None:
        self.rest = memoryview(payload)

    def take(self, count: int) -> bytes:
        if count > len(self.rest):
            raise ValueError("the record ends early")
        taken, self.rest = bytes(self.rest[:count]), self.rest[count:]
        return taken

    def number(self) -> int:
        value = shift = 0
        while True:
            byte = self.take(1)[0]
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    def real(self) -> float:
        return struct.unpack("<f", self.take(4))[0]

    def text(self) -> str:
        return self.take(self.number()).decode()

    def option(self, read: Callable[[], T]) -> T | None:
        return read() if self.take(1)[0] else None

    def many(self, read: Callable[[], T]) -> list[T]:
        return [read() for _ in range(self.number())]

    def finding(self) -> tuple[str, str]:
        self.number()
        code = self.text()
        self.option(self.number)
        return code, self.text()

    def calibration(self) -> None:
        for part in ("speed", "gain", "chest gain", "x", "y"):
            if part == "chest gain" and not self.take(1)[0]:
                continue
            self.real()
            self.number()
        self.real()

    def trace(self) -> Trace:
        lead, _role, start_s = LEADS[self.number()], self.number(), self.real()
        last, samples_uv = 0, []
        for packed in self.many(self.number):
            if packed == 0:
                samples_uv.append(None)
                continue
            last += ((packed - 1) >> 1) ^ -((packed - 1) & 1)
            samples_uv.append(last)
        self.take(8 * 4)
        self.many(self.number)
        self.take(3 * 4)
        return Trace(lead, start_s, samples_uv)


def traces(record: bytes) -> list[Trace]:
    """The record's traces, in its order."""
    payload = record[HEAD_BYTES:-CRC_BYTES]
    version, length = struct.unpack_from("<HI", record, len(MAGIC))
    if not record.startswith(MAGIC) or version != 2 or length != len(payload):
        raise ValueError("not a native record of version 2")
    if zlib.crc32(record[:-CRC_BYTES]) != struct.unpack("<I", record[-CRC_BYTES:])[0]:
        raise ValueError("the record is damaged")
    fields = _Fields(payload)
    _status = fields.number()
    fields.many(fields.finding)
    _size_px = fields.number(), fields.number()
    fields.option(fields.text)
    fields.option(fields.calibration)
    _rate_hz, _duration_s = fields.real(), fields.real()
    return fields.many(fields.trace)


def apart_uv(expected: bytes, found: bytes) -> tuple[int, int]:
    """How many samples two records share, and how far apart they are at most."""
    count = worst = 0
    pairs = list(zip(traces(expected), traces(found), strict=True))
    for wanted, got in pairs:
        if (wanted.lead, wanted.start_s) != (got.lead, got.start_s):
            raise ValueError(f"{got.lead} from {got.start_s}, not {wanted.lead}, {wanted.start_s}")
        for a, b in zip(wanted.samples_uv, got.samples_uv, strict=True):
            if (a is None) != (b is None):
                raise ValueError(f"{got.lead}: a sample is missing in one of them")
            if a is not None and b is not None:
                count, worst = count + 1, max(worst, abs(a - b))
    return count, worst
