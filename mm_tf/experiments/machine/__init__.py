"""What commands share: the machine they run on, and how they begin and stop."""
