"""A folder that can be read: JSON, a table, plots."""
