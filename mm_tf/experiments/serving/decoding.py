"""Encoded images to pixels in a TensorFlow graph, as `images.decoding` does."""

import tensorflow as tf

# As in `mm_tf.data.images.decoding`.
_REDUCING_GAP = 2

# Pillow's limit too. TensorFlow's own lets a PNG of 65 KB take gigabytes.
_MOST_PIXELS = 89_478_485

# Parts of Pillow's luma, of 65,536.
_LUMA = (19595, 38470, 7471)

# Of EXIF: a tag, its type, and the bytes of the most tags that a JPEG can hold.
_ORIENTATION, _SHORT = 0x0112, 3
_BYTES_OF_TAGS = 2**16 // 12 * 12

# The orientations that each operation brings upright, applied in this order.
_TRANSPOSED = (5, 6, 7, 8)
_UPSIDE_DOWN = (3, 4, 7, 8)
_MIRRORED = (2, 3, 6, 7)


def decode(contents, image_size, channels):
    """Decodes files of images and brings them to one size.

    It is `images.decoding.decode` in TensorFlow's operations: the same box from the
    centre, the same bicubic kernel without aliasing, large JPEGs at 1/2, 1/4 or 1/8 of
    their size, a JPEG's EXIF orientation, transparent pixels on white. What differs:

    - Some pixels differ by 1 of 255. Where overshoot at a hard edge leaves 0 to 255
      it can be 30, since new releases of Pillow resize the rows of some images first.
    - An orientation is read only from the EXIF of a JPEG, not from its XMP nor from a
      PNG or a WebP.
    - The transparent pixels of a GIF keep their colours.
    - An animated WebP is an error, and so is a BMP with a palette, masks or
      compression. WebP needs TensorFlow 2.21 or later.

    A file that is no image, is cut off, or has more than 89,478,485 pixels (a GIF: all
    its images together) is an `InvalidArgumentError`, which fails the whole batch. A
    size is read from the file's header, before anything is decoded.
    """
    return tf.map_fn(
        lambda content: _decode_one(content, image_size, channels),
        contents,
        fn_output_signature=tf.TensorSpec((*image_size, channels), tf.uint8),
    )


def _decode_one(content, image_size, channels):
    image = tf.case(
        [
            (_bytes(content, 0, 2) == b"\xff\xd8", lambda: _jpeg(content, image_size)),
            (_bytes(content, 0, 4) == b"\x89PNG", lambda: _png(content)),
            (_bytes(content, 0, 2) == b"BM", lambda: _bmp(content)),
            (_bytes(content, 0, 4) == b"RIFF", lambda: _webp(content)),
            (_bytes(content, 0, 3) == b"GIF", lambda: _gif(content)),
        ],
        default=lambda: _any(content),
    )
    if channels == 1:
        parts = tf.reduce_sum(tf.cast(image, tf.int32) * _LUMA, -1, keepdims=True)
        image = tf.cast((parts + 2**15) // 2**16, tf.uint8)
    return tf.ensure_shape(_fit(image, image_size), (*image_size, channels))


def _jpeg(content, image_size):
    shape = tf.io.extract_jpeg_shape(content, output_type=tf.int64)
    content = _not_too_large(content, shape[0] * shape[1])
    longer = _REDUCING_GAP * max(image_size)
    times = tf.reduce_min(shape[:2]) // longer

    def at(ratio):
        return lambda: tf.io.decode_jpeg(
            content, channels=3, ratio=ratio, dct_method="INTEGER_ACCURATE"
        )

    place = tf.math.count_nonzero(times >= (2, 4, 8), dtype=tf.int32)
    image = tf.switch_case(place, [at(ratio) for ratio in (1, 2, 4, 8)])
    return _upright(image, _orientation(content))


def _upright(image, orientation):
    def where(orientations, changed):
        is_one = tf.reduce_any(orientation == orientations)
        return tf.cond(is_one, lambda: changed(image), lambda: image)

    image = where(_TRANSPOSED, lambda x: tf.transpose(x, (1, 0, 2)))
    image = where(_UPSIDE_DOWN, lambda x: x[::-1])
    return where(_MIRRORED, lambda x: x[:, ::-1])


def _place(content, text):
    """Where a text begins in a file; the file's length if it is not there."""
    return tf.strings.length(tf.strings.split(content, text, maxsplit=1)[0])


def _bytes(content, place, count):
    """Up to `count` bytes of a file from a place, which may lie beyond its ends."""
    size = tf.cast(tf.strings.length(content), tf.int64)
    place = tf.clip_by_value(tf.cast(place, tf.int64), 0, size)
    return tf.strings.substr(content, place, tf.cast(count, tf.int64))


def _number(content, place, count, is_little=False):
    """The int64 of `count` bytes, at most 7, with zeros beyond the end of a file."""
    part = _bytes(content, place, count)
    parts = tf.cast(tf.io.decode_raw(part, tf.uint8, fixed_length=count), tf.int64)
    parts = tf.where(is_little, parts[::-1], parts)
    return tf.reduce_sum(parts * [256**power for power in reversed(range(count))])


def _orientation(content):
    """The EXIF orientation of a JPEG, from 1 to 8; another number where it has none."""
    start = _place(content, b"Exif\0\0")
    # Marker and length of its segment. The length counts itself and the six letters.
    is_exif = _bytes(content, start - 4, 2) == b"\xff\xe1"
    tiff = _bytes(content, start + 6, _number(content, start - 2, 2) - 8)
    order = _bytes(tiff, 0, 2)
    is_little = order == b"II"
    is_exif &= is_little | (order == b"MM")
    # The number of tags, then each: tag, type, count and value.
    first = _number(tiff, 4, 4, is_little)
    tags = _bytes(tiff, first + 2, 12 * _number(tiff, first, 2, is_little))
    tags = tf.io.decode_raw(tags, tf.uint8, fixed_length=_BYTES_OF_TAGS)
    tags = tf.cast(tf.reshape(tags, (-1, 12)), tf.int32)

    def short(column):
        high, low = tags[:, column], tags[:, column + 1]
        return tf.where(is_little, 256 * low + high, 256 * high + low)

    is_orientation = (short(0) == _ORIENTATION) & (short(2) == _SHORT) & is_exif
    return tf.reduce_max(tf.where(is_orientation, short(8), 0))


def _png(content):
    pixels = _number(content, 16, 4) * _number(content, 20, 4)
    content = _not_too_large(content, pixels)
    has_color = _place(content, b"tRNS") < _place(content, b"IDAT")
    # By its type of colors. Without alpha it takes half the memory, and TensorFlow
    # gives pixels of less than 8 bits an alpha of less than 8 bits.
    has_alpha = has_color | (_number(content, 25, 1) >= 4)
    return tf.cond(
        has_alpha,
        lambda: _on_white(tf.io.decode_png(content, channels=4)),
        lambda: tf.io.decode_png(content, channels=3),
    )


def _on_white(image):
    image = tf.cast(image, tf.uint16)
    color, alpha = image[..., :3], image[..., 3:]
    return tf.cast((color * alpha + 255 * (255 - alpha) + 127) // 255, tf.uint8)


def _webp(content):
    # Only a file with the extended header can have an animation.
    is_extended = _bytes(content, 12, 4) == b"VP8X"
    # TensorFlow 2.21 writes beyond its memory where one has four channels.
    is_still = ~is_extended | (_number(content, 20, 1) & 0x02 == 0)
    message = "A WebP must not be animated: save its first image as PNG."
    content = _checked(content, is_still, message)
    content = _not_too_large(content, _pixels_of_webp(content))
    image = tf.io.decode_image(content, channels=0, expand_animations=False)
    with_alpha = tf.pad(image, [(0, 0), (0, 0), (0, 1)], constant_values=255)
    return _on_white(with_alpha[..., :4])


def _pixels_of_webp(content):
    """By the header of its kind: lossless, lossy, or extended."""

    def number(place, count):
        return _number(content, place, count, is_little=True)

    kind, bits = _bytes(content, 12, 4), number(21, 4)
    lossless = (bits % 2**14 + 1) * (bits // 2**14 % 2**14 + 1)
    lossy = (number(26, 2) % 2**14) * (number(28, 2) % 2**14)
    extended = (number(24, 3) + 1) * (number(27, 3) + 1)
    rest = tf.where(kind == b"VP8 ", lossy, extended)
    return tf.where(kind == b"VP8L", lossless, rest)


def _gif(content):
    """The first image; TensorFlow reads all of them, and makes room for the largest."""
    size = tf.strings.length(content)
    # What a header says is read beyond the end of a file that is cut off.
    data = tf.io.decode_raw(content + bytes(16), tf.uint8)

    def at(place):
        return tf.cast(data[place], tf.int32)

    def short(place):
        return tf.cast(at(place) + 256 * at(place + 1), tf.int64)

    def behind_colors(place, flags):
        return place + tf.where(flags < 128, 0, tf.bitwise.left_shift(6, flags % 8))

    def behind_data(place):
        parts = tf.while_loop(
            lambda place: (place < size) & (at(place) > 0),
            lambda place: [place + 1 + at(place)],
            [place],
        )
        return parts[0] + 1

    def is_block(place, *sizes):
        return (place < size) & tf.reduce_any(at(place) == (0x21, 0x2C))

    def next_block(place, width, height, pixels):
        wide, high = short(place + 5), short(place + 7)
        behind_image = behind_colors(place + 10, at(place + 9)) + 1
        return tf.cond(
            at(place) == 0x2C,
            lambda: (
                behind_data(behind_image),
                tf.maximum(width, wide),
                tf.maximum(height, high),
                pixels + wide * high,
            ),
            lambda: (behind_data(place + 2), width, height, pixels),
        )

    none = tf.constant(0, tf.int64)
    _, width, height, pixels = tf.while_loop(
        is_block, next_block, [behind_colors(13, at(10)), none, none, none]
    )
    return _any(_not_too_large(content, tf.maximum(width * height, pixels)))


def _any(content):
    return tf.io.decode_image(content, channels=3, expand_animations=False)


def _bmp(content):
    header, bits, compression = (
        _number(content, place, count, is_little=True)
        for place, count in ((14, 4), (28, 2), (30, 4))
    )
    # TensorFlow would read a palette's places as grey, and masks not at all.
    is_plain = (header >= 40) & tf.reduce_any(bits == (24, 32)) & (compression == 0)
    message = (
        "A BMP must have 24 or 32 bits a pixel, without masks or compression: save "
        "it as PNG. Received bits and compression:"
    )
    return _any(_checked(content, is_plain, message, bits, compression))


def _not_too_large(content, pixels):
    message = f"An image must have at most {_MOST_PIXELS:,} pixels. Received:"
    return _checked(content, pixels <= _MOST_PIXELS, message, pixels)


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
