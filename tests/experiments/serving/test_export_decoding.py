"""Files of images decoded in TensorFlow's graph, held against Pillow."""

import functools
import io
import struct

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from mm_tf.data.images.decoding import decode
from mm_tf.experiments.serving import decoding


def encoded(image, form, **options):
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def blurred(height, width, mode="RGB", seed=0):
    colors = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), dtype="uint8")
    small = Image.fromarray(colors)
    return small.resize((width, height), Image.Resampling.BICUBIC).convert(mode)


def transparent(height=50, width=60):
    image = blurred(height, width)
    image.putalpha(blurred(height, width, "L", seed=1))
    return image


def of_16_bits(height, width):
    pixels = np.asarray(blurred(height, width, "L")).astype("uint16")
    return Image.fromarray(pixels * 256 + 255 - pixels)


# By what is special of it, all but one of 32 x 24, whose pixels are then to be equal.
FILES = {
    "PNG": encoded(blurred(32, 24), "PNG"),
    "PNG, grey": encoded(blurred(20, 90, "L"), "PNG"),
    "PNG, transparent": encoded(transparent(), "PNG"),
    "PNG, palette": encoded(blurred(32, 24).quantize(16), "PNG"),
    "PNG, transparent palette": encoded(
        blurred(32, 24).quantize(16), "PNG", transparency=bytes(range(0, 256, 16))
    ),
    "PNG, 1 bit": encoded(blurred(32, 24, "1"), "PNG"),
    "PNG, 16 bits": encoded(of_16_bits(32, 24), "PNG"),
    "JPEG": encoded(blurred(90, 40), "JPEG"),
    "JPEG, decoded at an eighth": encoded(blurred(600, 700), "JPEG"),
    "JPEG, grey, decoded at a half": encoded(blurred(130, 200, "L"), "JPEG"),
    "JPEG, CMYK": encoded(blurred(60, 50, "CMYK"), "JPEG"),
    "JPEG, progressive": encoded(blurred(60, 50), "JPEG", progressive=True),
    "GIF": encoded(blurred(32, 24), "GIF"),
    "GIF, animated": encoded(
        blurred(32, 24), "GIF", save_all=True, append_images=[blurred(32, 24, seed=1)]
    ),
    "WebP": encoded(blurred(32, 24), "WEBP"),
    "WebP, transparent": encoded(transparent(32, 24), "WEBP"),
    "WebP, lossless": encoded(transparent(32, 24), "WEBP", lossless=True),
    "BMP": encoded(blurred(60, 40), "BMP"),
    "BMP, 32 bits": encoded(blurred(32, 24, "RGBA"), "BMP"),
}


if not hasattr(tf.io, "decode_webp"):  # Before TensorFlow 2.21.
    FILES = {name: file for name, file in FILES.items() if "WebP" not in name}


@functools.cache
def graph(channels):
    return tf.function(
        lambda files: decoding.decode(files, (32, 24), channels),
        input_signature=[tf.TensorSpec([None], tf.string)],
    )


def in_graph(files, channels=3):
    """Pixels that a graph gives, as that of a SavedModel does."""
    return graph(channels)(tf.constant(files)).numpy()


@pytest.mark.parametrize("channels", [1, 3])
def test_decoding_in_the_graph_is_that_of_training(channels):
    found = in_graph(list(FILES.values()), channels)
    different = {}
    for (name, content), pixels in zip(FILES.items(), found, strict=True):
        expected = decode(name, (32, 24), channels, content)
        most = np.abs(pixels.astype(int) - expected).max()
        # One that has the size already keeps its pixels.
        with Image.open(io.BytesIO(content)) as image:
            is_same = image.size == (24, 32) and image.format != "JPEG"
        if most > (0 if is_same else 2):
            different[name] = most
    assert not different


@pytest.mark.parametrize("name", [name for name in FILES if "BMP" not in name])
def test_too_many_pixels_are_refused_by_the_header(name, monkeypatch):
    with Image.open(io.BytesIO(FILES[name])) as image:
        pixels = image.width * image.height * getattr(image, "n_frames", 1)
    monkeypatch.setattr(decoding, "_MOST_PIXELS", pixels)
    decoding.decode(tf.constant([FILES[name]]), (32, 24), 3)
    monkeypatch.setattr(decoding, "_MOST_PIXELS", pixels - 1)
    with pytest.raises(tf.errors.InvalidArgumentError, match="at most.* pixels"):
        decoding.decode(tf.constant([FILES[name]]), (32, 24), 3)


def test_sizes_of_a_gif_count_together():
    # A tall image and a wide one, for which TensorFlow makes room.
    content = b"GIF89a" + struct.pack("<HHBBB", 9, 9, 0, 0, 0)
    for size in ((1, 30_000), (30_000, 1)):
        content += b"," + struct.pack("<HHHHB", 0, 0, *size, 0) + b"\2\2\x4c\1\0"
    with pytest.raises(tf.errors.InvalidArgumentError, match="900000000"):
        in_graph([content])


def exif(orientation, order="<", first=8, tag=0x0112, kind=3):
    """The EXIF of an orientation, and of a tag before and behind it."""
    tags = [(0x010F, 2, 4, b"me\0\0"), (tag, kind, 1, orientation), (0x0128, 3, 1, 2)]
    text = b"II" if order == "<" else b"MM"
    text += struct.pack(f"{order}HI", 42, first) + bytes(first - 8)
    text += struct.pack(f"{order}H", len(tags))
    for number, of_kind, count, value in tags:
        text += struct.pack(f"{order}HHI", number, of_kind, count)
        text += value if of_kind == 2 else struct.pack(f"{order}HH", value, 0)
    return b"Exif\0\0" + text + bytes(4)


def photo(*segments, height=60, width=50):
    """A JPEG with segments, pairs (marker, content), before all others."""
    content = encoded(blurred(height, width), "JPEG")
    parts = [
        struct.pack(">HH", marker, len(text) + 2) + text for marker, text in segments
    ]
    return content[:2] + b"".join(parts) + content[2:]


TURNED = {
    **{
        f"{orientation} {order}": photo((0xFFE1, exif(orientation, order)))
        for orientation in range(2, 9)
        for order in "<>"
    },
    "behind others": photo(
        (0xFFE0, b"JFIF\0" + bytes(9)),
        (0xFFE1, b"http://ns.adobe.com/xap/1.0/\0<x/>"),
        (0xFFED, bytes(60_000)),
        (0xFFE1, exif(6)),
    ),
    "after padding": photo((0xFFE0, bytes(20)), (0xFFE1, exif(6))).replace(
        b"\xff\xe1", b"\xff\xff\xff\xe1", 1
    ),
    "far in the EXIF": photo((0xFFE1, exif(6, ">", first=30))),
    "large": photo((0xFFE1, exif(6)), height=400, width=300),
}
# The orientation is the first, or the EXIF cannot be read.
AS_IT_LIES = [
    exif(1),
    b"",
    b"Exif\0\0",
    exif(6)[:20],
    exif(6)[:32],
    exif(6, first=8).replace(b"II*\0\x08", b"II*\0\xff"),
    exif(6).replace(b"II*", b"??*"),
    exif(6, tag=0x0113),
    exif(6, kind=7),
    exif(0),
    exif(9),
    exif(65_535),
]


def test_the_orientation_of_a_camera_is_applied():
    files = TURNED | {str(text): photo((0xFFE1, text)) for text in AS_IT_LIES}
    upright = decode("photo", (32, 24), content=photo()).astype(int)
    found = in_graph(list(files.values()))
    for (name, file), pixels in zip(files.items(), found, strict=True):
        expected = decode(name, (32, 24), content=file).astype(int)
        assert np.abs(pixels - expected).max() <= 2, name
        is_turned = np.abs(pixels - upright).max() > 20
        assert is_turned == (name in TURNED), name


BMP = FILES["BMP"]
BAD = {
    "empty": b"",
    "text": b"no image",
    "two letters": b"BM",
    "a BMP cut off": BMP[:-1],
    "a BMP whose width would fill the memory": BMP[:18] + b"\xff" * 4 + BMP[22:],
    "a JPEG cut off": FILES["JPEG"][:400],
    "a PNG cut off": FILES["PNG"][:100],
}
NO_IMAGE = dict.fromkeys(BAD)
# Pixels that TensorFlow would get wrong.
BAD |= {
    "a palette": encoded(blurred(32, 24).quantize(200), "BMP"),
    "a palette of greys": encoded(blurred(32, 24, "L"), "BMP"),
    "1 bit": encoded(blurred(32, 24, "1"), "BMP"),
    "16 bits": BMP[:28] + struct.pack("<H", 16) + BMP[30:],
    "compression": BMP[:30] + struct.pack("<I", 1) + BMP[34:],
    "masks": BMP[:30] + struct.pack("<I", 3) + BMP[34:],
    "the header of OS/2": BMP[:14] + struct.pack("<I", 12) + BMP[18:],
    "animation": encoded(
        transparent(), "WEBP", save_all=True, append_images=[blurred(50, 60)]
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_decoded_right_is_an_error_of_the_batch(name):
    message = NO_IMAGE.get(name, "save .* as PNG")
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        in_graph([FILES["PNG"], BAD[name]])
