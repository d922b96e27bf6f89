"""The machine: pure `decide`, `evolve` and `plan`. No I/O, no clock, no randomness lives here."""
