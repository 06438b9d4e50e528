"""G-code files from the hub: fetched, verified, put in place, cleaned up."""
