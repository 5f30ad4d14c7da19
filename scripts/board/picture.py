"""Pictures of the camera check: a page as PPM, a frame as YUYV, a grey PNG.

In and out: bytes. Lightness is 0 to 255. Fails by `ValueError` where sizes do not agree.
"""

from __future__ import annotations

import struct
import zlib

# Every so many pixels are compared; coprime to the sides, so that all columns are met.
STRIDE = 101
BLACK, WHITE = 16, 235
# A byte of a PPM that is behind its head, in its first row.
MARK_AT = 64


def grey_png(width: int, height: int, luma: bytes) -> bytes:
    """A PNG of lightness alone."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        body = kind + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    rows = b"".join(b"\0" + luma[y * width : (y + 1) * width] for y in range(height))
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    parts = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows, 6)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def ppm_size(page: bytes) -> tuple[int, int, int]:
    """Width, height, and where the pixels of a PPM begin."""
    words = page.split(maxsplit=4)[:4]
    if len(words) < 4 or words[0] != b"P6" or words[3] != b"255":
        raise ValueError("not a PPM of 255")
    width, height = int(words[1]), int(words[2])
    return width, height, len(page) - 3 * width * height


def lightness_apart(page: bytes, frame: bytes, width: int, height: int) -> float:
    """The mean difference in lightness of a PPM and a YUYV frame that shows it in the middle."""
    page_width, page_height, start = ppm_size(page)
    if len(frame) != 2 * width * height or page_width > width or page_height > height:
        raise ValueError(f"a frame of {len(frame)} bytes is not {width} x {height}")
    left, top = (width - page_width) // 2 & ~1, (height - page_height) // 2
    total = count = 0
    for k in range(0, page_width * page_height, STRIDE):
        y, x = divmod(k, page_width)
        red, green, blue = page[start + 3 * k : start + 3 * k + 3]
        wanted = 0.2126 * red + 0.7152 * green + 0.0722 * blue
        luma = frame[2 * ((top + y) * width + left + x)]
        total += abs(wanted - 255 * (luma - BLACK) / (WHITE - BLACK))
        count += 1
    return total / count
