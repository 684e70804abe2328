"""The usual input pipeline in PyTorch: each image is augmented by itself, in workers.

What the code of Cao et al. does with torchvision (pad 4, random crop, random flip, to a
tensor, normalize), written with Pillow and torch, as torchvision has no release for
the torch that is compared with.
"""

import random

import numpy as np
import torch
from PIL import Image, ImageOps

from mm_tf.data import DATASETS

PADDING = 4


class Images(torch.utils.data.Dataset):
    """Images uint8 [N, height, width, 3] and their labels, one by one."""

    def __init__(self, images, labels, augment):
        self._images, self._labels, self._augment = images, labels, augment
        info = DATASETS["cifar10"]
        self._mean = torch.tensor(info.mean).reshape(3, 1, 1)
        self._std = torch.tensor(info.std).reshape(3, 1, 1)

    def __len__(self):
        return len(self._labels)

    def __getitem__(self, index):
        image = Image.fromarray(self._images[index])
        if self._augment:
            image = _augmented(image)
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()
        return (pixels.float().div(255) - self._mean) / self._std, self._labels[index]


def _augmented(image):
    width, height = image.size
    padded = ImageOps.expand(image, border=PADDING)
    left, top = random.randint(0, 2 * PADDING), random.randint(0, 2 * PADDING)
    image = padded.crop((left, top, left + width, top + height))
    return ImageOps.mirror(image) if random.random() < 0.5 else image


def loader(images, labels, batch_size, workers, training):
    """Returns a `DataLoader`, as the code of Cao et al. makes it."""
    return torch.utils.data.DataLoader(
        Images(images, labels, augment=training),
        batch_size=batch_size,
        shuffle=training,
        num_workers=workers,
    )
