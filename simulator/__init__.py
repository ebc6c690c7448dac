"""The inference stand-in: exact arithmetic, a seeded service-time model, and a server that speaks h2c and HTTP/1.1.

Nothing is re-exported, so that `simulator.stub` can be had without loading the server.
"""
