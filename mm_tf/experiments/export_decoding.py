"""Encoded images to pixels in a TensorFlow graph, as `mm_tf.data.decoding` does."""

import tensorflow as tf

# As in `mm_tf.data.decoding`, whose rules these are.
_REDUCING_GAP = 2

# Parts of Pillow's luma, of 65,536.
_LUMA = (19595, 38470, 7471)


def decode(contents, image_size, channels):
    """Decodes files of images and brings them to one size.

    It is `mm_tf.data.decoding.decode` in TensorFlow's operations: the same box out of
    the centre, the same bicubic kernel without aliasing, large JPEGs at 1/2, 1/4 or
    1/8 of their size, what is transparent on white. It differs in this:

    - A camera's orientation (EXIF) is not applied.
    - Some pixels differ by 1 of 255. Where overshoot at a hard edge leaves 0 to 255
      it can be 30, since new releases of Pillow resize the rows of some images first.
    - Of a WebP or a GIF that is transparent, the colours below are shown.
    - WebP needs TensorFlow 2.21 or later.

    A file that is no image, or is cut off, is an `InvalidArgumentError`, of the whole
    batch.

    Args:
        contents: Files of images, strings [N]: JPEG, PNG, WebP, BMP or GIF.
        image_size: Height and width of the result.
        channels: 3 (RGB) or 1 (grey).

    Returns:
        `uint8` [N, height, width, channels].

    Example:

    >>> import io
    >>> import tensorflow as tf
    >>> from PIL import Image
    >>> from mm_tf.experiments.export_decoding import decode
    >>> file = io.BytesIO()
    >>> Image.new("RGB", (300, 200), "red").save(file, "PNG")
    >>> images = decode(tf.constant([file.getvalue()]), (32, 32), channels=3)
    >>> images.shape, images[0, 0, 0].numpy().tolist()
    (TensorShape([1, 32, 32, 3]), [255, 0, 0])
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
        ],
        default=lambda: tf.io.decode_image(
            content, channels=3, expand_animations=False
        ),
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

    return tf.case(
        [(times >= 8, at(8)), (times >= 4, at(4)), (times >= 2, at(2))],
        default=at(1),
    )


def _png(content):
    image = tf.cast(tf.io.decode_png(content, channels=4), tf.int32)
    color, alpha = image[..., :3], image[..., 3:]
    on_white = (color * alpha + 255 * (255 - alpha) + 127) // 255
    return tf.cast(on_white, tf.uint8)


def _fit(image, image_size):
    """The largest box of the size's proportions, resized; as Pillow's `fit`."""
    height, width = image_size
    shape = tf.cast(tf.shape(image)[:2], tf.float32)
    box = tf.minimum(
        shape, tf.stack([shape[1] * height / width, shape[0] * width / height])
    )
    pixels = tf.cast(image, tf.float32)
    # Columns first, then rows, and whole numbers in between: as Pillow, mostly.
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
