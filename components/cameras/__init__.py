"""Pictures and timelapses."""
