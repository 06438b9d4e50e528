"""With `language: es` people read Spanish: at the hub, the console, in warnings and the status."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.rig.gcode import make_gcode
from tests.rig.stack import Stack

pytestmark = pytest.mark.stack


@pytest.fixture
def spanish(make_stack: Callable[..., Stack]) -> Stack:
    return make_stack(options={"language": "es"})


def test_what_people_read_is_spanish(spanish: Stack) -> None:
    def said(action: str, status: str, **params: object) -> str:
        result = spanish.do(action, **params)
        assert result.status == status, result.message  # the hub's word stays as it is
        return str(result.message)

    with spanish.moonraker.websocket() as page:

        def line(words: str) -> None:
            def heard() -> bool:
                lines = [str(p[0]) for m, p in list(page.messages) if m == "notify_gcode_response"]
                return any(t.startswith("// TecMedHub:") and words in t for t in lines)

            spanish.moonraker.wait(heard, 15, f"a console line with {words}")

        assert said("home", "done") == "ejes con home: X Y Z"
        line("Hub: home hecho: ejes con home: X Y Z")
        assert said("cool_down", "done") == "todos los calentadores están apagados"
        assert said("pause", "refused") == (
            "No se está imprimiendo nada, así que pause no tiene efecto."
        )
        line("Hub: pause rechazado: No se está imprimiendo nada")
        assert said("set_speed", "refused", speed=900) == (
            "speed 900 está fuera de rango: da un número de 50 a 200 %."
        )
        assert said("macro", "refused", macro_name="nowhere") == (
            "No hay gcode_macro NOWHERE en la configuración de la impresora: revisa el nombre."
        )
        assert said("print_local", "refused", file="gone.gcode").startswith(
            "gone.gcode no está entre los archivos de la impresora: "
        )

        # A reason within a reason.
        spanish.put("cube.gcode", make_gcode(seconds=60))
        assert said("print_local", "done", file="cube.gcode") == "imprimiendo cube.gcode"
        assert said("home", "refused") == (
            "G28 afectaría al trabajo cube.gcode, que está imprimiendo (porque mueve el cabezal o"
            " el extrusor): espera a que termine, o envíalo con confirm: true."
        )
        said("cancel", "done")

        # Another room: the link to the hub, in a warning and at the console.
        spanish.hub.kill()
        line("rechaza conexiones")
        assert any("rechaza conexiones" in text for text in spanish.moonraker.warnings())
        spanish.hub.restart()
        spanish.wait_connected()

    spanish.klippy.stop()

    def told() -> bool:
        status = spanish.hub.status(spanish.token) or {}
        return status.get("state_message") == "Klippy no está conectado"

    spanish.moonraker.wait(told, 15, "the status of a printer without Klippy")


def test_what_was_kept_is_told_in_the_language_of_whoever_reads(
    make_stack: Callable[..., Stack],
) -> None:
    """A result that waited for the hub over a restart, and a change of the language."""
    stack = make_stack()

    stack.hub.fault("status", "html_500")  # results cannot be told
    home = stack.hub.queue(stack.token, "home")

    def told(language: str) -> str:
        path = f"/server/tecmedhub/commands?lang={language}"
        rows = {row["id"]: row for row in stack.moonraker.get(path)["commands"]}
        return str(rows[home]["message"]) if home in rows else ""

    stack.moonraker.wait(lambda: told("en") == "homed X Y Z", 20, "the end of the command")
    assert told("es") == "ejes con home: X Y Z"

    stack.configure(language="es")
    assert (told("en"), told("es")) == ("homed X Y Z", "ejes con home: X Y Z")
    stack.hub.clear_faults()
    result = stack.hub.wait_for(
        lambda: stack.hub.result(stack.token, home), 20, "the result, in the hub's language"
    )
    assert result.message == "ejes con home: X Y Z"
