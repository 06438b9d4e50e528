"""`make demo`: a printer, Moonraker with the plugin and the hub, for everyone to watch."""
