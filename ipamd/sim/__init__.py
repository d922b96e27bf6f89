"""The laboratory: the same machine, driven by discrete events in virtual time."""
