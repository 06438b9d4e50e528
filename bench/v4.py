"""The traffic of client v4, as a small stand-in: `requests`, one session, its two loops.

python bench/v4.py URL TOKEN CA_FILE     # until it is killed

A status as v4's README documents it every five seconds, a request for commands every three, through
one `requests.Session`, which keeps its connection. It does nothing with either, and asks Moonraker
for nothing: what it costs beside that is not measured here.
"""

from __future__ import annotations

import datetime
import sys
import threading
import time
from typing import Any

import requests


def body(token: str) -> dict[str, Any]:
    return {
        "action": "update_printer",
        "token": token,
        "name": token,
        "client_version": "4.0.0",
        "timestamp": datetime.datetime.now().astimezone().isoformat(),
        "status": "idle",
        "temp_hotend": 25.0,
        "temp_bed": 25.0,
        "temp_hotend_target": 0.0,
        "temp_bed_target": 0.0,
        "print_speed": 100,
        "fan_speed": 0,
        "progress": 0,
        "current_file": "",
        "time_remaining": 0,
        "last_completed": "",
        "uptime": "5h 23m",
        "system": {"cpu_usage": 4.2, "memory_usage": 512.5, "cpu_temp": 55.3},
        "files": [],
        "tags": [],
        "filament": {},
        "bed_status": "",
        "location": "",
        "image": "",
    }


def loop(seconds: float, work: Any) -> None:
    while True:
        try:
            work()
        except requests.RequestException as error:
            print(error, flush=True)
        time.sleep(seconds)


def main() -> None:
    url, token, ca_file = sys.argv[1:4]
    session = requests.Session()
    session.trust_env = False
    if ca_file:
        session.verify = ca_file
    session.headers["User-Agent"] = "TecMedHub-Client/4.0.0"

    def status() -> None:
        session.post(url, json=body(token), timeout=10).json()

    def commands() -> None:
        query = {"action": "get_commands", "token": token}
        session.get(url, params=query, timeout=10).json()

    threading.Thread(target=loop, args=(5.0, status), daemon=True).start()
    loop(3.0, commands)


if __name__ == "__main__":
    main()
