"""A serial cable: joins the board's second UART to a pseudo-terminal on the host.

In: bytes from both ends. Out: the same at the other end, no faster than 115,200 baud carries them.
Bytes that meet no plug, or an end that does not take them, are lost, as on a real line. The
pseudo-terminal stays whatever becomes of the board.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import select
import socket
import threading
import time
import tty

BYTES_A_SECOND = 11_520
TICK_S = 0.01


class Cable:
    """The host's end is there from the start; the board's is plugged in later."""

    def __init__(self) -> None:
        self._host, self._kept = os.openpty()
        tty.setraw(self._kept)
        os.set_blocking(self._host, False)
        self.host = pathlib.Path(os.ttyname(self._kept))
        self._board: socket.socket | None = None
        self._is_plugged = True
        self._lock = threading.Lock()
        self._is_ending = threading.Event()
        self._thread = threading.Thread(target=self._carry, daemon=True)
        self._thread.start()

    def join(self, board: socket.socket) -> None:
        """Joins a board that has just been switched on."""
        board.setblocking(False)
        with self._lock:
            if self._board:
                self._board.close()
            self._board = board

    def unplug(self) -> None:
        self._is_plugged = False

    def plug(self) -> None:
        self._is_plugged = True

    def close(self) -> None:
        self._is_ending.set()
        self._thread.join(timeout=1)
        with self._lock:
            if self._board:
                self._board.close()
        os.close(self._host)
        os.close(self._kept)

    def _carry(self) -> None:
        share = int(BYTES_A_SECOND * TICK_S)
        while not self._is_ending.is_set():
            began = time.monotonic()
            with self._lock:
                self._carry_share(share)
            self._is_ending.wait(max(0.0, began + TICK_S - time.monotonic()))

    def _carry_share(self, share: int) -> None:
        board = self._board
        ends = [self._host] + ([board] if board else [])
        for end in select.select(ends, [], [], 0)[0]:
            with contextlib.suppress(BlockingIOError):
                if end is board:
                    try:
                        got = board.recv(share)
                    except ConnectionError:
                        got = b""
                    if not got:
                        board.close()
                        self._board = None
                    elif self._is_plugged:
                        os.write(self._host, got)
                else:
                    got = os.read(self._host, share)
                    if self._board and self._is_plugged:
                        with contextlib.suppress(ConnectionError):
                            self._board.send(got)
