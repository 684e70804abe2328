"""What the paper says: its methods, its published numbers, its protocol."""

from mm_tf.experiments.paper.protocol import (
    ALWAYS_DIFFERENT,
    Comparison,
    compare,
    compare_ablation,
    is_fast,
    published_words,
)
from mm_tf.experiments.paper.published import (
    ABLATION_METHOD,
    ABLATIONS,
    BEST_BETA_DELTA,
    SETTINGS,
    TABLE1,
    TABLE2,
    TABLE3,
    published_error,
)

__all__ = [
    "ABLATIONS",
    "ABLATION_METHOD",
    "ALWAYS_DIFFERENT",
    "BEST_BETA_DELTA",
    "Comparison",
    "SETTINGS",
    "TABLE1",
    "TABLE2",
    "TABLE3",
    "compare",
    "compare_ablation",
    "is_fast",
    "published_error",
    "published_words",
]
