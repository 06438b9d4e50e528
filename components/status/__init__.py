"""What the hub is told, and when."""
