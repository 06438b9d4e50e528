"""The doctor's words: for each code one sentence and one remedy, in English and Spanish."""

from __future__ import annotations

from typing import Dict, NamedTuple, Tuple


class Text(NamedTuple):
    en: str
    es: str
    en_remedy: str = ""
    es_remedy: str = ""


TITLES: Dict[str, Tuple[str, str]] = {
    "settings": ("Settings", "Ajustes"),
    "hub": ("Hub", "Hub"),
    "proxy": ("Proxy", "Proxy"),
    "dns": ("Name (DNS)", "Nombre (DNS)"),
    "tcp": ("Connection (TCP)", "Conexión (TCP)"),
    "tls": ("Encryption (TLS)", "Cifrado (TLS)"),
    "http": ("Answer (HTTP)", "Respuesta (HTTP)"),
    "redirect": ("Redirect", "Redirección"),
    "json": ("JSON", "JSON"),
    "token": ("Token", "Token"),
    "clock": ("Clock", "Reloj"),
    "commands": ("Commands", "Comandos"),
    "files": ("Files", "Archivos"),
    "cameras": ("Camera", "Cámara"),
    "ffmpeg": ("ffmpeg", "ffmpeg"),
    "disk": ("Disk", "Disco"),
    "permissions": ("Permissions", "Permisos"),
    "link": ("Installation", "Instalación"),
    "moonraker": ("Moonraker", "Moonraker"),
    "klipper": ("Klipper", "Klipper"),
    "power": ("Power", "Corriente"),
    "tasks": ("Inside", "Tareas internas"),
}

_SERVER = "Look into the server's PHP error log."
_SERVER_ES = "Mira el registro de errores de PHP del servidor."
_URL = "Check server_url in tecmedhub.json."
_URL_ES = "Revisa server_url en tecmedhub.json."
_NETWORK = "Check the printer's network, and whether the server runs."
_NETWORK_ES = "Revisa la red de la impresora y si el servidor está en marcha."

TEXTS: Dict[str, Text] = {
    # The doctor itself
    "check_timeout": Text(
        "This could not be examined within {seconds} s.",
        "No se pudo examinar en {seconds} s.",
        "Try again; if it stays so, look into tecmedhub.log.",
        "Inténtalo de nuevo; si sigue así, mira tecmedhub.log.",
    ),
    "check_broken": Text(
        "This could not be examined ({error}).",
        "No se pudo examinar ({error}).",
        "Look into tecmedhub.log.",
        "Mira tecmedhub.log.",
    ),
    "not_reached": Text(
        "Not examined, because an earlier step fails.",
        "Sin examinar, porque falla un paso anterior.",
    ),
    "no_hub": Text("Not examined without a hub.", "Sin examinar: no hay hub configurado."),
    # The way to the hub
    "settings_missing": Text(
        "{names} must be set before anything can be sent.",
        "Falta {names}: sin eso no se envía nada.",
        "Write it into tecmedhub.json in Mainsail's or Fluidd's file editor; it applies at once.",
        "Escríbelo en tecmedhub.json con el editor de Mainsail o Fluidd; se aplica al instante.",
    ),
    "proxy_none": Text("No proxy is set.", "No hay ningún proxy configurado."),
    "proxy_ok": Text(
        "The proxy {proxy} lets us through ({ms} ms).", "El proxy {proxy} nos deja pasar ({ms} ms)."
    ),
    "left_to_proxy": Text("The proxy's business.", "Es asunto del proxy."),
    "dns_ok": Text("{host} is {addresses} ({ms} ms).", "{host} es {addresses} ({ms} ms)."),
    "dns_not_needed": Text("{host} is an address already.", "{host} ya es una dirección."),
    "dns_failed": Text(
        "The name {host} cannot be resolved ({reason}).",
        "No se puede resolver el nombre {host} ({reason}).",
        "Check the name in server_url, and the printer's network and DNS.",
        "Revisa el nombre en server_url, y la red y el DNS de la impresora.",
    ),
    "dns_timeout": Text(
        "No name server answered about {host} within {seconds:.0f} s.",
        "Ningún servidor DNS respondió sobre {host} en {seconds:.0f} s.",
        "Check the printer's network and its DNS server (the router, usually).",
        "Revisa la red de la impresora y su servidor DNS (normalmente el router).",
    ),
    "tcp_ok": Text(
        "{address} port {port} answers ({ms} ms).", "{address} puerto {port} responde ({ms} ms)."
    ),
    "tcp_refused": Text(
        "{host} refuses connections on port {port}.",
        "{host} rechaza conexiones en el puerto {port}.",
        "Check that the web server runs, and the port in server_url.",
        "Comprueba que el servidor web está en marcha, y el puerto en server_url.",
    ),
    "tcp_timeout": Text(
        "No connection to {host} port {port} within {seconds:.0f} s.",
        "Sin conexión con {host} puerto {port} en {seconds:.0f} s.",
        "A firewall may be in the way, or the server is off.",
        "Puede haber un firewall en medio, o el servidor está apagado.",
    ),
    "tcp_unreachable": Text(
        "{host} cannot be reached ({reason}).",
        "No se puede llegar a {host} ({reason}).",
        _NETWORK,
        _NETWORK_ES,
    ),
    "tls_ok": Text(
        "The certificate of {host} is valid for {days} more days.",
        "El certificado de {host} es válido {days} días más.",
    ),
    "tls_ends_soon": Text(
        "The certificate of {host} ends in {days} days.",
        "El certificado de {host} vence en {days} días.",
        "Have the server's certificate renewed.",
        "Pide que renueven el certificado del servidor.",
    ),
    "tls_not_used_near": Text(
        "Not encrypted, within the local network ({address}).",
        "Sin cifrar, pero dentro de la red local ({address}).",
    ),
    "tls_not_used": Text(
        "The way to {host} is not encrypted: whoever listens can read the token.",
        "La conexión con {host} no va cifrada: quien escuche puede leer el token.",
        "Use https:// in server_url if the server offers it.",
        "Usa https:// en server_url si el servidor lo ofrece.",
    ),
    "http_ok": Text("{host} answers in {ms} ms.", "{host} responde en {ms} ms."),
    "redirect_ok": Text("The address is the final one.", "La dirección es la definitiva."),
    "json_ok": Text("The hub speaks its protocol.", "El hub habla su protocolo."),
    "token_ok": Text(
        "The hub took a status of this printer (generation {generation}).",
        "El hub aceptó un estado de esta impresora (generación {generation}).",
    ),
    "reply_bad_url": Text("{sentence}", "La dirección del hub no sirve.", _URL, _URL_ES),
    "reply_dns": Text("{sentence}", "El nombre {host} no se pudo resolver.", _NETWORK, _NETWORK_ES),
    "reply_proxy": Text(
        "{sentence}",
        "El proxy no deja llegar a {host}.",
        "Check network.proxy, or HTTPS_PROXY and NO_PROXY of Moonraker's environment.",
        "Revisa network.proxy, o HTTPS_PROXY y NO_PROXY del entorno de Moonraker.",
    ),
    "reply_unreachable": Text(
        "{sentence}",
        "{host} cerró o rechazó la conexión.",
        _NETWORK,
        _NETWORK_ES,
    ),
    "reply_tls": Text(
        "{sentence}",
        "No hay conexión segura con {host}.",
        "Check the server's certificate and this computer's clock.",
        "Revisa el certificado del servidor y el reloj de esta computadora.",
    ),
    "reply_timed_out": Text(
        "{sentence}",
        "{host} no respondió a tiempo.",
        "The server is overloaded, or the network is slow; timeouts.server can be raised.",
        "El servidor está sobrecargado o la red es lenta; se puede subir timeouts.server.",
    ),
    "reply_redirect": Text(
        "{sentence}",
        "{host} redirige a otra dirección; no se sigue, porque llevaría el token consigo.",
        "Write the final address into server_url.",
        "Escribe la dirección final en server_url.",
    ),
    "reply_busy": Text(
        "{sentence}",
        "{host} está ocupado (HTTP {status}) y pide esperar.",
        "Wait; if it lasts, raise intervals.status_update or ask the server's administrator.",
        "Espera; si dura, sube intervals.status_update o pregunta al administrador del servidor.",
    ),
    "reply_status": Text(
        "{sentence}",
        "{host} respondió HTTP {status}.",
        "Check the path in server_url and the server's PHP error log.",
        "Revisa la ruta en server_url y el registro de errores de PHP del servidor.",
    ),
    "reply_too_large": Text(
        "{sentence}", "{host} envió una respuesta demasiado grande.", _URL, _URL_ES
    ),
    "reply_not_json": Text(
        "{sentence}", "{host} no respondió con el JSON del hub.", _SERVER, _SERVER_ES
    ),
    "reply_refused": Text(
        "{sentence}",
        "{host} rechaza a esta impresora.",
        "Check printer_token: copy it anew from the hub.",
        "Revisa printer_token: cópialo de nuevo desde el hub.",
    ),
    "reply_internal": Text(
        "{sentence}",
        "El plugin falló al hablar con {host}.",
        "Look into tecmedhub.log.",
        "Mira tecmedhub.log.",
    ),
    "clock_ok": Text(
        "This computer's clock agrees with the hub's to {seconds} s.",
        "El reloj de esta computadora coincide con el del hub ({seconds} s).",
    ),
    "clock_unknown": Text("The hub has not told its time yet.", "El hub aún no ha dicho su hora."),
    "clock_behind": Text(
        "This computer's clock is {seconds} s behind the hub's; commands go by the hub's.",
        "El reloj de esta computadora va {seconds} s atrasado; los comandos siguen el del hub.",
        "Let it follow NTP: sudo timedatectl set-ntp true.",
        "Haz que siga NTP: sudo timedatectl set-ntp true.",
    ),
    "clock_ahead": Text(
        "This computer's clock is {seconds} s ahead of the hub's; commands go by the hub's.",
        "El reloj de esta computadora va {seconds} s adelantado; los comandos siguen el del hub.",
        "Let it follow NTP: sudo timedatectl set-ntp true.",
        "Haz que siga NTP: sudo timedatectl set-ntp true.",
    ),
    "commands_ok": Text("The hub can be asked for commands.", "Se pueden pedir comandos al hub."),
    "commands_failed": Text(
        "The hub could not be asked for commands: {sentence}",
        "No se pudieron pedir comandos al hub: {sentence}",
        "Check commands_url, or the script's name on the server.",
        "Revisa commands_url, o el nombre del script en el servidor.",
    ),
    "files_ok": Text(
        "The hub's file list answers ({count} files).",
        "La lista de archivos del hub responde ({count} archivos).",
    ),
    "files_failed": Text(
        "The hub's file list fails: {sentence}",
        "Falla la lista de archivos del hub: {sentence}",
        "Remote prints need it: check files_url, or the script's name on the server.",
        "Hace falta para las impresiones remotas: revisa files_url, o el nombre del script.",
    ),
    # Beside it
    "cameras_disabled": Text(
        "Cameras are switched off (camera.enabled).",
        "Las cámaras están desactivadas (camera.enabled).",
    ),
    "cameras_none": Text(
        "There is no camera: add one in Mainsail's or Fluidd's settings, or set camera.urls.",
        "No hay cámara: agrega una en los ajustes de Mainsail o Fluidd, o pon camera.urls.",
    ),
    "camera_ok": Text("'{name}' gives pictures.", "'{name}' da imágenes."),
    "camera_failing": Text(
        "'{name}': {message}",
        "'{name}' no da imágenes: {message}",
        "Open its snapshot address in a browser; check its cable and its service (crowsnest).",
        "Abre su dirección de snapshot en un navegador; revisa el cable y su servicio (crowsnest).",
    ),
    "camera_frozen": Text(
        "'{name}' has sent the very same picture for minutes.",
        "'{name}' envía la misma imagen desde hace varios minutos.",
        "Restart its service (crowsnest), or replug it.",
        "Reinicia su servicio (crowsnest) o desconéctala y vuelve a conectarla.",
    ),
    "camera_black": Text(
        "'{name}' sends black pictures.",
        "'{name}' envía imágenes negras.",
        "Look for a covered lens or a dark room.",
        "Mira si el lente está tapado o el lugar a oscuras.",
    ),
    "ffmpeg_ok": Text("{path} can make videos.", "{path} puede hacer videos."),
    "ffmpeg_unneeded": Text(
        "Not needed: timelapses are switched off.",
        "No hace falta: los timelapses están desactivados.",
    ),
    "ffmpeg_missing": Text(
        "ffmpeg is not installed: timelapses are kept as pictures in a ZIP.",
        "ffmpeg no está instalado: los timelapses se guardan como imágenes en un ZIP.",
        "Install it: sudo apt install ffmpeg.",
        "Instálalo: sudo apt install ffmpeg.",
    ),
    "ffmpeg_broken": Text(
        "{path} does not run.",
        "{path} no arranca.",
        "Install it anew: sudo apt install --reinstall ffmpeg.",
        "Reinstálalo: sudo apt install --reinstall ffmpeg.",
    ),
    "ffmpeg_no_h264": Text(
        "{path} cannot write H.264, which browsers play.",
        "{path} no puede escribir H.264, que es lo que reproducen los navegadores.",
        "Install the distribution's own: sudo apt install ffmpeg.",
        "Instala el de la distribución: sudo apt install ffmpeg.",
    ),
    "disk_ok": Text("{free} free in {folder}.", "{free} libres en {folder}."),
    "disk_low": Text(
        "Only {free} free in {folder}.",
        "Solo {free} libres en {folder}.",
        "Delete old G-code and timelapses.",
        "Borra G-code y timelapses antiguos.",
    ),
    "disk_full": Text(
        "{free} free in {folder}: no file can be downloaded.",
        "{free} libres en {folder}: no se puede descargar ningún archivo.",
        "Delete old G-code, timelapses and logs.",
        "Borra G-code, timelapses y registros antiguos.",
    ),
    "permissions_ok": Text(
        "All folders can be written.", "Se puede escribir en todas las carpetas."
    ),
    "folder_unwritable": Text(
        "{folder} cannot be written.",
        "No se puede escribir en {folder}.",
        "Give it to Moonraker's user: sudo chown -R $USER {folder}.",
        "Dásela al usuario de Moonraker: sudo chown -R $USER {folder}.",
    ),
    "database_unwritable": Text(
        "The database in {folder} is kept in memory only.",
        "La base de datos de {folder} solo está en memoria.",
        "Free some space and check the folder's rights; it returns to disk by itself.",
        "Libera espacio y revisa los permisos de la carpeta; vuelve al disco por sí sola.",
    ),
    "link_ok": Text(
        "{link} leads to {target}, and Moonraker's git overlooks it.",
        "{link} lleva a {target}, y el git de Moonraker lo ignora.",
    ),
    "link_ok_no_git": Text("{link} leads to {target}.", "{link} lleva a {target}."),
    "link_not_excluded": Text(
        "Moonraker's git does not overlook {link}: a recovery of Moonraker would remove it.",
        "El git de Moonraker no ignora {link}: una recuperación de Moonraker lo borraría.",
        "Run install.sh again; it adds the line to {exclude}.",
        "Ejecuta install.sh otra vez; agrega la línea a {exclude}.",
    ),
    "link_copied": Text(
        "{link} is a copy, no link: updates will not reach it.",
        "{link} es una copia, no un enlace: las actualizaciones no le llegarán.",
        "Delete it and run install.sh.",
        "Bórrala y ejecuta install.sh.",
    ),
    "moonraker_ok": Text(
        "Moonraker {version}, Python {python}, plugin {plugin}.",
        "Moonraker {version}, Python {python}, plugin {plugin}.",
    ),
    "moonraker_unknown": Text(
        "Moonraker tells no version ({version}); Python {python}, plugin {plugin}.",
        "Moonraker no dice su versión ({version}); Python {python}, plugin {plugin}.",
    ),
    "moonraker_old": Text(
        "Moonraker {version} is older than 0.8.0.",
        "Moonraker {version} es anterior a 0.8.0.",
        "Update Moonraker.",
        "Actualiza Moonraker.",
    ),
    "python_old": Text(
        "Python {python} is older than 3.7.",
        "Python {python} es anterior a 3.7.",
        "Update the system.",
        "Actualiza el sistema.",
    ),
    "klipper_ready": Text("Klipper is ready.", "Klipper está listo."),
    "klipper_not_ready": Text(
        "Klipper is not ready ({state}): {message}.",
        "Klipper no está listo ({state}): {message}.",
        "Mend what it says, then FIRMWARE_RESTART.",
        "Corrige lo que dice y después FIRMWARE_RESTART.",
    ),
    "power_ok": Text(
        "An emergency stop that Klippy does not take switches {device} off.",
        "Una parada de emergencia que Klippy no acepta apaga {device}.",
    ),
    "power_missing": Text(
        "security.emergency_power_device names {device}, which Moonraker does not know.",
        "security.emergency_power_device nombra {device}, que Moonraker no conoce.",
        "Give the name of one of its [power] devices: {known}.",
        "Pon el nombre de uno de sus dispositivos [power]: {known}.",
    ),
    "power_offered": Text(
        "Moonraker can switch {known}; an emergency stop that Klippy does not take leaves it on.",
        "Moonraker puede apagar {known}; una parada de emergencia que Klippy no acepta lo deja "
        "encendido.",
        "If that is the printer's power, set security.emergency_power_device to its name.",
        "Si es la corriente de la impresora, pon su nombre en security.emergency_power_device.",
    ),
    "power_none": Text(
        "Moonraker knows no [power] device that an emergency stop could switch off.",
        "Moonraker no conoce ningún dispositivo [power] que una parada de emergencia pueda apagar.",
    ),
    "tasks_ok": Text("All {count} tasks run.", "Las {count} tareas funcionan."),
    "tasks_failed": Text(
        "Tasks that failed and were begun anew: {names}.",
        "Tareas que fallaron y se reiniciaron: {names}.",
        "Please report it, with tecmedhub.log.",
        "Por favor, comunícalo y adjunta tecmedhub.log.",
    ),
    "tasks_dead": Text(
        "Tasks that do not run: {names}.",
        "Tareas paradas: {names}.",
        "Restart Moonraker, and please report it with tecmedhub.log.",
        "Reinicia Moonraker; por favor, comunícalo y adjunta tecmedhub.log.",
    ),
}
