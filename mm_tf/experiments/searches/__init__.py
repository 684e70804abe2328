"""Searches for hyper-parameters with KerasTuner, each trial a run."""
