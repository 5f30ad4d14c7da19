#!/usr/bin/env python3
"""A receiver of records in plain Python, to read and to copy: what `leadscan receive` does.

Each record becomes DIR/ID.lsr and, once it is durable, a line `ID BYTES` on stdout. One device at a
time; TCP is without TLS. The bytes are told in src/deliver/link/wire.rs and frame.rs, the order in
sender.rs.
"""
import argparse
import contextlib
import hashlib
import io
import os
import pathlib
import socket
import sys
import termios
import time
import tty
import zlib
from collections.abc import Callable, Iterator

VERSION, FRAME_BYTES_MAX, RECORD_BYTES_MAX = 1, 1024, 32 << 20
HELLO, OFFER, CHUNK, COMMIT, STATUS, BYE = range(6)
(UNKNOWN, PARTIAL, STORED, REFUSED), (LATER, NEVER) = range(4), range(2)


def varint(value: int) -> bytes:
    """Seven bits a byte, least first; the top bit says that more follow."""
    return bytes([value]) if value < 128 else bytes([value & 127 | 128]) + varint(value >> 7)


def number(fields: io.BytesIO) -> int:
    byte = fields.read(1)[0]
    return byte if byte < 128 else byte & 127 | number(fields) << 7


def text(value: str) -> bytes:
    return varint(len(value.encode())) + value.encode()


def stuff(content: bytes) -> bytes:
    """COBS: the same without zeros."""
    out = bytearray()
    for run in content.split(b"\0"):
        while len(run) >= 254:
            out += b"\xff" + run[:254]
            run = run[254:]
        out += bytes([len(run) + 1]) + run
    return bytes(out)


def unstuff(stuffed: bytes) -> bytes:
    out = bytearray()
    while stuffed:
        code, run, stuffed = stuffed[0], stuffed[1 : stuffed[0]], stuffed[stuffed[0] :]
        out += run + (b"\0" if code < 255 and stuffed else b"")
    return bytes(out)


def messages(read: Callable[[], bytes]) -> Iterator[bytes]:
    """The messages that come whole, until the line ends; what is damaged is passed over."""
    stuffed = b""
    while data := read():
        *ends, stuffed = (stuffed + data).split(b"\0")
        for end in ends:
            message = unstuff(end[:FRAME_BYTES_MAX])
            message, crc = message[:-4], message[-4:]
            if message and crc == zlib.crc32(message).to_bytes(4, "little"):
                yield message
        stuffed = stuffed[:FRAME_BYTES_MAX]


def sync(path: pathlib.Path) -> None:
    os.fsync(handle := os.open(path, os.O_RDONLY))
    os.close(handle)


class Receiver:
    def __init__(self, folder: pathlib.Path) -> None:
        self.folder, self.part = folder, folder
        self.id, self.bytes, self.digest, self.have = b"", 0, b"", 0

    def place(self, record: bytes) -> pathlib.Path:
        bits, letters = int.from_bytes(record, "big"), "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
        ulid = "".join(letters[bits >> shift & 31] for shift in range(125, -5, -5))
        return self.folder / f"{ulid}.lsr"

    def answer(self, message: bytes) -> bytes | None:
        fields = io.BytesIO(message)
        kind = number(fields)
        if kind == HELLO:
            self.id = b""
            ours = number(fields) == VERSION
            return bytes([HELLO, VERSION] if ours else [BYE]) + text(f"receiver.py {VERSION}")
        record = fields.read(16)
        try:
            state = (self.offer, self.chunk, self.commit)[kind - OFFER](record, fields)
        except OSError as error:
            self.id = b""
            state = bytes([REFUSED, LATER]) + text(str(error)[:100])
        return state and bytes([STATUS]) + record + state

    def stored(self, record: bytes) -> bytes:
        place = self.place(record)
        if not place.exists():
            return bytes([UNKNOWN])
        sync(place)
        sync(self.folder)
        return bytes([STORED]) + hashlib.sha256(place.read_bytes()).digest()

    def offer(self, record: bytes, fields: io.BytesIO) -> bytes:
        self.id, self.bytes, self.digest = record, number(fields), fields.read(32)
        if self.place(record).exists():
            return self.stored(record)
        if self.bytes > RECORD_BYTES_MAX:
            return bytes([REFUSED, NEVER]) + text(f"at most {RECORD_BYTES_MAX} bytes are taken")
        self.part = self.folder / f".{self.place(record).stem}.{self.digest.hex()[:16]}.part"
        self.part.touch()
        self.have = self.part.stat().st_size
        return bytes([PARTIAL]) + varint(self.have)

    def chunk(self, record: bytes, fields: io.BytesIO) -> bytes | None:
        if record != self.id:
            return bytes([UNKNOWN])
        offset, data = number(fields), fields.read(number(fields))
        if offset + len(data) <= self.have:
            return None  # It was there: an answer would read like that to one behind a lost one.
        if offset == self.have and offset + len(data) <= self.bytes:
            with self.part.open("ab") as file:
                file.write(data)
            self.have += len(data)
        return bytes([PARTIAL]) + varint(self.have)

    def commit(self, record: bytes, _: io.BytesIO) -> bytes:
        if record != self.id:
            return self.stored(record)
        if self.have < self.bytes:
            return bytes([PARTIAL]) + varint(self.have)
        self.id = b""
        if hashlib.sha256(self.part.read_bytes()).digest() != self.digest:
            self.part.unlink()
            return bytes([UNKNOWN])
        sync(self.part)
        self.part.rename(self.place(record))
        sync(self.folder)
        print(self.place(record).stem, self.bytes, flush=True)
        return self.stored(record)


def serve(receiver: Receiver, read: Callable[[], bytes], write: Callable[[bytes], int]) -> None:
    for message in messages(read):
        with contextlib.suppress(IndexError, RecursionError):  # Cut off, or nothing for us.
            if answer := receiver.answer(message):
                crc = zlib.crc32(answer).to_bytes(4, "little")
                rest = b"\0" + stuff(answer + crc) + b"\0"
                while rest:
                    rest = rest[write(rest) :]


def serve_serial(receiver: Receiver, path: str, baud: int) -> None:
    with open(path, "r+b", buffering=0) as port:
        tty.setraw(port)
        settings = termios.tcgetattr(port)
        settings[4] = settings[5] = getattr(termios, f"B{baud}")
        termios.tcsetattr(port, termios.TCSANOW, settings)
        print("receiving on", path, file=sys.stderr)
        serve(receiver, lambda: port.read(4096), port.write)


def serve_connection(receiver: Receiver, connection: socket.socket) -> None:
    with connection:
        connection.settimeout(600)
        serve(receiver, lambda: connection.recv(4096), connection.send)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    line = parser.add_mutually_exclusive_group(required=True)
    line.add_argument("--serial", metavar="PATH")
    line.add_argument("--tcp", metavar="HOST:PORT")
    parser.add_argument("--baud", type=int, default=115200)
    parser.add_argument("--out", type=pathlib.Path, required=True, metavar="DIR")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    if given.tcp:
        host, port = given.tcp.rsplit(":", 1)
        server = socket.create_server((host, int(port)))
        print("receiving on", f"{host}:{server.getsockname()[1]}", file=sys.stderr)
    while True:
        with contextlib.suppress(OSError):
            if given.serial:
                serve_serial(Receiver(given.out), given.serial, given.baud)
            else:
                serve_connection(Receiver(given.out), server.accept()[0])
        time.sleep(0.1)  # A port that was pulled out may come back.


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
