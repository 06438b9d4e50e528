"""What the hub asks: read, judged, recorded, carried out, answered."""
