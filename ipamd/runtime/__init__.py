"""The clockwork: when things happen. One writer of the journal, timers, calls to the world, start and stop."""
