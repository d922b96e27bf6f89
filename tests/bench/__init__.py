"""The benchmarks behind `make bench`: ratios within one run, so that the machine's own speed and mood cancel out."""
