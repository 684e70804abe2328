"""Training steps to compare: on Keras's backend, and in plain PyTorch."""

import dataclasses
import functools

import numpy as np

from mm_tf.experiments.config.fields import MODEL_DEPTHS

# {name: what of the network or of its steps is not as its authors wrote it}.
TORCH_KINDS = {
    "eager": set(),
    "channels_last": {"channels_last"},
    "compiled": {"channels_last", "compiled"},
    "bfloat16": {"channels_last", "bfloat16"},
    "compiled_bfloat16": {"channels_last", "compiled", "bfloat16"},
}


def keras_steps(config, info):
    """Returns a function that trains n steps as a run does, and waits for their end.

    As many at once as the config says, one if it says nothing; n must be a multiple.
    """
    # Here, as a process of PyTorch alone is to have no Keras.
    from mm_tf.data import EpochOrder, fit_data
    from mm_tf.experiments.runs import training

    # An epoch here is of any number of steps.
    at_once = config.steps_per_execution or 1
    config = dataclasses.replace(config, steps_per_execution=at_once)
    model = training.build_model(config, info)
    generator = np.random.default_rng(0)

    @functools.cache
    def examples(count):
        images = generator.integers(0, 256, (count, *info.image_shape), "uint8")
        return images, generator.integers(0, info.num_classes, count)

    def train(count):
        if count % at_once:
            raise ValueError(
                f"`count` must be a multiple of {at_once}. Received: count={count}"
            )
        images, labels = examples(count * config.batch_size)
        order = EpochOrder(labels, config.batch_size, seed=0)
        model.fit(
            fit_data(images, labels, order, epochs=1),
            steps_per_epoch=count,
            shuffle=False,
            verbose=0,
        )

    return train


def torch_network(config, info, kind):
    """Returns (network, optimizer, device, memory format) in PyTorch."""
    import torch
    from torch_resnet import ResNet

    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.backends.cudnn.benchmark = True
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    is_last = "channels_last" in TORCH_KINDS[kind]
    layout = torch.channels_last if is_last else torch.contiguous_format
    channels = info.image_shape[-1]
    network = ResNet(info.num_classes, MODEL_DEPTHS[config.model], channels)
    network = network.to(device, memory_format=layout)
    optimizer = torch.optim.SGD(
        network.parameters(), lr=0.01, momentum=0.9, weight_decay=2e-4
    )
    return network, optimizer, device, layout


def torch_steps(config, info, kind):
    """Returns a function that trains n steps in PyTorch and waits for their end."""
    import torch

    network, optimizer, device, layout = torch_network(config, info, kind)
    height, width, channels = info.image_shape
    images = torch.randn(config.batch_size, channels, height, width, device=device)
    images = images.to(memory_format=layout)
    labels = torch.randint(info.num_classes, (config.batch_size,), device=device)
    run = torch.compile(network) if "compiled" in TORCH_KINDS[kind] else network
    # Weights and the loss stay in float32, as Keras has it, but not the cosines.
    precision = torch.autocast(
        device, dtype=torch.bfloat16, enabled="bfloat16" in TORCH_KINDS[kind]
    )

    def train(count):
        for _ in range(count):
            optimizer.zero_grad()
            with precision:
                outputs = config.scale * run(images)
                loss = torch.nn.functional.cross_entropy(outputs, labels)
            loss.backward()
            optimizer.step()
        if device == "cuda":
            torch.cuda.synchronize()

    return train
