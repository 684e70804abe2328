"""The machine that commands run on, and how they start and stop."""
