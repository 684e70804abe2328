"""Wrong arguments of everything in `mm_tf.data`: refused by the argument's name."""

import dataclasses
from functools import partial

import numpy as np
import pytest
from helpers import check_refuses

from mm_tf.data import (
    ArrayBatches,
    DatasetInfo,
    EpochOrder,
    ImageBatches,
    ImageData,
    ImageFiles,
    ReadOptions,
    balanced_counts,
    class_counts,
    fit_data,
    holdout_counts,
    imbalanced,
    load,
    long_tailed_counts,
    prediction_data,
    read_csv,
    read_folder,
    read_npz,
    read_tfds,
    split_holdout,
    step_counts,
    subsample,
    training_pipeline,
)
from mm_tf.data.custom.folders import list_folder
from mm_tf.data.splits import stratified_split

NAN, INFINITY, HUGE = float("nan"), float("inf"), 10**400
IMAGES, LABELS = np.zeros((3, 2, 2, 1), np.uint8), np.array([0, 1, 1])
INFO = DatasetInfo("mine", 2, (2, 2, 1), 2, (0.5,), (0.5,), 0, False, "My own.")
DATA = ImageData(INFO, IMAGES, LABELS, IMAGES, LABELS, ("a", "b"))
PLACES = (None, "", b"photos", "missing")
OWN = ("folder", "csv", "npz")
ORDER = EpochOrder(LABELS, 2, seed=0)


counts_of = partial(class_counts, n_max=9, num_classes=2, ratio=1)
image_data = partial(dataclasses.replace, DATA)
image_files = partial(ImageFiles, paths=["a.png"], image_size=16)
drawn = partial(subsample, labels=[0, 1, 0], counts=[1, 1], seed=0)
order = partial(
    EpochOrder,
    labels=[0, 1, 2],
    batch_size=4,
    seed=0,
    class_weights=[1, 1, 1],
    resample_from=1,
)
held_out = partial(split_holdout, labels=[0] * 4, share=0.5, seed=0)
split_of = partial(stratified_split, labels=[0] * 4, test_fraction=0.5, seed=0)

# A call, one of its arguments, and values that it must refuse.
WRONG = [
    (counts_of, "imbalance", "exp", ["step"], "\udcff"),
    (partial(balanced_counts, num_classes=10), "n_max", 0),
    *(
        (partial(function, n_max=500, num_classes=10, ratio=10), *row)
        for function in (long_tailed_counts, step_counts)
        for row in (
            ("n_max", 0, 5.0, 10**30),
            ("num_classes", 1),
            ("ratio", 0, 0.99, INFINITY, NAN, HUGE, 501),
        )
    ),
    (drawn, "labels", [[0], [1, 2]], np.array([0, 2**63], "uint64")),
    (drawn, "labels", [[0, 1]], [0.0, 1.0], [], [False, True], [0, -1], [0, 1, 2]),
    (drawn, "counts", [1, 0], [1, 2], [1, 10**30]),
    (drawn, "seed", -1),
    (partial(imbalanced, data=DATA, seed=0), "counts", [1] * 3, 1),
    (partial(imbalanced, counts=[1, 1], seed=0), "data", "digits"),
    (order, "labels", [], [0.5], [[0]], [0, -1]),
    (order, "batch_size", 0, "2"),
    (order, "seed", -1),
    (order, "resample_from", -1),
    (order, "mixup", -1, NAN, "1"),
    (partial(order, mixup=1.0), "cutmix", -1, 1.0),
    (order, "num_classes", 2, 3.0),
    (order, "class_weights", None, [1.0, 1.0], [1, 1, -1], [1, 1, NAN], "abc"),
    (order, "class_weights", [0, 0, 0, 1], [[1, 1, 1]], [True] * 3),
    (ORDER.order, "epoch", -1, 1.0, True),
    (ORDER.batch, "step", -1, 1.0, True),
    *(
        (partial(make, images=IMAGES, labels=LABELS, order=ORDER, epochs=3), *row)
        for make in (training_pipeline, ArrayBatches, fit_data)
        for row in (
            ("images", np.zeros((7, 2, 2, 1)), [[1], [1, 2], [3]], ["a.png"] * 3),
            ("order", "shuffled"),
            ("labels", np.zeros(7, int), np.zeros(3), [0, 1, 2**31], [0, 1, 2**32 + 1]),
            ("epochs", 0),
            ("first_epoch", -1, 3),
            ("first_step", -1, 2),
        )
    ),
    (partial(ImageBatches, images=IMAGES), "labels", np.zeros(2, int)),
    (partial(ImageBatches, images=IMAGES), "batch_size", 0),
    (partial(prediction_data, images=IMAGES), "batch_size", 0.5),
    (image_data, "info", "mine"),
    (image_data, "train_images", np.zeros((3, 2, 2, 1)), [[1]]),
    (image_data, "test_images", np.zeros((4, 2, 2, 1), np.uint8)),
    (image_data, "train_labels", np.array([0, 1, 2])),
    (image_data, "test_labels", np.zeros(3, np.int32), np.array(3)),
    (image_data, "class_names", ("a",), "ab"),
    (image_files, "paths", "a.png", ["a.png", None]),
    (image_files, "image_size", 0, (8, 2.5), (8, 8, 3)),
    (image_files, "channels", 4),
    (image_files, "memory_limit", -1),
    (image_files, "num_threads", 0),
    (ReadOptions, "test_fraction", 0, 1),
    (ReadOptions, "split_seed", -1),
    (ReadOptions, "strict", 1),
    (ReadOptions, "verify", "no"),
    *(
        row
        for read in (read_folder, read_csv, read_npz)
        for row in (
            (lambda data_dir, read=read: read(data_dir), "data_dir", *PLACES),
            (lambda options, read=read: read("nowhere", options), "options", 32),
        )
    ),
    (list_folder, "data_dir", *PLACES),
    (lambda data_dir: read_folder(data_dir), "data_dir", __file__),
    (partial(load, name="cifar10"), "data_dir", "missing", __file__, 5, b"here"),
    (lambda options: read_tfds("nothing", options=options), "options", 32),
    (load, "name", "mnist", "tfds:", "tfds", "Folder", None, 3, ["digits"]),
    *((partial(load, name=n), "data_dir", None) for n in OWN),
    (partial(load, name="digits"), "options", ReadOptions()),
    (partial(holdout_counts, share=0.2), "counts", [5, 1, 1], []),
    (partial(holdout_counts, counts=[5, 5]), "share", 0, 1.0, NAN),
    (held_out, "labels", [0, 0, 2, 2]),
    (held_out, "seed", -1),
    (held_out, "contents", [1]),
    (split_of, "test_fraction", 1),
]


def name_of(row):
    return f"{getattr(row[0], 'func', row[0]).__name__}, {row[1]}"


@pytest.mark.parametrize("row", WRONG, ids=name_of)
def test_wrong_arguments_are_refused(row):
    check_refuses(*row)
