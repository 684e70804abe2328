"""What training steps spend their time on, as the backends' own profilers see it.

Each function takes one that trains n steps and returns one that does so, and returns
{"milliseconds": {operation: milliseconds a step}}. TensorFlow's operations run beside
each other, so that their sum may be more than the step takes; PyTorch's one after the
other, each on all threads.
"""

import collections
import pathlib
import tempfile


def of_tensorflow(train):
    """Profiles with `tf.profiler`: the wall time of each kind of kernel."""
    import tensorflow as tf

    # Nothing public in TensorFlow reads what its profiler writes.
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    def profiled(count):
        with tempfile.TemporaryDirectory() as folder:
            with tf.profiler.experimental.Profile(folder):
                train(count)
            (path,) = pathlib.Path(folder).rglob("*.xplane.pb")
            space = xplane_pb2.XSpace.FromString(path.read_bytes())
        taken = collections.Counter()
        for plane in space.planes:
            names = {key: each.name for key, each in plane.event_metadata.items()}
            for line in plane.lines:
                for event in line.events:
                    kind = _kind_of_kernel(names[event.metadata_id])
                    if kind is not None:
                        taken[kind] += event.duration_ps
        return {"milliseconds": {key: ps / 1e9 / count for key, ps in taken.items()}}

    return profiled


def _kind_of_kernel(name):
    """Returns the kind of operation of a kernel, or None for any other event."""
    node, _, kind = name.rpartition(":")
    # C++'s own names, and the batches, which are made while kernels run.
    if not node or "::" in name or kind.endswith("Dataset"):
        return None
    return kind.removeprefix("_MklNative") if kind.isidentifier() else None


def of_torch(train):
    """Profiles with `torch.profiler`: operations' own times, on the calling thread."""
    import torch

    def profiled(count):
        cpu = torch.profiler.ProfilerActivity.CPU
        with torch.profiler.profile(activities=[cpu]) as profiler:
            train(count)
        return {
            "milliseconds": {
                each.key: each.self_cpu_time_total / 1e3 / count
                for each in profiler.key_averages()
            }
        }

    return profiled


PROFILES = {"tensorflow": of_tensorflow, "torch": of_torch}
