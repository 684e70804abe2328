"""Makes a folder of real photographs to try the commands on.

    python examples/make_photos.py --output=photos

A folder as people have them, made from CIFAR-100: JPEG files of uneven sizes, a
folder for each class, most of them with few images, `train/` beside `test/`, and in
`new/` a photograph of each class that is in neither, to ask a model about. A few
things are wrong on purpose: files that cannot be read, images that are there twice,
and a test image that is among the training images too. They are listed at the end.

CIFAR-100 comes through TensorFlow Datasets, which downloads it on first use. The
photographs are its 32 x 32 pixels, enlarged and cropped: real ones, but blurred. The
same arguments give the same pixels again.
"""

import argparse
import os
import pathlib
import shutil
import sys
import tempfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from PIL import Image

from mm_tf import data as mm_data

CLASSES = ("bicycle", "bottle", "castle", "orange", "road", "rose", "tank", "wolf")
TEST_IMAGES = 50
# Of the shorter side, in pixels, and of the longer one by the shorter.
SIDES = 40, 160
PROPORTIONS = 1.0, 1.5


def photograph(pixels, rng):
    """Enlarges an image, and crops it to a size of its own.

    Args:
        pixels: uint8 [height, width, 1 or 3].
        rng: A `numpy.random.Generator`, which draws the size.

    Returns:
        A `PIL.Image.Image`.
    """
    height, width, channels = pixels.shape
    image = Image.fromarray(pixels.squeeze(-1) if channels == 1 else pixels)
    side = int(rng.integers(*SIDES, endpoint=True))
    scale = side * PROPORTIONS[1] / min(height, width)
    image = image.resize((round(width * scale), round(height * scale)), Image.BICUBIC)
    longer = min(int(side * rng.uniform(*PROPORTIONS)), *image.size)
    size = (longer, side) if rng.random() < 0.5 else (side, longer)
    corner = [(whole - part) // 2 for whole, part in zip(image.size, size, strict=True)]
    box = *corner, corner[0] + size[0], corner[1] + size[1]
    return image.crop(box).convert("RGB")


def write_photos(folder, data, classes, counts, test_images, seed):
    """Writes the photographs of a data set, all of them good.

    Args:
        folder: Where; `train/CLASS/0000.jpg` and so on, and `new/CLASS.jpg`, of the
            test images that are left over.
        data: An `mm_tf.data.ImageData`.
        classes: Names of classes of it, [K].
        counts: Training images of each, [K].
        test_images: Test images of each.
        seed: Of the choice of images, and of their sizes and qualities.

    Raises:
        ValueError: If a class has fewer images than that.
    """
    rng = np.random.default_rng(seed)
    left_over = {}
    # Of each class, how many are written and how many are left for `new/`.
    for split, wanted, spare in (
        ("train", counts, 0),
        ("test", [test_images] * len(classes), 1),
    ):
        images = getattr(data, f"{split}_images")
        labels = getattr(data, f"{split}_labels")
        for name, count in zip(classes, wanted, strict=True):
            members = np.flatnonzero(labels == data.class_names.index(name))
            if count + spare > len(members):
                raise ValueError(
                    f"The class {name} has {len(members)} {split} images. "
                    f"Received: {count + spare} wanted"
                )
            drawn = rng.permutation(members)
            for number, chosen in enumerate(drawn[:count]):
                path = pathlib.Path(folder, split, name, f"{number:04}.jpg")
                _write(path, images[chosen], rng)
            if spare:
                left_over[name] = images[drawn[count]]
    for name, pixels in left_over.items():
        _write(pathlib.Path(folder, "new", f"{name}.jpg"), pixels, rng)


def _write(path, pixels, rng):
    path.parent.mkdir(parents=True, exist_ok=True)
    quality = int(rng.integers(70, 95, endpoint=True))
    photograph(pixels, rng).save(path, quality=quality)


def plant_problems(folder, classes):
    """Adds what is wrong in many a folder of photographs.

    Args:
        folder: Of `write_photos`, with two images or more in `train/` and `test/` of
            the first class, and in `train/` of the last one.
        classes: As there.

    Returns:
        Pairs (file, what is wrong with it).
    """
    folder = pathlib.Path(folder)
    common, rare = pathlib.Path("train", classes[0]), pathlib.Path("train", classes[-1])
    whole = (folder / common / "0001.jpg").read_bytes()
    planted = [
        (common / "cut_off.jpg", "corrupt: a download that broke off"),
        (common / "empty.jpg", "corrupt: an empty file"),
        (rare / "page.jpg", "corrupt: a web page named as an image"),
        (common / "0000_copy.jpg", f"duplicate of {common / '0000.jpg'}"),
        (rare / "0000.png", f"duplicate of {rare / '0000.jpg'}, in another format"),
        (
            pathlib.Path("test", classes[0], "again.jpg"),
            f"leak: the training image {common / '0001.jpg'}",
        ),
    ]
    cut_off, empty, page, copy, converted, leak = (folder / file for file, _ in planted)
    cut_off.write_bytes(whole[: len(whole) // 2])
    empty.touch()
    page.write_text("<html><body>404: not found</body></html>\n")
    shutil.copyfile(folder / common / "0000.jpg", copy)
    with Image.open(folder / rare / "0000.jpg") as image:
        image.save(converted)
    leak.write_bytes(whole)
    return planted


def make_photos(output, data, classes, counts, test_images, seed):
    """Makes the whole folder, which takes its name when it is complete.

    Args:
        output: The folder, which must not be there.
        data: As for `write_photos`, and so are all others.
        classes: Names of classes.
        counts: Training images of each.
        test_images: Test images of each.
        seed: Of all that is drawn.

    Returns:
        Pairs (file, what is wrong with it).

    Raises:
        ValueError: As `write_photos`.
        OSError: If the folder cannot be written.
    """
    output = pathlib.Path(output)
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=".photos") as unfinished:
        new = pathlib.Path(unfinished, "photos")
        write_photos(new, data, classes, counts, test_images, seed)
        planted = plant_problems(new, classes)
        os.rename(new, output)
    return planted


def main(arguments=None):
    """The command.

    Args:
        arguments: What stands behind the command's name; by default what it was
            called with.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", required=True, help="the folder to make")
    parser.add_argument(
        "--classes",
        default=",".join(CLASSES),
        help="names of classes of CIFAR-100, the largest first; default %(default)s",
    )
    parser.add_argument(
        "--images_of_largest",
        type=int,
        default=400,
        help="training images of the first class, 2 to 500; default 400",
    )
    parser.add_argument(
        "--ratio",
        type=float,
        default=40,
        help="of the largest class to the smallest, which has 2 images or more; "
        "default 40",
    )
    parser.add_argument("--seed", type=int, default=0, help="of all that is drawn")
    given = parser.parse_args(arguments)
    output = pathlib.Path(given.output).expanduser()
    if output.exists() or not output.resolve().parent.is_dir():
        parser.error(
            "--output must be a new folder in one that there is. "
            f"Received: {given.output}"
        )
    classes = given.classes.split(",")
    if len(classes) < 2 or len(set(classes)) < len(classes):
        parser.error(
            f"--classes must be two names or more, all different. "
            f"Received: {given.classes}"
        )
    if given.seed < 0:
        parser.error(f"--seed must be >= 0. Received: {given.seed}")
    if not 2 <= given.images_of_largest <= 500:
        parser.error(
            f"--images_of_largest must be 2 to 500. Received: {given.images_of_largest}"
        )
    if not 1 <= given.ratio <= given.images_of_largest / 2:
        parser.error(
            "--ratio must be at least 1, and leave 2 images of the last class. "
            f"Received: {given.ratio}"
        )
    try:
        data = mm_data.load("cifar100")
    except mm_data.DatasetUnavailableError as error:
        sys.exit(f"{parser.prog}: {error}")
    unknown = sorted(set(classes) - set(data.class_names))
    if unknown:
        parser.error(
            f"--classes must be of {', '.join(data.class_names)}. "
            f"Received: {', '.join(unknown)}"
        )
    counts = mm_data.long_tailed_counts(
        given.images_of_largest, len(classes), given.ratio
    )
    try:
        planted = make_photos(output, data, classes, counts, TEST_IMAGES, given.seed)
    except OSError as error:
        parser.error(f"--output cannot be written ({error}). Received: {given.output}")
    print("Training images:")
    for name, count in zip(classes, counts, strict=True):
        print(f"  {name:16} {count:4}")
    print(f"Test images: {TEST_IMAGES} of each class; new ones: 1 of each")
    print("Wrong on purpose:")
    for file, what in planted:
        print(f"  {file}: {what}")
    print(f"Written: {given.output}")


if __name__ == "__main__":
    main()
