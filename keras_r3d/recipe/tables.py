"""Tables of a recipe: classes that check their values, read from TOML and written back.

A key whose default is None or False is an extra: absent from a file, it is not done. All other
keys must stand in a file, whatever default they have for Python users.
"""

import dataclasses
import difflib
import json
import math
import sys
import types
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

from keras_r3d.system.errors import RecipeError

Problem = tuple[str, str]  # a key, and what is wrong with its value
Field = dataclasses.Field[Any]


class Between(NamedTuple):
    """Smallest and largest number a field may hold."""

    low: float
    high: float = math.inf


class TableError(RecipeError):
    """Some values of a table are wrong."""

    def __init__(self, table: str, problems: Sequence[Problem]):
        self.problems = problems
        super().__init__(listed(table, [f"{table}: `{key}` {text}" for key, text in problems]))


@typing.dataclass_transform(frozen_default=True, field_specifiers=(dataclasses.field,))
class Table:
    """A table of a recipe; classes of it are frozen dataclasses, those of a choice have a `kind`.

    Raises:
        RecipeError: a value has the wrong type, is out of range, or is at odds with another.
    """

    kind: ClassVar[str] = ""
    __dataclass_fields__: ClassVar[dict[str, Field]]

    def __init_subclass__(cls, kind: str = "") -> None:
        cls.kind = kind
        dataclasses.dataclass(frozen=True)(cls)

    def __post_init__(self) -> None:
        problems = []
        for field in dataclasses.fields(self):
            try:
                object.__setattr__(self, field.name, _checked(field, getattr(self, field.name)))
            except ValueError as error:
                problems.append((field.name, str(error)))
        if problems := problems or list(self._at_odds()):
            raise TableError(type(self).__name__, problems)

    def _at_odds(self) -> Iterator[Problem]:
        """Yields what is wrong with values that do not fit others."""
        yield from ()


def keys(table: type[Table]) -> dict[str, Field]:
    """Returns the keys that a table may have in a file."""
    return {f.name: f for f in dataclasses.fields(table) if f.metadata.get("key", True)}


def is_extra(field: Field) -> bool:
    """Whether a key is absent where it is not done."""
    return field.default is None or field.default is False


def subtables(field: Field) -> list[type[Table]]:
    """Returns the tables that a key may hold."""
    options = typing.get_args(field.type) or (field.type,)
    return [t for t in options if isinstance(t, type) and issubclass(t, Table)]


def walk(table: type[Table], path: str = "") -> Iterator[tuple[str, type[Table]]]:
    """Yields a table and those in it, with their paths, such as "train."."""
    yield path, table
    for name, field in keys(table).items():
        for choice in subtables(field):
            yield from walk(choice, f"{path}{name}.")


def key_places(root: type[Table]) -> dict[str, str]:
    """Returns where each key of nested tables stands, the outermost where several have its name."""
    tables = sorted(walk(root), key=lambda item: -item[0].count("."))
    return {name: path + name for path, table in tables for name in keys(table)}


def listed(subject: str, problems: Sequence[str]) -> str:
    """Returns the text of an error: the only problem, or all of them, one a line."""
    if len(problems) == 1:
        return problems[0]
    return "\n  ".join([f"{subject} has {len(problems)} problems:", *problems])


def suggest(word: str, choices: Iterable[str], prefix: str = "") -> str:
    """Returns " Did you mean …?" for the choice nearest to a word, or ""."""
    close = difflib.get_close_matches(word, list(choices), n=1)
    return f" Did you mean '{prefix}{close[0]}'?" if close else ""


def read(root: type[Table], values: Any) -> Any:
    """Reads nested tables; one RecipeError says all that is wrong with them."""
    reader = _Reader(key_places(root))
    table = reader.read([root], values, "")
    if reader.problems:
        raise RecipeError(listed("The recipe", reader.problems))
    return table


class _Reader:
    """Reads tables and collects what is wrong with them."""

    def __init__(self, places: Mapping[str, str]):
        self.problems: list[str] = []
        self._places = places

    def read(self, choices: Sequence[type[Table]], values: Any, path: str) -> Table | None:
        """Reads one of some tables at a path such as "train."; None if it cannot be made."""
        if not isinstance(values, Mapping):
            self._note(path[:-1], f"must be a table. Received: {values!r}")
            return None
        kinds = [table.kind for table in choices]
        kind = values.get("kind") if any(kinds) else ""
        if kind not in kinds:
            self._note(f"{path}kind", f"must be one of {kinds}. Received: {kind!r}")
            return None
        table, arguments = choices[kinds.index(kind)], {}
        fields, others = keys(table), {name: t.kind for t in choices for name in keys(t)}
        expected = {*fields, "kind"} if kind else {*fields}
        for name in (name for name in values if name not in expected):
            if name in others:
                what = f"this {path.split('.')[-2]} is {kind}: leave it out."
                self._note(path + name, f"belongs to {others[name]}; {what}")
            else:
                self._note_unknown(name, values[name], path, fields)
        problems_before = len(self.problems)  # in spite of unknown keys, the others are checked
        for name, field in fields.items():
            place, tables, value = path + name, subtables(field), values.get(name)
            if value is None:
                if not is_extra(field):
                    self._note(place, "is missing.")
            elif tables:
                arguments[name] = self.read(tables, value, f"{place}.")
            else:
                try:
                    arguments[name] = _checked(field, value)
                except ValueError as error:
                    self._note(place, str(error))
        if len(self.problems) == problems_before:
            try:
                return table(**arguments)
            except TableError as error:
                for name, text in error.problems:
                    self._note(path + name, text)
        return None

    def _note(self, place: str, text: str) -> None:
        self.problems.append(f"Recipe key '{place}' {text}")

    def _note_unknown(self, key: str, value: Any, path: str, siblings: Iterable[str]) -> None:
        """Notes an unknown key, or each key of an unknown table."""
        if isinstance(value, Mapping) and value:
            for name in value:
                self._note_unknown(name, value[name], f"{path}{key}.", ())
            return
        hint = f" It stands at '{self._places[key]}'." if key in self._places else ""
        hint = hint or suggest(key, siblings, path) or suggest(key, self._places)
        self.problems.append(f"Unknown recipe key '{path}{key}'.{hint}")


def as_dict(table: Table) -> dict[str, Any]:
    """Returns a table as TOML and JSON can hold it, without extras that are not done."""
    values: dict[str, Any] = {"kind": table.kind} if table.kind else {}
    for name, field in keys(type(table)).items():
        value = getattr(table, name)
        if isinstance(value, Table):
            values[name] = as_dict(value)
        elif not is_extra(field) or value is not field.default:
            values[name] = list(value) if isinstance(value, tuple) else value
    return values


def to_toml(values: Mapping[str, Any], path: str = "") -> str:
    """Writes nested tables as TOML."""
    tables = {name: value for name, value in values.items() if isinstance(value, Mapping)}
    text = f"[{path}]\n" if path and (not values or values.keys() - tables.keys()) else ""
    for name, value in values.items():
        if name not in tables:
            # JSON is TOML here, but for DEL, which TOML wants escaped.
            value = json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F")
            text += f"{name} = {value}\n"
    for name, value in tables.items():
        text += ("\n" if text else "") + to_toml(value, f"{path}.{name}".lstrip("."))
    return text


def _checked(field: Field, value: Any) -> Any:
    """Returns a value as the type that a field states, or raises ValueError."""
    union = typing.get_origin(field.type) in (typing.Union, types.UnionType)
    options = list(typing.get_args(field.type)) if union else [field.type]
    if types.NoneType in options:
        if value is None:
            return None
        options.remove(types.NoneType)
    is_list, wrong = isinstance(value, list | tuple), []
    fitting = [option for option in options if (typing.get_origin(option) is tuple) == is_list]
    for option in fitting or options:
        try:
            return _convert(option, value)
        except ValueError as error:
            wrong.append(error.args)
    expected = " or ".join(text for text, _ in wrong)
    raise ValueError(f"must be {expected}. Received: {wrong[-1][1]!r}")


def _convert(hint: Any, value: Any, low: float = -math.inf, high: float = math.inf) -> Any:
    """Returns a value as a type; a ValueError has what it must be, and the value or its part."""
    origin, options = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return _convert(options[0], value, *options[1])
    expected = getattr(hint, "__name__", "")
    if origin is Literal:
        if any(value == option and type(value) is type(option) for option in options):
            return value
        expected = f"one of {list(options)}" if len(options) > 1 else repr(options[0])
    elif origin is tuple:
        any_length = options[-1] is Ellipsis
        if isinstance(value, list | tuple) and (
            value if any_length else len(value) == len(options)
        ):
            return tuple(_convert(options[0], item) for item in value)
        expected = "a list, not empty" if any_length else f"a list of {len(options)}"
    elif hint in (int, float) and type(value) in (int, hint):
        if low <= value <= high and abs(value) <= sys.float_info.max:
            return hint(value)
        expected = f"at least {low:g}" if high == math.inf else f"from {low:g} to {high:g}"
        if not abs(value) <= sys.float_info.max:  # nor is NaN
            expected = "finite"
    elif hint not in (int, float) and isinstance(value, hint):
        return value
    raise ValueError(expected, value)
