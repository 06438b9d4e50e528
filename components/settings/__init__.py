"""What the operator wrote, and keeps on writing: moonraker.conf, `tecmedhub.json`, every option."""
