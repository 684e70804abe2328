"""Commands: the paper's experiments from flags, one method a row of a table."""
