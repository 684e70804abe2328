"""The parts of a report about finished runs."""
