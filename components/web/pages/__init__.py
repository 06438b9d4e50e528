"""What the web shows of each room, and what can be done there: a file each."""
