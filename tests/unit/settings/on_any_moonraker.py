"""Run by `test_versions.py` in each interpreter of the bench, down to Python 3.7: settings and logs
beside that Moonraker's own configuration reader, template engine, secrets and log manager.

Arguments: the repository and an empty folder. Prints "ok".
"""

import asyncio
import importlib
import json
import logging
import sys
import time
from pathlib import Path

sys.path.insert(0, sys.argv[1])

from moonraker.confighelper import ConfigError, get_configuration
from moonraker.loghelper import LogManager

from components.building import log_as_set
from components.runtime.clock import Clock
from components.runtime.logs import Logs, logs_folder
from components.runtime.notices import Notices
from components.runtime.supervisor import Supervisor
from components.runtime.worker import Worker
from components.settings.conf import read_conf
from components.settings.loader import merge, missing
from components.settings.model import LiveSettings
from components.settings.override import Override

TOKEN = "TECMED_s3cr3t/1"
CONF = """
[server]

[tecmedhub]
server_url: https://h/api.php
printer_token: {secrets.tecmedhub.token}
printer_tokn: %s
intervals_status_update: 7
printer_data_tags: Prusa, PLA
"""


class Server:
    error = RuntimeError
    config_error = ConfigError

    def __init__(self, args):
        self.args = args
        self.warnings = []
        self.components = {}

    def get_app_args(self):
        return self.args

    def load_component(self, config, name):
        if name not in self.components:
            module = importlib.import_module("moonraker.components." + name)
            self.components[name] = module.load_component(config.getsection(name))
        return self.components[name]

    def is_configured(self):
        return False

    def add_warning(self, text, *args, **kwargs):
        self.warnings.append(text)


def boom():
    raise ValueError("no answer from https://h/?token=" + TOKEN)


async def main(folder):
    folder.joinpath("config").mkdir()
    folder.joinpath("logs").mkdir()
    folder.joinpath("moonraker.secrets").write_text(json.dumps({"tecmedhub": {"token": TOKEN}}))
    # A real server copies it into its log before any component exists; that is not tested here.
    conf_file = folder / "config" / "moonraker.conf"
    conf_file.write_text(CONF % TOKEN)
    args = {
        "data_path": str(folder),
        "config_file": str(conf_file),
        "is_backup_config": False,
        "log_file": str(folder / "logs" / "moonraker.log"),
        "structured_logging": False,
    }
    manager = LogManager(args, [])
    server = Server(args)
    config = get_configuration(server, args)
    conf = read_conf(config["tecmedhub"])
    config["server"]
    config.validate_config()
    assert server.warnings == [], server.warnings
    live = LiveSettings(merge(conf).settings)
    assert live.now.printer_token == TOKEN
    assert live.now.intervals.status_idle == 7
    assert missing(live.now) == ""

    root_filters = [list(handler.filters) for handler in logging.getLogger().handlers]
    logs = Logs(logs_folder(args))
    log_as_set(logs, live)
    clock = Clock()
    shown = {}
    notices = Notices(
        logs.logger,
        clock,
        lambda text, warn_id: shown.update({warn_id: text}),
        lambda warn_id: shown.pop(warn_id, None),
    )
    worker = Worker("test")
    supervisor = Supervisor(notices, clock)
    override = Override(
        live=live,
        conf=conf,
        folder=folder / "config",
        memory=folder / "memory.json",
        notices=notices,
        worker=worker,
        supervisor=supervisor,
        clock=clock,
    )
    await override.start()
    assert any("printer_token?" in text for text in shown.values()), shown
    own = folder / "config" / "tecmedhub.json"
    assert own.is_file()
    text = '{"intervals": {"status_update": 3,}, /* and */ "printer_name": "ñ"}'
    own.write_text(text, encoding="utf-8")
    override.on_file_changed({"item": {"root": "config", "path": "tecmedhub.json"}})
    deadline = time.monotonic() + 20
    while live.now.intervals.status_update != 3:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
    assert live.now.printer_name == "\u00f1"
    assert TOKEN not in json.dumps(override.describe())

    for logger in (logs.logger, logging.getLogger("tornado.general")):
        try:
            boom()
        except ValueError:
            logger.exception("it failed with %s", TOKEN)
    await override.stop()
    await supervisor.stop()
    worker.close()
    logs.close()
    assert root_filters == [list(h.filters) for h in logging.getLogger().handlers]
    manager.stop_logging()
    for name in ("tecmedhub.log", "moonraker.log"):
        text = (folder / "logs" / name).read_text(encoding="utf-8")
        assert "it failed with ********" in text, (name, text)
        assert "ValueError: no answer" in text, (name, text)
        assert TOKEN not in text, (name, text)


if __name__ == "__main__":
    loop = asyncio.get_event_loop_policy().new_event_loop()
    loop.run_until_complete(main(Path(sys.argv[2])))
    sys.stdout.write("ok\n")
