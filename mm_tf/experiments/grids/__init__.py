"""Many runs: methods x settings x seeds, and what their results say together."""
