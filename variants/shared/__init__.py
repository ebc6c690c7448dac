"""What two variants would otherwise copy. Nothing here knows which variant uses it."""
