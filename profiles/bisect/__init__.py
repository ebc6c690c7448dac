"""`make bisect`: which release, or which interpreter, changed it? Halving, and a sequential test for each."""
