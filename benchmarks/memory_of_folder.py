"""Measures the memory that a folder of images takes, against the bound of the docs.

    python benchmarks/memory_of_folder.py                 # 50,000 images, some minutes
    python benchmarks/memory_of_folder.py --num_images=4000 --output=trial.json

Makes a folder of small JPEG files, all different, and goes through it in processes of
their own: all of `data.load`, an epoch of `fit_data` and all of `prediction_data`
(`data`), and the command `run` for an epoch (`run`), each with the default
`memory_limit` and with a small one. What a process had at most (`ru_maxrss`) must stay
below

    base + min(memory_limit, N x height x width x channels) + 2 KiB x N

where the base, measured too, is the same on 1,024 images of which none is kept:
interpreter, TensorFlow, the network, the batches that are made ahead and the images
that are being decoded. Exits with 1 where the bound does not hold.
"""

import argparse
import datetime
import json
import os
import pathlib
import subprocess
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor

import numpy as np

OUTPUT = pathlib.Path(__file__).parent / "results" / "memory_of_folder.json"

BASE_IMAGES = 1024
CLASSES = 8
SIDES = 40, 64
BATCH_SIZE = 128
# Height and width that the images are brought to. A run is a smaller one, for its
# network's sake.
IMAGE_SIZES = {"data": 64, "run": 32}
SMALL_LIMITS = {"data": 2**26, "run": 2**24}
BYTES_PER_IMAGE = 2**11


def make_folder(folder, num_images, processes=None):
    """Writes JPEG files of made-up images, all different, `CLASSES` folders of them.

    Args:
        folder: Where.
        num_images: How many; the classes have the same number, or one fewer.
        processes: That write them; by default as many as there are cores.
    """
    paths = []
    for label in range(CLASSES):
        place = pathlib.Path(folder, f"class{label}")
        place.mkdir(parents=True)
        paths += [
            (str(place / f"{number:06}.jpg"), number)
            for number in range(label, num_images, CLASSES)
        ]
    with ProcessPoolExecutor(processes) as pool:
        list(pool.map(_make_image, paths, chunksize=500))


def _make_image(path_and_seed):
    from PIL import Image

    path, seed = path_and_seed
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8))
    size = rng.integers(*SIDES, size=2, endpoint=True).tolist()
    coarse.resize(size, Image.Resampling.BICUBIC).save(path, quality=85)


def go_through(folder, image_size, memory_limit):
    """Loads a folder and takes all of its batches: an epoch, and the test images."""
    from mm_tf import data

    options = data.ReadOptions(image_size=image_size, memory_limit=memory_limit)
    photos = data.load("folder", folder, options)
    order = data.EpochOrder(photos.train_labels, BATCH_SIZE, seed=0)
    seen = 0
    batches = data.fit_data(photos.train_images, photos.train_labels, order, epochs=1)
    for images, _ in batches:
        seen += len(images)
    for images in data.prediction_data(photos.test_images, BATCH_SIZE):
        seen += len(images)
    print(f"{seen} images")


def peak(arguments):
    """The most memory that a command had, and its seconds of CPU time.

    Linux counts what this process had when it began the other one as that one's: a
    process that holds little has to ask, as this one does.

    Args:
        arguments: What stands behind `python`.

    Returns:
        (bytes, seconds, what it printed).

    Raises:
        subprocess.CalledProcessError: If it fails.
    """
    command = [sys.executable, *arguments]
    with tempfile.TemporaryFile() as printed:
        process = subprocess.Popen(
            command,
            stdout=printed,
            stderr=subprocess.STDOUT,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        )
        # `wait` of `subprocess` does not tell what the process had.
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        printed.seek(0)
        text = printed.read().decode(errors="replace")
    if process.returncode:
        print(text, file=sys.stderr)
        raise subprocess.CalledProcessError(process.returncode, command)
    unit = 1 if sys.platform == "darwin" else 1024
    return usage.ru_maxrss * unit, usage.ru_utime + usage.ru_stime, text


def arguments_of(case, folder, memory_limit, scratch):
    """What stands behind `python` to measure a case.

    Args:
        case: `"data"` or `"run"`.
        folder: The images.
        memory_limit: Bytes.
        scratch: Where a run may be kept.
    """
    if case == "data":
        return [
            __file__,
            f"--go_through={folder}",
            f"--image_size={IMAGE_SIZES[case]}",
            f"--memory_limit={memory_limit}",
        ]
    return [
        *("-m", "mm_tf.experiments.run", "--dataset=folder", f"--data_dir={folder}"),
        *("--epochs=1", "--model=resnet8", f"--batch_size={BATCH_SIZE}"),
        f"--image_size={IMAGE_SIZES[case]}",
        f"--output_dir={tempfile.mkdtemp(dir=scratch)}/run",
        f"--memory_limit={memory_limit}",
    ]


def measure(num_images, cases, scratch):
    """Measures the cases on a folder that is made for it.

    Args:
        num_images: Images of the folder.
        cases: Of `IMAGE_SIZES`.
        scratch: A folder to work in.

    Returns:
        Rows of `memory_of_folder.json`.
    """
    from mm_tf.data.images.image_files import MEMORY_LIMIT

    folders = {}
    for number in (BASE_IMAGES, num_images):
        folders[number] = os.path.join(scratch, f"images{number}")
        make_folder(folders[number], number)
    rows = []
    for case in cases:
        all_images = num_images * IMAGE_SIZES[case] ** 2 * 3
        given = arguments_of(case, folders[BASE_IMAGES], 0, scratch)
        base, _, _ = peak(given)
        for limit in (MEMORY_LIMIT, SMALL_LIMITS[case]):
            given = arguments_of(case, folders[num_images], limit, scratch)
            most, seconds, _ = peak(given)
            kept = min(limit, all_images)
            bound = base + kept + BYTES_PER_IMAGE * num_images
            rows.append(
                {
                    "case": case,
                    "num_images": num_images,
                    "image_size": IMAGE_SIZES[case],
                    "memory_limit": limit,
                    "bytes_of_all_images": all_images,
                    "base_bytes": base,
                    "bound_bytes": bound,
                    "peak_bytes": most,
                    "is_within_bound": most <= bound,
                    "cpu_seconds": seconds,
                }
            )
            print(line(rows[-1]), flush=True)
    return rows


def line(row):
    """A row in words."""
    mebibytes = {
        name: f"{row[f'{name}_bytes'] / 2**20:,.0f} MiB"
        for name in ("peak", "bound", "base")
    }
    return (
        f"{row['case']}, {row['num_images']:,} images of "
        f"{row['bytes_of_all_images'] / 2**20:,.0f} MiB, memory_limit "
        f"{row['memory_limit'] / 2**20:,.0f} MiB: peak {mebibytes['peak']}, "
        f"bound {mebibytes['bound']} (base {mebibytes['base']})"
        f"{'' if row['is_within_bound'] else '  TOO MUCH'}"
    )


def main(arguments=None):
    """The command.

    Args:
        arguments: What stands behind the command's name; by default what it was
            called with.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--num_images", type=int, default=50_000)
    parser.add_argument("--cases", default=",".join(IMAGE_SIZES), help="data,run")
    parser.add_argument("--output", default=str(OUTPUT), help="the JSON to write")
    # What a process of its own is asked for.
    parser.add_argument("--go_through", metavar="FOLDER", help=argparse.SUPPRESS)
    parser.add_argument("--image_size", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--memory_limit", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.go_through:
        go_through(given.go_through, given.image_size, given.memory_limit)
        return
    cases = given.cases.split(",")
    unknown = set(cases) - set(IMAGE_SIZES)
    if unknown:
        parser.error(
            f"--cases must be of {', '.join(IMAGE_SIZES)}. Received: {given.cases}"
        )
    if given.num_images < BASE_IMAGES:
        parser.error(
            f"--num_images must be >= {BASE_IMAGES}. Received: {given.num_images}"
        )
    from mm_tf import _files
    from mm_tf.experiments.machine import environment

    with tempfile.TemporaryDirectory() as scratch:
        rows = measure(given.num_images, cases, scratch)
    found = {
        "ended": datetime.datetime.now(datetime.UTC).isoformat("T", "seconds"),
        "device": environment.device(),
        "versions": environment.versions(),
        "rows": rows,
    }
    _files.write_text(pathlib.Path(given.output), json.dumps(found, indent=1) + "\n")
    print(f"Written: {given.output}")
    if not all(row["is_within_bound"] for row in rows):
        sys.exit(1)


if __name__ == "__main__":
    main()
