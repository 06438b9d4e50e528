"""The doctor's words: for each check a title, for each code one sentence and what to do."""

from typing import Dict, NamedTuple

from ...runtime.messages import sentence


class Text(NamedTuple):
    said: str
    remedy: str = ""


TITLES: Dict[str, str] = {
    "settings": sentence("Settings"),
    "hub": sentence("Hub"),
    "proxy": sentence("Proxy"),
    "dns": sentence("Name (DNS)"),
    "tcp": sentence("Connection (TCP)"),
    "tls": sentence("Encryption (TLS)"),
    "http": sentence("Answer (HTTP)"),
    "redirect": sentence("Redirect"),
    "json": sentence("JSON"),
    "token": sentence("Token"),
    "clock": sentence("Clock"),
    "commands": sentence("Commands"),
    "files": sentence("Files"),
    "cameras": sentence("Camera"),
    "ffmpeg": sentence("ffmpeg"),
    "disk": sentence("Disk"),
    "permissions": sentence("Permissions"),
    "link": sentence("Installation"),
    "moonraker": sentence("Moonraker"),
    "klipper": sentence("Klipper"),
    "power": sentence("Power"),
    "tasks": sentence("Inside"),
}

_SERVER = sentence("Look into the server's PHP error log.")
_URL = sentence("Check server_url in tecmedhub.json.")
_NETWORK = sentence("Check the printer's network, and whether the server runs.")

TEXTS: Dict[str, Text] = {
    # The doctor itself
    "check_timeout": Text(
        "This could not be examined within {seconds} s.",
        "Try again; if it stays so, look into tecmedhub.log.",
    ),
    "check_broken": Text("This could not be examined ({error}).", "Look into tecmedhub.log."),
    "not_reached": Text("Not examined, because an earlier step fails."),
    "no_hub": Text("Not examined without a hub."),
    # The way to the hub
    "settings_missing": Text(
        "{names} must be set before anything can be sent.",
        "Write it into tecmedhub.json in Mainsail's or Fluidd's file editor; it applies at once.",
    ),
    "proxy_none": Text("No proxy is set."),
    "proxy_ok": Text("The proxy {proxy} lets us through ({ms} ms)."),
    "left_to_proxy": Text("The proxy's business."),
    "dns_ok": Text("{host} is {addresses} ({ms} ms)."),
    "dns_not_needed": Text("{host} is an address already."),
    "dns_failed": Text(
        "The name {host} cannot be resolved ({reason}).",
        "Check the name in server_url, and the printer's network and DNS.",
    ),
    "dns_timeout": Text(
        "No name server answered about {host} within {seconds:.0f} s.",
        "Check the printer's network and its DNS server (the router, usually).",
    ),
    "tcp_ok": Text("{address} port {port} answers ({ms} ms)."),
    "tcp_refused": Text(
        "{host} refuses connections on port {port}.",
        "Check that the web server runs, and the port in server_url.",
    ),
    "tcp_timeout": Text(
        "No connection to {host} port {port} within {seconds:.0f} s.",
        "A firewall may be in the way, or the server is off.",
    ),
    "tcp_unreachable": Text("{host} cannot be reached ({reason}).", _NETWORK),
    "tls_ok": Text("The certificate of {host} is valid for {days} more days."),
    "tls_ends_soon": Text(
        "The certificate of {host} ends in {days} days.", "Have the server's certificate renewed."
    ),
    "tls_not_used_near": Text("Not encrypted, within the local network ({address})."),
    "tls_not_used": Text(
        "The way to {host} is not encrypted: whoever listens can read the token.",
        "Use https:// in server_url if the server offers it.",
    ),
    "http_ok": Text("{host} answers in {ms} ms."),
    "redirect_ok": Text("The address is the final one."),
    "json_ok": Text("The hub speaks its protocol."),
    "token_ok": Text("The hub took a status of this printer (generation {generation})."),
    "reply_bad_url": Text("{sentence}", _URL),
    "reply_dns": Text("{sentence}", _NETWORK),
    "reply_proxy": Text(
        "{sentence}", "Check network.proxy, or HTTPS_PROXY and NO_PROXY of Moonraker's environment."
    ),
    "reply_unreachable": Text("{sentence}", _NETWORK),
    "reply_tls": Text("{sentence}", "Check the server's certificate and this computer's clock."),
    "reply_timed_out": Text(
        "{sentence}",
        "The server is overloaded, or the network is slow; timeouts.server can be raised.",
    ),
    "reply_redirect": Text("{sentence}", "Write the final address into server_url."),
    "reply_busy": Text(
        "{sentence}",
        "Wait; if it lasts, raise intervals.status_update or ask the server's administrator.",
    ),
    "reply_status": Text(
        "{sentence}", "Check the path in server_url and the server's PHP error log."
    ),
    "reply_too_large": Text("{sentence}", _URL),
    "reply_not_json": Text("{sentence}", _SERVER),
    "reply_refused": Text("{sentence}", "Check printer_token: copy it anew from the hub."),
    "reply_internal": Text("{sentence}", "Look into tecmedhub.log."),
    "clock_ok": Text("This computer's clock agrees with the hub's to {seconds} s."),
    "clock_unknown": Text("The hub has not told its time yet."),
    "clock_behind": Text(
        "This computer's clock is {seconds} s behind the hub's; commands go by the hub's.",
        "Let it follow NTP: sudo timedatectl set-ntp true.",
    ),
    "clock_ahead": Text(
        "This computer's clock is {seconds} s ahead of the hub's; commands go by the hub's.",
        "Let it follow NTP: sudo timedatectl set-ntp true.",
    ),
    "commands_ok": Text("The hub can be asked for commands."),
    "commands_failed": Text(
        "The hub could not be asked for commands: {sentence}",
        "Check commands_url, or the script's name on the server.",
    ),
    "files_ok": Text("The hub's file list answers ({count} files)."),
    "files_failed": Text(
        "The hub's file list fails: {sentence}",
        "Remote prints need it: check files_url, or the script's name on the server.",
    ),
    # Beside it
    "cameras_disabled": Text("Cameras are switched off (camera.enabled)."),
    "cameras_none": Text(
        "There is no camera: add one in Mainsail's or Fluidd's settings, or set camera.urls."
    ),
    "camera_ok": Text("'{name}' gives pictures."),
    "camera_failing": Text(
        "'{name}': {message}",
        "Open its snapshot address in a browser; check its cable and its service (crowsnest).",
    ),
    "camera_frozen": Text(
        "'{name}' has sent the very same picture for minutes.",
        "Restart its service (crowsnest), or replug it.",
    ),
    "camera_black": Text(
        "'{name}' sends black pictures.", "Look for a covered lens or a dark room."
    ),
    "ffmpeg_ok": Text("{path} can make videos."),
    "ffmpeg_unneeded": Text("Not needed: timelapses are switched off."),
    "ffmpeg_missing": Text(
        "ffmpeg is not installed: timelapses are kept as pictures in a ZIP.",
        "Install it: sudo apt install ffmpeg.",
    ),
    "ffmpeg_broken": Text(
        "{path} does not run.", "Install it anew: sudo apt install --reinstall ffmpeg."
    ),
    "ffmpeg_no_h264": Text(
        "{path} cannot write H.264, which browsers play.",
        "Install the distribution's own: sudo apt install ffmpeg.",
    ),
    "disk_ok": Text("{free} free in {folder}."),
    "disk_low": Text("Only {free} free in {folder}.", "Delete old G-code and timelapses."),
    "disk_full": Text(
        "{free} free in {folder}: no file can be downloaded.",
        "Delete old G-code, timelapses and logs.",
    ),
    "permissions_ok": Text("All folders can be written."),
    "folder_unwritable": Text(
        "{folder} cannot be written.", "Give it to Moonraker's user: sudo chown -R $USER {folder}."
    ),
    "database_unwritable": Text(
        "The database in {folder} is kept in memory only.",
        "Free some space and check the folder's rights; it returns to disk by itself.",
    ),
    "link_ok": Text("{link} leads to {target}, and Moonraker's git overlooks it."),
    "link_ok_no_git": Text("{link} leads to {target}."),
    "link_not_excluded": Text(
        "Moonraker's git does not overlook {link}: a recovery of Moonraker would remove it.",
        "Run install.sh again; it adds the line to {exclude}.",
    ),
    "link_copied": Text(
        "{link} is a copy, no link: updates will not reach it.", "Delete it and run install.sh."
    ),
    "moonraker_ok": Text("Moonraker {version}, Python {python}, plugin {plugin}."),
    "moonraker_unknown": Text(
        "Moonraker tells no version ({version}); Python {python}, plugin {plugin}."
    ),
    "moonraker_old": Text("Moonraker {version} is older than 0.8.0.", "Update Moonraker."),
    "python_old": Text("Python {python} is older than 3.7.", "Update the system."),
    "klipper_ready": Text("Klipper is ready."),
    "klipper_not_ready": Text(
        "Klipper is not ready ({state}): {message}.", "Mend what it says, then FIRMWARE_RESTART."
    ),
    "power_ok": Text("An emergency stop that Klippy does not take switches {device} off."),
    "power_missing": Text(
        "security.emergency_power_device names {device}, which Moonraker does not know.",
        "Give the name of one of its [power] devices: {known}.",
    ),
    "power_offered": Text(
        "Moonraker can switch {known}; an emergency stop that Klippy does not take leaves it on.",
        "If that is the printer's power, set security.emergency_power_device to its name.",
    ),
    "power_none": Text(
        "Moonraker knows no [power] device that an emergency stop could switch off."
    ),
    "tasks_ok": Text("All {count} tasks run."),
    "tasks_failed": Text(
        "Tasks that failed and were begun anew: {names}.", "Please report it, with tecmedhub.log."
    ),
    "tasks_dead": Text(
        "Tasks that do not run: {names}.",
        "Restart Moonraker, and please report it with tecmedhub.log.",
    ),
}
