"""The way out: names, proxies, connections, TLS. Knows nothing of HTTP beyond a proxy's CONNECT."""
