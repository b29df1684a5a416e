"""PNG files with the standard library alone: small ones to send, strict reading of those that come back."""

import base64
import struct
import zlib

_SIGNATURE = b"\x89PNG\r\n\x1a\n"

# Channels by IHDR's colour type.
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}


def png(width, height, colour):
    """A PNG of one colour (red, green, blue), without alpha."""
    row = b"\0" + bytes(colour) * width
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(row * height)), (b"IEND", b""))
    return _SIGNATURE + b"".join(_chunk(kind, data) for kind, data in chunks)


def data_uri(file):
    """The data URI of a PNG."""
    return "data:image/png;base64," + base64.b64encode(file).decode()


def dimensions(file):
    """Width and height of a PNG whose every chunk is sound and whose pixels are all there."""
    assert file.startswith(_SIGNATURE), f"not a PNG: {file[:16]!r}"
    at, header, pixels, ended = len(_SIGNATURE), None, b"", False
    while at < len(file):
        assert not ended, "bytes after IEND"
        (length,) = struct.unpack_from(">I", file, at)
        kind, data = file[at + 4 : at + 8], file[at + 8 : at + 8 + length]
        assert file[at : at + 12 + length] == _chunk(kind, data), f"chunk {kind!r} at {at} is broken"
        if kind == b"IHDR":
            header = struct.unpack(">IIBBBBB", data)
        elif kind == b"IDAT":
            pixels += data
        ended = kind == b"IEND"
        at += 12 + length
    assert ended and header is not None, "IHDR or IEND is missing"
    width, height, depth, colour, _, _, interlaced = header
    assert interlaced == 0, "interlaced pictures are not read here"
    row = 1 + (width * depth * _CHANNELS[colour] + 7) // 8
    assert len(zlib.decompress(pixels)) == row * height, "pixels are missing"
    return width, height


def _chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
