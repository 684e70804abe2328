"""What a run is: its flags, what follows from them, and the checks between them."""

from mm_tf.experiments.config.config import RunConfig

__all__ = ["RunConfig"]
