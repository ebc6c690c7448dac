"""`make soak`: a long point, and whether memory, descriptors, threads and latency stay where they were."""
