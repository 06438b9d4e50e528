"""What the operator sees: endpoints, notifications, the panel, the doctor."""
