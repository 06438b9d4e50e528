"""The table's texts in Spanish, for the JSON template and `docs/es/`."""

from __future__ import annotations

from typing import Dict

OPTIONS: Dict[str, str] = {
    "config_file": (
        "El archivo JSON de la carpeta de configuración de Moonraker: se aplica al instante y "
        "prevalece sobre moonraker.conf."
    ),
    "server_url": (
        "Dirección del hub: …/api.php (generación 1) o …/update.php (generación 2). Sin ella "
        "no se envía nada."
    ),
    "printer_token": (
        "El token con el que el hub reconoce a esta impresora; cada una tiene el suyo. Mejor "
        "guardado en moonraker.secrets."
    ),
    "printer_name": ("El nombre que muestra el hub; vacío: el nombre de la computadora."),
    "protocol": "Generación del hub; auto la deduce de server_url.",
    "language": (
        "Idioma de las advertencias, la consola, los resultados y el registro; auto: español "
        "si lo hablan las respuestas del hub, si no el de la computadora."
    ),
    "commands_url": ("De dónde se piden los comandos; vacío: se deduce de server_url."),
    "files_url": ("De dónde se descargan los archivos G-code; vacío: se deduce de server_url."),
    "image_url": (
        "Adónde se suben las imágenes; vacío: en la generación 1 se deduce de server_url, en la 2"
        " van dentro del estado."
    ),
    "camera.enabled": "Enviar imágenes de las cámaras.",
    "camera.urls": (
        "Direcciones de snapshot, una por línea; vacío: las cámaras configuradas en Mainsail o "
        "Fluidd."
    ),
    "camera.capture_interval": ("Tiempo entre dos imágenes mientras imprime o calienta."),
    "camera.timelapse_enabled": "Hacer un timelapse de cada impresión.",
    "camera.timelapse_interval": "Tiempo entre dos fotogramas del timelapse.",
    "camera.resolution": (
        "Ancho de las imágenes: low 640 px, high 1280 px, original como las da la cámara."
    ),
    "camera.timelapse_keep": ("Timelapses que se conservan; los más antiguos se borran."),
    "camera.timelapse_max_mb": ("Espacio en disco para fotogramas y videos juntos."),
    "camera.timelapse_fps": "Velocidad del timelapse.",
    "camera.timelapse_seconds": (
        "Duración mínima de un timelapse: si la estimación del archivo es corta, se toman "
        "fotogramas más seguido; 0: solo cuenta timelapse_interval."
    ),
    "camera.primary": ("Nombre de la cámara que el hub muestra y que filma; vacío: la primera."),
    "camera.order": (
        "Nombres de las cámaras en el orden deseado; las demás siguen, ordenadas por nombre."
    ),
    "camera.verify_tls": (
        "Comprobar los certificados de las cámaras https; false: no los de direcciones locales."
    ),
    "intervals.status_update": (
        "Tiempo entre dos estados; los cambios se envían al instante de todos modos."
    ),
    "intervals.status_idle": (
        "Lo mismo con la impresora inactiva; si no se pone: como intervals.status_update."
    ),
    "intervals.command_check": "Tiempo entre dos consultas de comandos.",
    "intervals.command_check_active": "Lo mismo durante un minuto después de un comando.",
    "intervals.health_check": (
        "Tiempo entre dos exámenes propios; en cada uno se escribe printer_state.json."
    ),
    "intervals.reconnect_attempt": (
        "Pausa antes de cada reintento, después de los retries.max_attempts."
    ),
    "timeouts.moonraker": "Cuánto se espera la respuesta de Klipper a una consulta.",
    "timeouts.server": "Cuánto se espera al hub.",
    "timeouts.camera": "Cuánto se espera a una cámara.",
    "timeouts.file_download": ("Una descarga termina si no llega ningún byte durante este tiempo."),
    "retries.max_attempts": (
        "Intentos rápidos antes de las pausas de intervals.reconnect_attempt; nunca se rinde."
    ),
    "retries.exponential_backoff": "Duplicar la pausa tras cada fallo.",
    "retries.base_delay": "La primera pausa.",
    "network.proxy": (
        "El proxy en el camino al hub; none: ninguno; vacío: lo que digan HTTPS_PROXY, HTTP_PROXY "
        "y NO_PROXY del entorno de Moonraker."
    ),
    "network.ca_file": (
        "Un archivo PEM con autoridades de certificación en las que confiar además de las del "
        "sistema, como la del filtro de una escuela."
    ),
    "file_management.auto_cleanup": "Borrar archivos G-code antiguos.",
    "file_management.max_age_days": (
        "Un archivo que nadie imprimió ni tocó durante este tiempo es antiguo."
    ),
    "file_management.cleanup_scope": (
        "Qué se puede borrar: solo lo que descargó este plugin, o todos los archivos G-code "
        "(como el cliente v4)."
    ),
    "file_management.verify_checksums": (
        "Rechazar una descarga cuya suma de verificación no sea la del hub."
    ),
    "file_management.max_size_mb": "Rechazar descargas mayores.",
    "file_management.folder": (
        "Carpeta dentro de gcodes para las descargas; vacío: la propia carpeta gcodes."
    ),
    "file_management.allowed_hosts": (
        "Servidores, además del hub, desde los que se pueden descargar archivos."
    ),
    "logging.level": "Qué se escribe en tecmedhub.log.",
    "logging.max_size_mb": "Tamaño al que se rota el registro.",
    "logging.backup_count": "Registros rotados que se conservan.",
    "logging.verbose": ("Escribir también cada intercambio con el hub, con los secretos ocultos."),
    "security.remote_control": (
        "Qué puede hacer el hub: full (todo); print (pausar, reanudar, cancelar, imprimir, "
        "detener); monitor (solo parada de emergencia); off (nada)."
    ),
    "security.validate_dangerous_commands": (
        "Rechazar comandos que arruinarían una impresión en curso si no llevan confirm."
    ),
    "security.rate_limit_seconds": (
        "Tiempo mínimo entre dos comandos; una parada de emergencia nunca espera."
    ),
    "security.allowed_gcode_patterns": (
        "Comandos G-code que el hub puede enviar; * y ? valen por cualquier carácter; vacío: "
        "ninguno."
    ),
    "security.allowed_macros": (
        "Macros que el hub puede llamar; * y ? valen por cualquier carácter; vacío: ninguna."
    ),
    "security.allowed_pins": (
        "Pines y luces que el hub puede cambiar (set_pin, led), como los llama printer.cfg; * y ? "
        "valen por cualquier carácter; vacío: ninguno."
    ),
    "security.allowed_power_devices": (
        "Dispositivos de [power] de Moonraker que el hub puede encender y apagar (power); * y ? "
        "valen por cualquier carácter; vacío: ninguno."
    ),
    "security.denied_actions": "Acciones que siempre se rechazan.",
    "security.require_clear_bed": (
        "Después de un trabajo, rechazar las impresiones remotas hasta que alguien declare "
        "libre la cama."
    ),
    "security.emergency_power_device": (
        "Un dispositivo de [power] de Moonraker que se apaga cuando Klippy no acepta una parada de "
        "emergencia del hub; vacío: ninguno."
    ),
    "commands.heat_preset": (
        "Lo que significa heat sin ningún parámetro, como lo envía el botón de la generación 1: "
        "hotend/cama en °C, cualquiera puede faltar (200/ o /60); vacío: se rechaza."
    ),
    "expiry.emergency_stop": (
        "Una parada de emergencia más antigua no se ejecuta; 0: nunca vence."
    ),
    "expiry.control": (
        "Lo mismo para pausar, reanudar, cancelar, velocidad, ventilador y sistema; 0: nunca vence."
    ),
    "expiry.gcode": ("Lo mismo para calentar, home, G-code y macros; 0: nunca vence."),
    "expiry.print": "Lo mismo para empezar una impresión; 0: nunca vence.",
    "actions": ("Acciones propias: un nombre, su G-code o macro y los límites de sus parámetros."),
    "printer.part_fan": (
        "El ventilador que enfría la pieza, como lo llama printer.cfg; vacío: [fan], o lo que "
        "mueva M106."
    ),
    "printer_data.tags": "Etiquetas con las que el hub agrupa impresoras.",
    "printer_data.filament": (
        "El filamento cargado: material, color, remaining (también se envía cualquier otro nombre)."
    ),
    "printer_data.bed_status": (
        "Estado de la cama que muestra el hub; con security.require_clear_bed lo pone el plugin."
    ),
    "printer_data.bed_needs_clearing": (
        "Lo que se le dice al hub de una cama por despejar, con security.require_clear_bed; vacío: "
        "por despejar, o needs clearing si el idioma es el inglés."
    ),
    "printer_data.bed_clear": (
        "Lo mismo de una cama libre; vacío: limpia, o clear. Si printer_data.bed_status tiene un"
        " valor, va antes."
    ),
    "printer_data.location": "Dónde está la impresora.",
}

SECTIONS: Dict[str, str] = {
    "": "Conexión",
    "camera": "Cámaras y timelapse",
    "intervals": "Intervalos",
    "timeouts": "Tiempos de espera",
    "retries": "Reintentos",
    "network": "Red",
    "file_management": "Archivos",
    "logging": "Registro",
    "security": "Seguridad",
    "commands": "Comandos",
    "expiry": "Vencimiento de los comandos",
    "printer": "Partes de la impresora",
    "printer_data": "Datos de la impresora",
}

UNITS: Dict[str, str] = {
    "seconds": "segundos",
    "days": "días",
    "videos": "videos",
    "files": "archivos",
    "frames a second": "fotogramas por segundo",
    "MB": "MB",
}

NO_LONGER_NEEDED: Dict[str, str] = {
    "moonraker_url": "el plugin funciona dentro de Moonraker y no necesita su dirección",
    "file_management.gcode_directory": "las descargas van a la carpeta gcodes de Moonraker",
    "auto_update": "el gestor de actualizaciones de Moonraker actualiza el plugin",
}
