from flag_parsing import parse

from mm_tf.experiments.config import RunConfig
from mm_tf.experiments.config.fields import flag_fields
from mm_tf.experiments.config.flags import to_flagfile
from mm_tf.experiments.config.recipes import RECIPES


def test_flags_without_values_are_the_defaults():
    assert parse() == RunConfig()


def test_every_field_is_a_flag_and_its_flagfile_repeats_it(tmp_path):
    config = RunConfig(
        dataset="folder",
        imbalance="step",
        imbalance_ratio=10.5,
        image_size=(48, 64),
        channels=1,
        test_fraction=0.3,
        split_seed=5,
        horizontal_flip=False,
        data_digest="0123456789abcdef",
        subset_seed=2,
        holdout=0.25,
        method="cb_focal",
        beta=1.1,
        delta=2.4,
        scale=19.0,
        max_class_margin=0.3,
        ldam_scale=20.0,
        focal_gamma=2.0,
        class_weighting="inverse_frequency",
        effective_number_beta=0.999,
        model="MobileNet",
        weights="/there/my.h5",
        weights_digest="0123456789abcdef",
        frozen_epochs=3,
        epochs=40,
        warmup_epochs=2,
        first_drop_epoch=20,
        second_drop_epoch=25,
        reweight_epoch=22,
        pretraining_epochs=7,
        second_stage_epochs=9,
        batch_size=64,
        learning_rate=0.05,
        recipe="fast",
        schedule="steps",
        nesterov=False,
        vector_rate=2.0,
        flip="random",
        views=3,
        momentum=0.8,
        l2=1e-4,
        jit=False,
        deterministic=True,
        precision="bfloat16",
        augment=False,
        cutout=4,
        augmentation="randaugment",
        mixup=0.5,
        seed=7,
        backend="jax",
        data_dir="/some/where",
        strategy="data_parallel",
        devices=4,
    )
    for field in flag_fields():
        # The digest is that of a file of a method; mixup excludes cutmix.
        is_left_out = field.name in ("method_digest", "cutmix")
        if not field.metadata["place"] and not is_left_out:
            default = RECIPES["fast"].get(field.name, field.default)
            assert getattr(config, field.name) != default, field.name
    flagfile = tmp_path / "flags.txt"
    flagfile.write_text(to_flagfile(config))
    assert parse(f"--flagfile={flagfile}") == config


def test_places_in_a_flagfile_are_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = dict(dataset="tfds:made_up", data_dir="kept", model="VGG16")
    lines = to_flagfile(RunConfig(**given, weights="my.h5")).splitlines()
    assert f"--data_dir={tmp_path}/kept" in lines
    assert f"--weights={tmp_path}/my.h5" in lines
    given["data_dir"] = "gs://bucket/tfds"
    lines = to_flagfile(RunConfig(**given, weights="imagenet")).splitlines()
    assert "--data_dir=gs://bucket/tfds" in lines and "--weights=imagenet" in lines
