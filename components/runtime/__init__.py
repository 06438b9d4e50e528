"""What every room stands on: time, tasks, threads, notices, logs. Knows no printers, no hubs."""
