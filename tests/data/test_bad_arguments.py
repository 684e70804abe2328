"""Wrong arguments of everything in `mm_tf.data`: refused by the argument's name."""

import dataclasses

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


def with_defaults(call, **defaults):
    """The same call, for which one argument is enough."""

    def called(**argument):
        return call(**{**defaults, **argument})

    called.__name__ = call.__name__
    return called


def counts_of(call):
    return with_defaults(call, n_max=500, num_classes=10, ratio=10)


def batches_of(call):
    return with_defaults(call, images=IMAGES, labels=LABELS, order=ORDER, epochs=3)


def image_data(**changed):
    return dataclasses.replace(DATA, **changed)


image_files = with_defaults(ImageFiles, paths=["a.png"], image_size=16)
drawn = with_defaults(subsample, labels=[0, 1, 0], counts=[1, 1], seed=0)
order = with_defaults(
    EpochOrder,
    labels=[0, 1, 2],
    batch_size=4,
    seed=0,
    class_weights=[1, 1, 1],
    resample_from=1,
)
held_out = with_defaults(split_holdout, labels=[0] * 4, share=0.5, seed=0)
split_of = with_defaults(stratified_split, labels=[0] * 4, test_fraction=0.5, seed=0)

# A call, one of its arguments, and values that it must refuse.
WRONG = [
    (counts_of(class_counts), "imbalance", "exp", ["step"], "\udcff"),
    (with_defaults(balanced_counts, num_classes=10), "n_max", 0),
    *(
        (counts_of(function), *row)
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
    (with_defaults(imbalanced, data=DATA, seed=0), "counts", [1] * 3, 1),
    (with_defaults(imbalanced, counts=[1, 1], seed=0), "data", "digits"),
    (order, "labels", [], [0.5], [[0]], [0, -1]),
    (order, "batch_size", 0, "2"),
    (order, "seed", -1),
    (order, "resample_from", -1),
    (order, "class_weights", None, [1.0, 1.0], [1, 1, -1], [1, 1, NAN], "abc"),
    (order, "class_weights", [0, 0, 0, 1], [[1, 1, 1]], [True] * 3),
    (ORDER.order, "epoch", -1, 1.0, True),
    (ORDER.batch, "step", -1, 1.0, True),
    *(
        (batches_of(make), *row)
        for make in (training_pipeline, ArrayBatches, fit_data)
        for row in (
            ("images", np.zeros((7, 2, 2, 1)), [[1], [1, 2], [3]], ["a.png"] * 3),
            ("order", "shuffled"),
            ("labels", np.zeros(7, int), np.zeros(3)),
            ("epochs", 0),
            ("first_epoch", -1, 3),
            ("first_step", -1, 2),
        )
    ),
    (with_defaults(ImageBatches, images=IMAGES), "labels", np.zeros(2, int)),
    (with_defaults(ImageBatches, images=IMAGES), "batch_size", 0),
    (with_defaults(prediction_data, images=IMAGES), "batch_size", 0.5),
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
    (with_defaults(load, name="cifar10"), "data_dir", "missing", __file__, 5, b"here"),
    (lambda options: read_tfds("nothing", options=options), "options", 32),
    (load, "name", "mnist", "tfds:", "tfds", "Folder", None, 3, ["digits"]),
    *((with_defaults(load, name=n), "data_dir", None) for n in OWN),
    (with_defaults(load, name="digits"), "options", ReadOptions()),
    (with_defaults(holdout_counts, share=0.2), "counts", [5, 1, 1], []),
    (with_defaults(holdout_counts, counts=[5, 5]), "share", 0, 1.0, NAN),
    (held_out, "labels", [0, 0, 2, 2]),
    (held_out, "seed", -1),
    (held_out, "contents", [1]),
    (split_of, "test_fraction", 1),
]


@pytest.mark.parametrize("row", WRONG, ids=lambda row: f"{row[0].__name__}, {row[1]}")
def test_wrong_arguments_are_refused(row):
    check_refuses(*row)
