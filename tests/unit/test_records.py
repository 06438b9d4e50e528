"""Records behave as `typing.NamedTuple`, which the type checker takes them for."""

import copy
import pickle
import typing

import pytest

from components.runtime.records import NamedTuple


class Spot(NamedTuple):
    """Where, and how warm."""

    name: str
    celsius: float = 20.0
    labels: tuple[str, ...] = ()

    @property
    def warm(self) -> bool:
        return self.celsius > 30


class Reference(typing.NamedTuple):
    name: str
    celsius: float = 20.0
    labels: tuple[str, ...] = ()


@pytest.mark.parametrize(
    "given",
    [
        (("bed",), {}),
        (("bed", 60.0), {"labels": ("a",)}),
        (("bed", 60.0, ("a",)), {}),
        ((), {"labels": (), "name": "bed", "celsius": 1.5}),
    ],
)
def test_made_and_read_as_a_named_tuple(given: tuple[tuple[object, ...], dict[str, object]]):
    values, named = given
    ours, theirs = Spot(*values, **named), Reference(*values, **named)  # type: ignore[arg-type]
    assert ours == theirs and hash(ours) == hash(theirs)
    assert (ours.name, ours.celsius, ours.labels) == tuple(theirs)
    assert ours._asdict() == theirs._asdict()
    assert ours._replace(name="x") == theirs._replace(name="x")
    assert repr(ours) == repr(theirs).replace("Reference", "Spot")
    assert Spot._fields == Reference._fields


def test_properties_unpacking_and_copies():
    spot = Spot("bed", 60.0)
    name, celsius, _ = spot
    assert (name, celsius, spot.warm, Spot("x").warm) == ("bed", 60.0, True, False)
    assert Spot.__doc__ == "Where, and how warm."
    for twin in (copy.copy(spot), copy.deepcopy(spot), pickle.loads(pickle.dumps(spot))):
        assert twin == spot and type(twin) is Spot


def test_it_cannot_be_changed():
    spot = Spot("bed")
    with pytest.raises(AttributeError):
        spot.name = "x"  # type: ignore[misc]
    with pytest.raises(AttributeError):
        spot.other = "x"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("values", "named", "said"),
    [
        ((), {}, "name"),
        (("a", 1.0, (), "too many"), {}, "3"),
        (("a",), {"name": "b"}, "name"),
        (("a",), {"colour": "red"}, "colour"),
    ],
)
def test_wrong_values_are_refused(values, named, said):
    with pytest.raises(TypeError, match=said):
        Spot(*values, **named)
    with pytest.raises(TypeError, match=said if said in ("name", "colour") else None):
        Reference(*values, **named)


def test_a_default_must_not_stand_before_a_field_without():
    with pytest.raises(TypeError, match="default"):

        class Wrong(NamedTuple):
            name: str = ""
            celsius: float


def test_each_of_many_fields_is_its_own():
    names = [f"field_{number}" for number in range(40)]
    wide = type(NamedTuple)("Wide", (NamedTuple,), {"__annotations__": dict.fromkeys(names, int)})
    record = wide(*range(40))
    assert [getattr(record, name) for name in names] == list(range(40))
