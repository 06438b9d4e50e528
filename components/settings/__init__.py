"""What the operator wrote, typed and bounded."""
