"""Hosts of the session core: how bytes reach it. One folder each; `shared/` holds what two of them would copy."""
