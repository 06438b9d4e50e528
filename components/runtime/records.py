"""`typing.NamedTuple` in less memory: to the type checker it is that very class.

typing compiles the annotation of every field, and collections generates code for every class, which
for sixty plain values is a good part of what the plugin costs. Here all of them share these few
functions. What nobody needs (`_make`, `rename`) is not there.
"""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING, Any, Dict, List

__all__ = ["NamedTuple"]

if TYPE_CHECKING:
    from typing import NamedTuple
else:
    # The n-th field of whichever class. Made beforehand: rooms are also imported in threads.
    _PLACES = tuple(property(itemgetter(number)) for number in range(32))

    def _place(number: int) -> property:
        return _PLACES[number] if number < len(_PLACES) else property(itemgetter(number))

    class _Record(type):
        """Turns the annotated names of a class body into the places of a tuple."""

        def __new__(mcs, name: str, bases: Any, body: Dict[str, Any]) -> Any:
            fields = tuple(body.get("__annotations__", ()))
            defaults = {field: body[field] for field in fields if field in body}
            if list(defaults) != list(fields[len(fields) - len(defaults) :]):
                raise TypeError(f"{name}: a field without a default follows one that has one")
            body.update((field, _place(number)) for number, field in enumerate(fields))
            body.update(__slots__=(), _fields=fields, _field_defaults=defaults)
            return super().__new__(mcs, name, bases, body)

    class NamedTuple(tuple, metaclass=_Record):
        def __new__(cls, *values: Any, **named: Any) -> Any:
            fields = cls._fields
            if named or len(values) != len(fields):
                values = _complete(cls, values, named)
            return tuple.__new__(cls, values)

        def _replace(self, **changes: Any) -> Any:
            return type(self)(**{**self._asdict(), **changes})

        def _asdict(self) -> Dict[str, Any]:
            return dict(zip(self._fields, self))

        def __getnewargs__(self) -> Any:  # for copy and pickle
            return tuple(self)

        def __repr__(self) -> str:
            inside = ", ".join(f"{field}={value!r}" for field, value in self._asdict().items())
            return f"{type(self).__name__}({inside})"

    def _complete(cls: Any, values: Any, named: Dict[str, Any]) -> List[Any]:
        """All values in order; TypeError as any call with the wrong arguments."""
        rest = cls._fields[len(values) :]
        if len(values) > len(cls._fields):
            raise TypeError(f"{cls.__name__}() takes {len(cls._fields)} values, not {len(values)}")
        if len(named) == len(rest):  # all are given: the ordinary case
            try:
                return [*values, *[named[field] for field in rest]]
            except KeyError:
                pass  # told below
        unknown = named.keys() - set(rest)
        if unknown:
            raise TypeError(f"{cls.__name__}() cannot take {', '.join(sorted(unknown))}")
        known = {**cls._field_defaults, **named}
        try:
            return [*values, *(known[field] for field in rest)]
        except KeyError as missing:
            raise TypeError(f"{cls.__name__}() lacks {missing}") from None
