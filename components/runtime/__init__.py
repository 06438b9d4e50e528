"""What every room stands on: time, supervised tasks, threads, notices, logs. Knows nothing of printers or hubs."""
