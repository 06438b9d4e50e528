"""Films of prints: frames, their video, the gallery, the page of the web interfaces."""
