"""What must outlive a crash: one SQLite file of our own, a table a room."""
