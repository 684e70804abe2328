"""Packs the images that the paper's settings draw into one small file.

    python benchmarks/packed_images.py --dataset=cifar10 --output=cifar10.npz

For a machine that has neither TensorFlow nor a network: the file holds the test
images and the training images that the four settings of a data set draw, as
lossless WebP mosaics of 100 images (62 MB for CIFAR-10). Subsets with smaller class
counts are nested in those with larger ones, so their union is small.
"""

import argparse
import io
import itertools

import numpy as np

from mm_tf import data as mm_data

IMAGES_A_ROW = 10
RATIOS = (10, 100)


def drawn_indices(labels, info, subset_seed):
    """Returns the indices of the training images that the four settings draw."""
    settings = itertools.product(("long_tailed", "step"), RATIOS)
    drawn = [
        mm_data.subsample(
            labels,
            mm_data.class_counts(
                imbalance, info.images_per_class, info.num_classes, ratio
            ),
            subset_seed,
        )
        for imbalance, ratio in settings
    ]
    return np.unique(np.concatenate(drawn))


def pack(data, path, subset_seed=0):
    """Writes an `ImageData` to an .npz, without the images that no setting draws."""
    index = drawn_indices(data.train_labels, data.info, subset_seed)
    arrays = {}
    for split, images in (
        ("train", data.train_images[index]),
        ("test", data.test_images),
    ):
        arrays[f"{split}_mosaics"], arrays[f"{split}_offsets"] = _to_mosaics(images)
    np.savez(
        path,
        dataset=data.info.name,
        subset_seed=subset_seed,
        train_index=index,
        train_labels=data.train_labels,
        test_labels=data.test_labels,
        class_names=np.array(data.class_names),
        **arrays,
    )


def dataset_of(path):
    """Returns the name of the data set whose images `pack` wrote."""
    with np.load(path, allow_pickle=False) as packed:
        return str(packed["dataset"])


def unpack(path):
    """Reads what `pack` wrote.

    Returns:
        (`ImageData` whose training images are black where they were not packed,
        the indices of those that were, the seed that drew them).
    """
    with np.load(path, allow_pickle=False) as packed:
        info = mm_data.DATASETS[str(packed["dataset"])]
        index = packed["train_index"]
        train_labels, test_labels = packed["train_labels"], packed["test_labels"]
        train_images = np.zeros((len(train_labels), *info.image_shape), "uint8")
        train_images[index] = _from_mosaics(packed, "train", len(index), info)
        data = mm_data.ImageData(
            info=info,
            train_images=train_images,
            train_labels=train_labels,
            test_images=_from_mosaics(packed, "test", len(test_labels), info),
            test_labels=test_labels,
            class_names=tuple(str(name) for name in packed["class_names"]),
        )
        return data, index, int(packed["subset_seed"])


def imbalanced(unpacked, counts):
    """Returns the subset with these class counts, all of it packed.

    Raises:
        ValueError: Some of its images were not packed.
    """
    data, index, subset_seed = unpacked
    drawn = mm_data.subsample(data.train_labels, counts, subset_seed)
    missing = np.setdiff1d(drawn, index)
    if missing.size:
        raise ValueError(
            f"{missing.size} images of this subset are not in the packed file. "
            f"Received: class counts {list(counts)}"
        )
    return mm_data.imbalanced(data, counts, subset_seed)


def _to_mosaics(images):
    import keras
    from PIL import Image

    blobs = []
    per_mosaic = IMAGES_A_ROW**2
    height, width, channels = images.shape[1:]
    progress = keras.utils.Progbar(len(images), unit_name="image")
    for start in range(0, len(images), per_mosaic):
        tiles = np.zeros((per_mosaic, height, width, 3), "uint8")
        part = images[start : start + per_mosaic]
        # WebP knows color images alone; one channel is repeated.
        tiles[: len(part)] = np.broadcast_to(part, (*part.shape[:3], 3))
        grid = tiles.reshape(IMAGES_A_ROW, IMAGES_A_ROW, height, width, 3)
        mosaic = grid.transpose(0, 2, 1, 3, 4).reshape(
            IMAGES_A_ROW * height, IMAGES_A_ROW * width, 3
        )
        file = io.BytesIO()
        Image.fromarray(mosaic).save(file, "WEBP", lossless=True, method=6, quality=100)
        blobs.append(file.getvalue())
        progress.add(len(part))
    offsets = np.cumsum([0, *(len(blob) for blob in blobs)])
    return np.frombuffer(b"".join(blobs), "uint8"), offsets


def _from_mosaics(packed, split, count, info):
    from PIL import Image

    blob, offsets = packed[f"{split}_mosaics"].tobytes(), packed[f"{split}_offsets"]
    height, width, channels = info.image_shape
    images = []
    for start, end in itertools.pairwise(offsets):
        mosaic = np.asarray(Image.open(io.BytesIO(blob[start:end])).convert("RGB"))
        grid = mosaic.reshape(IMAGES_A_ROW, height, IMAGES_A_ROW, width, 3)
        tiles = grid.transpose(0, 2, 1, 3, 4).reshape(-1, height, width, 3)
        images.append(tiles[..., :channels])
    return np.concatenate(images)[:count]


def main():
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", default="cifar10", choices=tuple(mm_data.DATASETS))
    parser.add_argument("--data_dir", help="where tfds keeps data sets")
    parser.add_argument("--output", required=True, help="the .npz to write")
    parser.add_argument("--subset_seed", type=int, default=0)
    arguments = parser.parse_args()
    try:
        data = mm_data.load(arguments.dataset, arguments.data_dir)
        pack(data, arguments.output, arguments.subset_seed)
    except (OSError, ValueError, mm_data.DatasetUnavailableError) as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
