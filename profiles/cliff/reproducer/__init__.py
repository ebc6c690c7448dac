"""A lost wake-up without our gateway: one file that needs nothing but Granian and the standard library."""
