"""The memory: an append-only journal of records, one JSON line each, and what can be asked of it."""
