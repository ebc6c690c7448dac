"""`make faults`: what everybody else sees while clients and the inference server misbehave."""
