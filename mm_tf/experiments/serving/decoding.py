"""Encoded images to pixels in a TensorFlow graph, as `custom.decoding` does."""

import tensorflow as tf

# As in `mm_tf.data.custom.decoding`.
_REDUCING_GAP = 2

# Parts of Pillow's luma, of 65,536.
_LUMA = (19595, 38470, 7471)

# Markers of JPEG: the one of EXIF, and those without a length.
_APP1 = 0xFFE1
_PADDING = 0xFFFF
_WITHOUT_LENGTH = (*range(0xFFD0, 0xFFDB), _PADDING)
_EXIF = int.from_bytes(b"Exif\0\0", "big")

# Parts of a file before its pixels. Most have a dozen, a malicious one millions.
_MOST_PARTS = 1000

_LITTLE_ENDIAN = int.from_bytes(b"II", "big")
_BIG_ENDIAN = int.from_bytes(b"MM", "big")
_ORIENTATION, _SHORT = 0x0112, 3

# The orientations that each operation brings upright, applied in this order.
_TRANSPOSED = (5, 6, 7, 8)
_UPSIDE_DOWN = (3, 4, 7, 8)
_MIRRORED = (2, 3, 6, 7)

# Chunks of PNG: transparency, and pixels.
_TRNS, _IDAT = (int.from_bytes(kind, "big") for kind in (b"tRNS", b"IDAT"))


def decode(contents, image_size, channels):
    """Decodes files of images and brings them to one size.

    It is `custom.decoding.decode` in TensorFlow's operations: the same box from the
    centre, the same bicubic kernel without aliasing, large JPEGs at 1/2, 1/4 or 1/8 of
    their size, a JPEG's EXIF orientation, transparent pixels on white. What differs:

    - Some pixels differ by 1 of 255. Where overshoot at a hard edge leaves 0 to 255
      it can be 30, since new releases of Pillow resize the rows of some images first.
    - An orientation is read only from the EXIF of a JPEG, not from its XMP nor from a
      PNG or a WebP.
    - The transparent pixels of a GIF keep their colours.
    - An animated WebP is an error, and so is a BMP with a palette, masks or
      compression. WebP needs TensorFlow 2.21 or later.

    A file that is no image, or is cut off, is an `InvalidArgumentError`, which fails
    the whole batch.
    """
    return tf.map_fn(
        lambda content: _decode_one(content, image_size, channels),
        contents,
        fn_output_signature=tf.TensorSpec((*image_size, channels), tf.uint8),
    )


def _decode_one(content, image_size, channels):
    image = tf.case(
        [
            (_begins(content, b"\xff\xd8\xff"), lambda: _jpeg(content, image_size)),
            (_begins(content, b"\x89PNG"), lambda: _png(content)),
            (_begins(content, b"BM"), lambda: _bmp(content)),
            (_begins(content, b"RIFF"), lambda: _webp(content)),
        ],
        default=lambda: _any(content),
    )
    if channels == 1:
        parts = tf.reduce_sum(tf.cast(image, tf.int32) * _LUMA, -1, keepdims=True)
        image = tf.cast((parts + 2**15) // 2**16, tf.uint8)
    return tf.ensure_shape(_fit(image, image_size), (*image_size, channels))


def _begins(content, start):
    return tf.strings.substr(content, 0, len(start)) == start


def _jpeg(content, image_size):
    shape = tf.io.extract_jpeg_shape(content)
    longer = _REDUCING_GAP * max(image_size)
    times = tf.reduce_min(shape[:2]) // longer

    def at(ratio):
        return lambda: tf.io.decode_jpeg(
            content, channels=3, ratio=ratio, dct_method="INTEGER_ACCURATE"
        )

    image = tf.case(
        [(times >= 8, at(8)), (times >= 4, at(4)), (times >= 2, at(2))],
        default=at(1),
    )
    return _upright(image, _orientation(_Bytes(content)))


def _upright(image, orientation):
    def where(orientations, changed):
        is_one = tf.reduce_any(orientation == orientations)
        return tf.cond(is_one, lambda: changed(image), lambda: image)

    image = where(_TRANSPOSED, lambda x: tf.transpose(x, (1, 0, 2)))
    image = where(_UPSIDE_DOWN, lambda x: x[::-1])
    return where(_MIRRORED, lambda x: x[:, ::-1])


class _Bytes:
    """The content of a file as numbers, with zeros beyond its end."""

    def __init__(self, content):
        self.all = tf.io.decode_raw(content, tf.uint8)
        self.size = tf.size(self.all, tf.int64)
        self._padded = tf.pad(self.all, [[0, 8]])

    def number(self, place, count, is_little=False):
        """The int64 of `count` bytes, at most 7, big- or little-endian."""
        place = tf.clip_by_value(tf.cast(place, tf.int64), 0, self.size)
        parts = tf.cast(self._padded[place : place + count], tf.int64)
        parts = tf.where(is_little, parts[::-1], parts)
        return tf.reduce_sum(parts * [256**power for power in reversed(range(count))])


def _walk(first, is_passed, next_place):
    """Walks from place to place in a file, to the first that is not passed."""
    (place,) = tf.while_loop(
        is_passed,
        lambda place: (next_place(place),),
        (tf.constant(first, tf.int64),),
        maximum_iterations=_MOST_PARTS,
    )
    return place


def _orientation(data):
    """The EXIF orientation of a JPEG, from 1 to 8; another number where it has none."""

    def is_exif(place):
        return (data.number(place, 2) == _APP1) & (data.number(place + 4, 6) == _EXIF)

    def is_passed(place):
        marker = data.number(place, 2)
        has_length = (marker > 0xFF01) & ~tf.reduce_any(marker == _WITHOUT_LENGTH)
        return (has_length & ~is_exif(place)) | (marker == _PADDING)

    def next_place(place):
        has_length = tf.cast(data.number(place, 2) != _PADDING, tf.int64)
        return place + 1 + has_length * (1 + data.number(place + 2, 2))

    place = _walk(2, is_passed, next_place)
    start = place + 10
    end = tf.minimum(place + 2 + data.number(place + 2, 2), data.size)
    order = data.number(start, 2)
    is_little = order == _LITTLE_ENDIAN
    is_tiff = is_exif(place) & (is_little | (order == _BIG_ENDIAN))
    # The number of tags, then 12 bytes for each: tag, type, count and value.
    first = start + data.number(start + 4, 4, is_little)
    number = tf.minimum(data.number(first, 2, is_little), (end - first - 2) // 12)
    number = tf.maximum(number, 0) * tf.cast(is_tiff, tf.int64)
    tags = tf.reshape(data.all[first + 2 : first + 2 + 12 * number], (-1, 12))
    tags = tf.cast(tags, tf.int32)

    def short(column):
        high, low = tags[:, column], tags[:, column + 1]
        return tf.where(is_little, 256 * low + high, 256 * high + low)

    is_orientation = (short(0) == _ORIENTATION) & (short(2) == _SHORT)
    return tf.reduce_max(tf.where(is_orientation, short(8), 0))


def _png(content):
    data = _Bytes(content)

    def is_passed(place):
        is_last = tf.reduce_any(data.number(place + 4, 4) == (_TRNS, _IDAT))
        return (place < data.size) & ~is_last

    place = _walk(8, is_passed, lambda place: place + 12 + data.number(place, 4))
    has_transparency = data.number(place + 4, 4) == _TRNS
    # TensorFlow gives pixels of less than 8 bits an alpha of less than 8 bits.
    return tf.cond(
        (data.number(24, 1) < 8) & ~has_transparency,
        lambda: tf.io.decode_png(content, channels=3),
        lambda: _on_white(tf.io.decode_png(content, channels=4)),
    )


def _on_white(image):
    image = tf.cast(image, tf.int32)
    color, alpha = image[..., :3], image[..., 3:]
    return tf.cast((color * alpha + 255 * (255 - alpha) + 127) // 255, tf.uint8)


def _webp(content):
    data = _Bytes(content)
    # A file without the extended header has no animation, and a bit for its alpha.
    is_extended, is_lossless = (
        data.number(12, 4) == int.from_bytes(kind, "big") for kind in (b"VP8X", b"VP8L")
    )
    flags = data.number(20, 1)
    # TensorFlow 2.21 writes beyond its memory where one has four channels.
    is_still = ~is_extended | (flags & 0x02 == 0)
    message = "A WebP must not be animated: save its first image as PNG."
    content = _checked(content, is_still, message)
    has_alpha = is_extended & (flags & 0x10 > 0)
    has_alpha |= is_lossless & (data.number(24, 1) & 0x10 > 0)
    return tf.cond(
        has_alpha,
        lambda: _on_white(
            tf.io.decode_image(content, channels=4, expand_animations=False)
        ),
        lambda: _any(content),
    )


def _any(content):
    return tf.io.decode_image(content, channels=3, expand_animations=False)


def _bmp(content):
    data = _Bytes(content)
    header, bits, compression = (
        data.number(place, count, is_little=True)
        for place, count in ((14, 4), (28, 2), (30, 4))
    )
    # TensorFlow would read a palette's places as grey, and masks not at all.
    is_plain = (header >= 40) & tf.reduce_any(bits == (24, 32)) & (compression == 0)
    message = (
        "A BMP must have 24 or 32 bits a pixel, without masks or compression: save "
        "it as PNG. Received bits and compression:"
    )
    return _any(_checked(content, is_plain, message, bits, compression))


def _checked(content, is_good, *message):
    """The content, which nothing decodes before it is known to be good."""
    with tf.control_dependencies([tf.debugging.Assert(is_good, message)]):
        return tf.identity(content)


def _fit(image, image_size):
    """The largest box of the size's proportions, resized; as Pillow's `fit` does."""
    height, width = image_size
    shape = tf.cast(tf.shape(image)[:2], tf.float32)
    box = tf.minimum(
        shape, tf.stack([shape[1] * height / width, shape[0] * width / height])
    )
    pixels = tf.cast(image, tf.float32)
    # As Pillow does for most images: columns first, then rows, rounded in between.
    for axis in (1, 0):
        pixels = _resize(pixels, axis, image_size[axis], shape[axis], box[axis])
    return tf.cast(pixels, tf.uint8)


def _resize(pixels, axis, size, whole, box):
    """Resizes `box` pixels out of the middle of `whole` along one axis."""
    is_axis = tf.range(2) == axis
    times = size / box
    resized = tf.raw_ops.ScaleAndTranslate(
        images=pixels[tf.newaxis],
        size=tf.where(is_axis, size, tf.shape(pixels)[:2]),
        scale=tf.where(is_axis, times, 1.0),
        translation=tf.where(is_axis, -(whole - box) / 2 * times, 0.0),
        kernel_type="keyscubic",
        antialias=True,
    )[0]
    return tf.clip_by_value(tf.floor(resized + 0.5), 0, 255)
