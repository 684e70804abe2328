"""Data sets, imbalanced subsets of them, and batches for `model.fit`.

The names of `mm_tf.data.pipeline` and `mm_tf.data.prediction` need Keras, which is
imported when one of them is first used. Everything else needs only NumPy until images
are read.
"""

import sys
from typing import TYPE_CHECKING, Any

from mm_tf.data import splits as splitting
from mm_tf.data.custom import csv_file as tables
from mm_tf.data.custom import folders
from mm_tf.data.custom.assembly import DataWarning
from mm_tf.data.custom.csv_file import read_csv
from mm_tf.data.custom.folders import read_folder
from mm_tf.data.custom.npz import read_npz
from mm_tf.data.custom.options import ReadOptions
from mm_tf.data.custom.tfds import read_tfds
from mm_tf.data.dataset import DATASETS, DatasetInfo, ImageData, imbalanced
from mm_tf.data.images.decoding import ImageFileError
from mm_tf.data.images.image_files import ImageFiles
from mm_tf.data.imbalance import (
    IMBALANCES,
    balanced_counts,
    class_counts,
    long_tailed_counts,
    step_counts,
    subsample,
)
from mm_tf.data.loading import load
from mm_tf.data.order import EpochOrder
from mm_tf.data.prepared import DatasetUnavailableError
from mm_tf.data.splits import hold_out, holdout_counts, split_holdout

if TYPE_CHECKING:
    from mm_tf.data.pipeline import ArrayBatches, fit_data, training_pipeline
    from mm_tf.data.prediction import ImageBatches, prediction_data

# Modules that the pages of version 0.1.0 name.
sys.modules |= {
    "mm_tf.data.folders": folders,
    "mm_tf.data.tables": tables,
    "mm_tf.data.splitting": splitting,
}

__all__ = [
    "DATASETS",
    "IMBALANCES",
    "ArrayBatches",
    "DataWarning",
    "DatasetInfo",
    "DatasetUnavailableError",
    "EpochOrder",
    "ImageBatches",
    "ImageData",
    "ImageFileError",
    "ImageFiles",
    "ReadOptions",
    "balanced_counts",
    "class_counts",
    "fit_data",
    "hold_out",
    "holdout_counts",
    "imbalanced",
    "load",
    "long_tailed_counts",
    "prediction_data",
    "read_csv",
    "read_folder",
    "read_npz",
    "read_tfds",
    "split_holdout",
    "step_counts",
    "subsample",
    "training_pipeline",
]


def __getattr__(name: str) -> Any:
    # The other names are here already.
    if name in __all__:
        from mm_tf.data import pipeline, prediction

        return getattr(pipeline if hasattr(pipeline, name) else prediction, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
