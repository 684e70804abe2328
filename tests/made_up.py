"""A result that is made up, for tests of what is done with results."""

from mm_tf.experiments.runs.result import RunResult

# What a finished run leaves in its folder.
RUN_FILES = {
    "flags.txt",
    "history.csv",
    "model.keras",
    "per_class_error.csv",
    "predictions.npz",
    "result.json",
}

RESULT = RunResult(
    method="mm_drw",
    setting="digits_lt10",
    dataset="digits",
    imbalance="long_tailed",
    imbalance_ratio=10.0,
    seed=0,
    subset_seed=0,
    epochs=5,
    hyperparameters={"beta": 1.5},
    class_names=["zero", "one", "two"],
    class_counts=[100, 30, 10],
    top1_error=20.0,
    best_top1_error=20.0,
    best_epoch=4,
    balanced_error=20.0,
    per_class_error=[10.0, None, 30.0],
    many_shot_error=None,
    medium_shot_error=10.0,
    few_shot_error=30.0,
    published_top1_error=None,
    protocol_differences=[],
    images_per_second=100.0,
    training_seconds=5.0,
    backend="tensorflow",
    device="CPU",
    versions={},
    deterministic=True,
    flags={},
    precision="float32",
    evaluated_on="test",
    evaluated_counts=[50, 0, 10],
)
