"""Benchmarks that `make bench` runs, each in a process of its own."""
