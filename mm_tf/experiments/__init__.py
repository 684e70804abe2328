"""Commands: the paper's experiments from flags, one method a row of a table."""

from mm_tf.experiments.paper.methods import Hyperparameter, register_method

__all__ = ["Hyperparameter", "register_method"]
