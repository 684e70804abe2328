"""Files of images that are made up, good ones and broken ones."""

import pathlib
import struct
import zlib

import numpy as np
from PIL import Image


def pixels(seed, width=12, height=10):
    """Random pixels, uint8 [height, width, 3]."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)


def save(path, seed=0, width=12, height=10, mode="RGB", **options):
    """Writes an image of random pixels, its folder too, and returns its path."""
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels(seed, width, height)).convert(mode).save(path, **options)
    return path


def save_classes(folder, counts, first_seed=0):
    """Writes PNG images, all different: `counts` is {class: number of images}."""
    seed = first_seed
    for name, count in counts.items():
        pathlib.Path(folder, name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            save(pathlib.Path(folder, name, f"{number:03}.png"), seed)
            seed += 1
    return pathlib.Path(folder)


def store_in_tfds(folder, name, splits, **features):
    """Prepares a data set of TensorFlow Datasets, with `picture` and `kind`.

    `splits` are {name: (images, labels)}, `features` those of `tfds`.
    """
    import tensorflow as tf
    import tensorflow_datasets as tfds

    def split(images, labels):
        def examples():
            for image, label in zip(images, labels, strict=True):
                yield {"picture": image, "kind": label}

        spec = {
            "picture": tf.TensorSpec([None, None, 3], tf.uint8),
            "kind": tf.TensorSpec([], tf.int64),
        }
        return tf.data.Dataset.from_generator(examples, output_signature=spec)

    tfds.dataset_builders.store_as_tfds_dataset(
        name=name,
        version="1.0.0",
        features=tfds.features.FeaturesDict(features),
        split_datasets={key: split(*value) for key, value in splits.items()},
        data_dir=str(folder),
        disable_shuffling=True,
    )


def png(width, height, color_type=2, data=b"", bit_depth=8, transparent=()):
    """The bytes of a PNG file that says it has this size, whatever its data.

    `transparent` is the color to which it gives no opacity.
    """

    def chunk(kind, content):
        checksum = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + checksum

    header = struct.pack(">IIBBBBB", width, height, bit_depth, color_type, 0, 0, 0)
    content = chunk(b"IHDR", header)
    if transparent:
        content += chunk(b"tRNS", struct.pack(f">{len(transparent)}H", *transparent))
    content += chunk(b"IDAT", zlib.compress(data))
    return b"\x89PNG\r\n\x1a\n" + content + chunk(b"IEND", b"")


# Files that no one can decode, by name: their content and a part of the reason.
BROKEN = {
    "empty.png": (b"", "the file is empty"),
    "text.jpg": (b"this is no image\n" * 9, "unknown image format"),
    "tiff.png": (b"II*\x00\x08\x00\x00\x00" + bytes(99), "unknown image format"),
    "postscript.jpg": (b"%!PS-Adobe-3.0 EPSF-3.0\n", "unknown image format"),
    "header.png": (png(9, 9)[:20], ""),
    "bomb.png": (png(30_000, 30_000), "pixels"),
    "large.png": (png(10_000, 10_000), "100,000,000 pixels, and at most 89,478,485"),
    "no data.png": (png(50, 50), ""),
}


def save_broken(folder):
    """Writes all of `BROKEN`, and a JPEG and a WebP that are cut off."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name, (content, _) in BROKEN.items():
        (folder / name).write_bytes(content)
    for name in ("cut.jpg", "cut.webp", "cut.gif", "cut.bmp"):
        whole = save(folder / name, width=80, height=60).read_bytes()
        (folder / name).write_bytes(whole[: len(whole) // 2])
    return sorted(folder.iterdir())
