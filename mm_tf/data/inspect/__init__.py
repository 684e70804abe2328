"""What is in a data set, found before training."""

from mm_tf.data.inspect.show import main, print_inspection, write_inspection

__all__ = ["main", "print_inspection", "write_inspection"]
