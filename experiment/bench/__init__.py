"""What each piece costs alone. Its programs run where only their own packages are, so this imports nothing: its door is
`suite`."""
