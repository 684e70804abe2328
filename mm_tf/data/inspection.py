"""The name of `mm_tf.data.inspect.scan` in version 0.1.0, which its pages show."""

from mm_tf.data.inspect.scan import inspect_data

__all__ = ["inspect_data"]
