"""A finished run's model in use: predictions and exports."""
