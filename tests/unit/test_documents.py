"""The documents: links that lead somewhere, sentences that the code really says, one Spanish."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from components.hub.protocol import Features, Generation
from components.printer.host import HostStats
from components.printer.snapshot import Snapshot
from components.settings.model import Settings
from components.status.body import Report, build_body
from components.status.events import FAILED, JOB_EVENTS, RECORD
from components.store.journal import GAP, SAMPLE

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted(
    [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "server").glob("*.md")]
)
TROUBLE = [ROOT / "docs" / "troubleshooting.md", ROOT / "docs" / "es" / "problemas.md"]

ROBUST = [ROOT / "docs" / "robustness.md", ROOT / "docs" / "es" / "robustez.md"]
MATRIX = ROOT / "tests" / "stack" / "fault_matrix"

GUIDES = [
    ROOT / "docs" / "architecture.md",
    ROOT / "docs" / "es" / "arquitectura.md",
    ROOT / "CONTRIBUTING.md",
]

CATALOGUE = ROOT / "components" / "locale" / "es" / "LC_MESSAGES" / "tecmedhub.po"
SPANISH_QUOTES = [
    ROOT / "docs" / "es" / f"{name}.md" for name in ("problemas", "camaras", "robustez")
]
SPANISH = sorted(
    [
        *(ROOT / "docs" / "es").glob("*.md"),
        ROOT / "server" / "LEEME.md",
        ROOT / "install.sh",
        ROOT / "components" / "web" / "panel" / "texts.js",
        CATALOGUE,
    ]
)
# What docs/es/glosario.md has another word for.
OTHER_WORDS = {
    r"ordenador(es)?": "computadora",
    r"móvil(es)?": "celular",
    r"vídeos?": "video",
    r"ficheros?": "archivo",
    r"órdenes|(una|la|las|cada|esta|otra|ninguna|última) orden": "comando",
    r"sucesos?": "evento",
    r"avisos?": "advertencia",
    r"cortafuegos": "firewall",
    r"añad\w+|añád\w+": "agregar",
    r"caduc\w+": "vencer",
    r"por defecto": "predeterminado",
    r"suma de comprobación": "suma de verificación",
    r"ustedes|usted": "tú",
}
# Requests in the form of usted: where a sentence or a table's cell begins, or with lo or la.
FORMAL = re.compile(
    r"(?:^|\n ?|[.:;(|>¡\"'*] ?|, |\b[yo] |[.;:] no )"
    r"(?:abra|agregue|apague|arranque|borre|baje|cambie|compare|compruebe|conecte|copie|deje"
    r"|desenchufe|ejecute|elija|encienda|envíe|escriba|espere|guarde|haga|indique|instale|limite"
    r"|mire|pida|ponga|presione|pruebe|pulse|quite|reinicie|retire|revise|suba|use|vea)"
    r" (?:el|la|los|las|un|una|su|sus|otra|de|en|también|archivos|Moonraker|[`*])"
    r"|\b(?:ábra|agrégue|apágue|bórre|cámbie|compruébe|conécte|cópie|déje|ejecúte|escríba|guárde"
    r"|hága|inténte|póng[ae]|pruébe|quíte|reinície|revíse)(?:lo|la|los|las)\b",
    re.IGNORECASE,
)

# Said by others: Moonraker, Klipper.
OTHERS = ("Unparsed config section", "Remote method '", "' not registered", "Lost communication")


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@cache
def sentences() -> str:
    """Every text of the code, with a line end for each value put into it."""
    texts = []
    for path in (ROOT / "components").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = [
                    part.value if isinstance(part, ast.Constant) else "\n" for part in node.values
                ]
                texts.append("".join(str(part) for part in parts))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(node.value)
    return "\n".join(texts)


@cache
def anchors(path: Path) -> set[str]:
    """The headings of a document, as forges make addresses of them."""
    text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    headings = re.findall(r"^#+ +(.+)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_links_lead_somewhere(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        there = (path.parent / file).resolve() if file else path
        assert there.exists(), target
        if anchor:
            assert anchor in anchors(there), target


@pytest.mark.parametrize("path", TROUBLE, ids=name_of)
def test_the_sentences_that_are_explained_are_the_codes_own(path: Path) -> None:
    rows = re.findall(r"^\| (.+?) \|", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    quotes = [quote for row in rows for quote in re.findall(r"\*([^*]+)\*", row) if "…" in quote]
    assert len(quotes) > 20
    for quote in quotes:
        for piece in re.split(r"…|429|404|500", quote):
            wanted = piece.strip(" )(\"'")
            if len(wanted) > 3 and not any(wanted in other for other in OTHERS):
                assert wanted in sentences(), quote


@pytest.mark.parametrize("path", SPANISH_QUOTES, ids=name_of)
def test_the_sentences_quoted_in_spanish_are_the_catalogues_own(path: Path) -> None:
    catalogue = CATALOGUE.read_text(encoding="utf-8").replace('"\n"', "")
    rows = re.findall(r"^\| .+ \|$", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    quotes = [quote for row in rows for quote in re.findall(r"«([^»]+)»", row)]
    assert len(quotes) > 5
    for quote in quotes:
        for piece in re.split(r"…|\d{3}", quote):
            assert piece.strip(" )(") in catalogue, quote


@pytest.mark.parametrize("path", ROBUST[:1], ids=name_of)
def test_the_warnings_of_each_fault_are_the_codes_own(path: Path) -> None:
    rows = re.findall(r"^\| .+ \|$", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    quotes = [quote for row in rows for quote in re.findall(r"\*([^*]+)\*", row) if "…" in quote]
    assert len(quotes) > 30
    for quote in quotes:
        for piece in quote.split("…"):
            wanted = piece.strip(" :.)(\"'")
            if len(wanted) > 3 and wanted not in OTHERS:
                assert wanted in sentences(), quote


def test_the_tests_that_show_each_fault_are_there_and_all_are_named() -> None:
    others = (MATRIX.parent / "test_network.py", MATRIX.parent / "test_silence.py")
    tests = ROOT / "tests"
    virtual = ("unit/hub/test_bad_lines.py", "simulation/test_start_and_exit.py")
    files = [*sorted(MATRIX.glob("test_*.py")), *others, *(tests / name for name in virtual)]
    code = "".join(path.read_text(encoding="utf-8") for path in files)
    for path in ROBUST:
        text = path.read_text(encoding="utf-8")
        named = re.findall(r"`(test_\w+)(?:\[([^\]]+)\])?`", text)
        for name, row in named:
            assert f"def {name}(" in code, name
            assert not row or f'"{row}"' in code, row
        assert {name for name, _ in named} == set(re.findall(r"^def (test_\w+)\(", code, re.M))


@pytest.mark.parametrize("name", ["protocol.md", "es/protocolo.md"])
def test_every_field_of_the_status_and_every_event_is_documented(name: str) -> None:
    text = (ROOT / "docs" / name).read_text(encoding="utf-8")
    report = Report(
        settings=Settings(),
        generation=Generation.ONE,
        name="",
        version="",
        now=0.0,
        snapshot=Snapshot(),
        host=HostStats(),
        files=(),
        jobs=(),
        last_completed="",
        bed_status="",
    )
    kinds = set(re.findall(r"`(\w+)`", text))
    for field in (
        *build_body(report),
        *JOB_EVENTS.values(),
        FAILED,
        RECORD,
        SAMPLE,
        GAP,
        *Features._fields,
    ):
        assert field in kinds or f"`{field}:" in text, field


@pytest.mark.parametrize("pair", [TROUBLE, ROBUST], ids=["troubleshooting", "robustness"])
def test_both_languages_explain_the_same(pair: list[Path]) -> None:
    english, spanish = (path.read_text(encoding="utf-8") for path in pair)
    names = r"`(test_\w+(?:\[[^\]]+\])?)`"
    assert re.findall(names, english) == re.findall(names, spanish)
    sentence = r"\*([^*|]*…[^*|]*)\*"
    if pair is TROUBLE:  # the Spanish page has both
        assert re.findall(sentence, english) == re.findall(sentence, spanish)


def test_every_document_has_its_other_language() -> None:
    for path in DOCUMENTS:
        if path.name == "performance.md":  # figures, written by `make bench`
            continue
        other = re.search(r"^\[(Español|English)\]\((.+)\)$", path.read_text("utf-8"), re.MULTILINE)
        assert other is not None, name_of(path)
        assert (path.parent / other[2]).exists(), name_of(path)


@pytest.mark.parametrize("path", SPANISH, ids=name_of)
def test_the_spanish_speaks_with_one_voice(path: Path) -> None:
    text = re.sub(r'"\s*\n\s*"', "", path.read_text(encoding="utf-8"))
    text = re.sub(r"(?<!\|)\n(?=\S)", " ", text)
    for words, ours in OTHER_WORDS.items():
        found = re.search(rf"\b({words})\b", text, re.IGNORECASE)
        assert found is None, f"'{found and found[0]}': we say {ours}"
    formal = FORMAL.search(text)
    assert formal is None, f"'{formal and formal[0]}': we say tú"


def rooms_there_are() -> set[str]:
    components = ROOT / "components"
    return {path.parent.name for path in components.glob("*/__init__.py")}


@pytest.mark.parametrize("path", GUIDES, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_the_guides_name_in_the_code_is_there(path: Path) -> None:
    """`printer/news.py`, and `policy.STANDING`: a name of one of the modules called so."""
    named = set(re.findall(r"`([\w./]+)`", path.read_text(encoding="utf-8")))
    for name in (name for name in named if re.search(r"\w\.py$", name)):
        places = [ROOT / folder / name for folder in ("", "components", "tests/simulation")]
        assert any(place.exists() for place in places), name
    for name in (name for name in named if re.fullmatch(r"[a-z_]+\.(?!py$)\w+", name)):
        module, _, inside = name.partition(".")
        sources = list((ROOT / "components").rglob(f"{module}.py"))
        assert not sources or any(inside in source.read_text("utf-8") for source in sources), name


def test_the_tests_that_a_newcomer_is_told_to_run_are_there() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rows = re.findall(r"\$P -m pytest \"?([\w/.]+)\"? -k (\w+)", text)
    assert len(rows) > 2
    for place, word in rows:
        files = [ROOT / place, *(ROOT / place).rglob("test_*.py")]
        sources = [file.read_text("utf-8") for file in files if file.is_file()]
        chosen = re.compile(rf'def test_\w*{word}|^    "[^"]*{word}', re.MULTILINE)
        assert any(map(chosen.search, sources)), f"{place} -k {word}"


def test_the_drawing_shows_the_rooms_there_are() -> None:
    drawing = (ROOT / "docs" / "images" / "architecture.svg").read_text("utf-8")
    shown = re.findall(r'<text class="t"[^>]*>([^<]+)</text>', drawing)
    assert sorted(shown) == sorted({*rooms_there_are(), "Moonraker", "The hub"})


@pytest.mark.parametrize("page", ["architecture.md", "es/arquitectura.md"])
def test_the_table_of_rooms_is_whole(page: str) -> None:
    text = (ROOT / "docs" / page).read_text("utf-8")
    table = text[text.index("| `runtime` |") : text.index("| `tecmedhub.py` |")]
    named = re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)
    assert sorted(named) == sorted(rooms_there_are())
