"""The shape of a data set's images, known before any is decoded."""

import os

from mm_tf.data.custom import npz, tfds
from mm_tf.data.custom.image_files import check_image_size
from mm_tf.data.custom.options import DEFAULT_SIZE, ReadOptions, check_options
from mm_tf.data.loading import DATASETS, TFDS_PREFIX, check_name


def image_shape(
    name: str,
    data_dir: str | os.PathLike[str] | None = None,
    options: ReadOptions | None = None,
) -> tuple[int, int, int]:
    """Height, width and channels of the images that `load` gives for these arguments.

    Of an archive its header is read, of a data set of `tfds` what is known of it. One
    that is not there is downloaded and prepared.
    """
    check_name(name)
    if name in DATASETS:
        return DATASETS[name].image_shape
    options = check_options(options)
    if name.startswith(TFDS_PREFIX):
        return tfds.image_shape(name.removeprefix(TFDS_PREFIX), data_dir, options)
    if name == "npz":
        if data_dir is None:
            raise ValueError(
                "`data_dir` must say where the archive is. Received: data_dir=None"
            )
        return npz.image_shape(data_dir)
    height, width = check_image_size(options.image_size or DEFAULT_SIZE)
    return height, width, options.channels or 3
