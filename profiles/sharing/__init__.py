"""What threads of one process share: serving loops side by side, as threads and as processes."""
