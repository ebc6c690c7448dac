"""Profilers, forensics and models that look at a run from outside; nothing that runs in it imports them."""
