"""A head that gives cosines, on any backbone."""

import warnings

import keras

from mm_tf import _checks, backbones
from mm_tf.models import parts


@backbones.channels_last()
def with_cosine_head(
    backbone,
    num_classes,
    head="normalized",
    scaling=None,
    crop_padding=0,
    horizontal_flip=False,
    seed=None,
    name=None,
    augmentation=(),
):
    """Puts a head that gives cosines on a backbone, as the margin losses need it.

    Images are padded, cropped and flipped at random in training if asked for, scaled
    as the backbone expects, and passed to it; maps of features are averaged over
    the image. The layer named `features` is the pooled features, `head` gives the
    outputs. The backbone itself is one layer of the model, with its weights: freeze
    it with `backbone.trainable = False`, or for the first epochs with
    `mm_tf.callbacks.FrozenBackbone`.

    Args:
        backbone: A `keras.Model`, images [N, height, width, channels] of known sizes
            in, features [N, D] or maps of features [N, h, w, D] out, without its top.
            Its layers are for channels last.
        num_classes: The number of classes K, >= 2.
        head: `"normalized"` for cosines [N, K] (`NormalizedDense`) or `"linear"` for
            logits [N, K]. Defaults to `"normalized"`.
        scaling: What the backbone expects: `"inside"`, pixels from 0 to 255, or
            what `keras.applications` calls `"tf"`, `"torch"` or `"caffe"`; see
            `mm_tf.backbones.scale`. Defaults to `None`: what a network of
            `keras.applications` under the name that Keras gives it expects, and
            else `"inside"`, with a warning if the backbone begins with a convolution.
        crop_padding: Pixels of black on every side before a crop in training, >= 0.
            Defaults to 0, no crop.
        horizontal_flip: Whether images are mirrored at random in training. Defaults
            to `False`.
        seed: An integer >= 0, for the same head, crops and flips in every run.
            Defaults to `None`, others in each.
        name: The model's name. Defaults to `None`, that of the backbone and
            `_with_head`.
        augmentation: More layers that change images at random in training, behind
            crops and flips, as `mm_tf.layers.Cutout(16)`. Defaults to none.

    Returns:
        A `keras.Model`, pixels from 0 to 255 [N, height, width, channels] in (uint8
        or float), outputs [N, K] out.

    Raises:
        ValueError: An argument is not as described.

    Example:

    >>> import keras
    >>> import numpy as np
    >>> import mm_tf
    >>> backbone = keras.Sequential(
    ...     [
    ...         keras.Input([24, 24, 3]),
    ...         keras.layers.Rescaling(1 / 255),
    ...         keras.layers.Conv2D(8, 3, activation="relu"),
    ...     ]
    ... )
    >>> model = mm_tf.models.with_cosine_head(backbone, num_classes=5)
    >>> cosines = model.predict(np.zeros((2, 24, 24, 3), "uint8"), verbose=0)
    >>> cosines.shape, bool(abs(cosines).max() <= 1)
    ((2, 5), True)
    """
    num_classes = _checks.check_integer("num_classes", num_classes, low=2)
    _checks.check_choice("head", head, parts.HEADS)
    if scaling is not None:
        _checks.check_choice("scaling", scaling, backbones.SCALINGS)
    _checks.check_integer("crop_padding", crop_padding, low=0)
    _checks.check_bool("horizontal_flip", horizontal_flip)
    input_shape = parts.shape_of_images("backbone", backbone)
    _check_is_without_top(backbone)
    if scaling is None:
        scaling = _expected_scaling(backbone)
    if scaling in ("torch", "caffe") and input_shape[-1] != 3:
        raise ValueError(
            f"`scaling` {scaling!r} is for three channels. "
            f"Received: a backbone with {input_shape[-1]}"
        )
    seeds = parts.layer_seeds(seed)
    inputs = keras.Input(input_shape, name="images")
    x = inputs
    if crop_padding or horizontal_flip or augmentation:
        x = parts.augment(x, crop_padding, horizontal_flip, augmentation, seeds)
    x = backbone(backbones.scale(x, scaling))
    if len(x.shape) == 4:
        x = keras.layers.GlobalAveragePooling2D(name="features")(x)
    elif len(x.shape) == 2:
        x = keras.layers.Identity(name="features")(x)
    else:
        raise ValueError(
            "`backbone` must give features [N, D] or [N, h, w, D]. "
            f"Received: outputs of the shape {x.shape}"
        )
    outputs = parts.head_on(x, num_classes, head, seeds)
    return keras.Model(inputs, outputs, name=name or f"{backbone.name}_with_head")


def _check_is_without_top(backbone):
    last = backbone.layers[-1]
    activation = getattr(getattr(last, "activation", None), "__name__", None)
    if activation == "softmax" or last.name.endswith(("predictions", "head_dense")):
        raise ValueError(
            "`backbone` must give features, without its top (`include_top=False` in "
            f"keras.applications). Received: a backbone whose last layer, {last.name}, "
            "gives the outputs of classes"
        )


def _expected_scaling(backbone):
    scaling = backbones.scaling_of(backbone)
    if scaling is None:
        warnings.warn(
            "`scaling` is not given, and the backbone begins with a convolution: it "
            "gets pixels from 0 to 255. If it expects others, scale them in it or give "
            f"what it expects, one of {', '.join(backbones.SCALINGS)}; 'inside' if "
            f"0 to 255 is right. Received: backbone={backbone.name!r}",
            stacklevel=4,  # The caller of `with_cosine_head`, which is wrapped.
        )
        return "inside"
    return scaling
