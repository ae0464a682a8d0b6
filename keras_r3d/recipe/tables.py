"""Tables of a recipe: frozen dataclasses that check their values, read from TOML and written back.

A field whose default is None or False is an extra: absent from a file, it is not done. All other
fields must stand in a file, whatever default they have for Python users.
"""

import dataclasses
import difflib
import json
import math
import types
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

from keras_r3d.system.errors import RecipeError


class Between(NamedTuple):
    """Smallest and largest number a field may hold."""

    low: float
    high: float = math.inf

    def __str__(self) -> str:
        bounded = math.isfinite(self.high)
        return f"from {self.low:g} to {self.high:g}" if bounded else f"at least {self.low:g}"


class TableError(RecipeError):
    """Some values of a table are wrong; each of the `problems` begins with its "`key` "."""

    def __init__(self, table: str, problems: Sequence[str]):
        self.problems = problems
        super().__init__(listed(table, [f"{table}: {text}" for text in problems]))


@dataclasses.dataclass(frozen=True)
class Table:
    """A table of a recipe.

    Raises:
        RecipeError: a value has the wrong type, is out of range, or is at odds with another.
    """

    kind: ClassVar[str] = ""

    def __post_init__(self) -> None:
        problems = []
        for name, hint in field_types(type(self)).items():
            try:
                object.__setattr__(self, name, _convert(hint, getattr(self, name)))
            except ValueError as error:
                problems.append(f"`{name}` {error}")
        if problems := problems or list(self._at_odds()):
            raise TableError(type(self).__name__, problems)

    def _at_odds(self) -> Iterator[str]:
        """Yields what is wrong with values that do not fit others."""
        yield from ()


def field_types(table: type[Table]) -> dict[str, Any]:
    """Returns the type of each key of a table; fields that only Python users set are left out."""
    if table not in _types:  # which takes a while to find out
        hints = typing.get_type_hints(table, include_extras=True)
        keys = [f.name for f in dataclasses.fields(table) if f.metadata.get("key", True)]
        _types[table] = {key: hints[key] for key in keys}
    return _types[table]


_types: dict[type[Table], dict[str, Any]] = {}


def listed(subject: str, problems: Sequence[str]) -> str:
    """Returns the text of an error: the only problem, or all of them, one a line."""
    if len(problems) == 1:
        return problems[0]
    return "\n  ".join([f"{subject} has {len(problems)} problems:", *problems])


def subtables(hint: Any) -> dict[str, type[Table]]:
    """Returns the tables that a field may hold, by their `kind` ("" if there is but one)."""
    options = typing.get_args(hint) if _is_union(hint) else (hint,)
    return {t.kind: t for t in options if isinstance(t, type) and issubclass(t, Table)}


def read(root: type[Table], values: Mapping[str, Any]) -> Any:
    """Reads nested tables; one RecipeError says all that is wrong with them."""
    reader = _Reader(root)
    table = reader.read_table(root, values, "")
    if reader.problems:
        raise RecipeError(listed("The recipe", reader.problems))
    return table


class _Reader:
    """Reads tables and collects what is wrong with them."""

    def __init__(self, root: type[Table]):
        self.problems: list[str] = []
        self._places = key_places(root)

    def read_table(self, table: type[Table], values: Any, path: str) -> Table | None:
        """Reads a table at a path such as "train."; None if something is wrong in it."""
        if not isinstance(values, Mapping):
            self.problems.append(f"Recipe section [{path[:-1]}] must be a table.")
            return None
        hints, problems_before = field_types(table), len(self.problems)
        extras = {f.name for f in dataclasses.fields(table) if f.default in (None, False)}
        for key in values:
            if key not in hints and not (key == "kind" and table.kind):
                self._note_unknown(key, values[key], path, hints)
        arguments: dict[str, Any] = {}
        for key, hint in hints.items():
            tables = subtables(hint)
            if key in values:
                value = values[key]
                arguments[key] = self._read_choice(tables, value, path + key) if tables else value
            elif key not in extras:
                missing = f"section [{path}{key}]" if tables else f"key '{path}{key}'"
                self.problems.append(f"Recipe {missing} is missing.")
        # Values are checked also where keys are missing, so that all problems come at once.
        reported = {k for k in hints if arguments.get(k) is None and k not in extras - set(values)}
        try:
            made = table(**dict.fromkeys(reported) | arguments)
        except TableError as error:
            for problem in error.problems:
                _, key, text = problem.split("`", 2)
                if key not in reported:
                    self.problems.append(f"Recipe key '{path}{key}'{text}")
            return None
        return made if len(self.problems) == problems_before else None

    def _read_choice(self, tables: dict[str, type[Table]], values: Any, path: str) -> Table | None:
        """Reads the one of several tables that `kind` names."""
        if "" in tables or not isinstance(values, Mapping):
            return self.read_table(next(iter(tables.values())), values, f"{path}.")
        kind = values.get("kind")
        if kind not in tables:
            self.problems.append(
                f"Recipe key '{path}.kind' must be one of {list(tables)}. Received: {kind!r}"
            )
            return None
        keys, kept = field_types(tables[kind]), dict(values)
        others = {key: name for name in tables for key in field_types(tables[name])}
        for key in values:
            if key in others and key not in keys:
                del kept[key]
                self.problems.append(
                    f"Recipe key '{path}.{key}' belongs to {others[key]}; this "
                    f"{path.rpartition('.')[2]} is {kind}: leave it out."
                )
        return self.read_table(tables[kind], kept, f"{path}.")

    def _note_unknown(self, key: str, value: Any, path: str, siblings: Iterable[str]) -> None:
        """Notes an unknown key, or each key of an unknown table."""
        if isinstance(value, Mapping) and value:
            for name in value:
                self._note_unknown(name, value[name], f"{path}{key}.", ())
            return
        hint = f" It stands at '{self._places[key]}'." if key in self._places else ""
        hint = hint or suggest(key, siblings, path) or suggest(key, self._places)
        self.problems.append(f"Unknown recipe key '{path}{key}'.{hint}")


def key_places(table: type[Table], path: str = "") -> dict[str, str]:
    """Returns where each key of nested tables stands."""
    places = {}
    for key, hint in field_types(table).items():
        places[key] = f"{path}{key}"
        for choice in subtables(hint).values():
            places |= key_places(choice, f"{path}{key}.")
    return places


def as_dict(table: Table) -> dict[str, Any]:
    """Returns a table as TOML and JSON can hold it, without extras that are not done."""
    values: dict[str, Any] = {"kind": table.kind} if table.kind else {}
    defaults = {field.name: field.default for field in dataclasses.fields(table)}
    for key in field_types(type(table)):
        value = getattr(table, key)
        if isinstance(value, Table):
            values[key] = as_dict(value)
        elif value is not None and not (value is False and defaults[key] is False):
            values[key] = list(value) if isinstance(value, tuple) else value
    return values


def to_toml(values: Mapping[str, Any], path: str = "") -> str:
    """Writes nested tables as TOML."""
    lines = [f"{k} = {_toml(v)}" for k, v in values.items() if not isinstance(v, Mapping)]
    text = "".join(f"{line}\n" for line in ([f"[{path}]"] if path and lines else []) + lines)
    for key, value in values.items():
        if isinstance(value, Mapping):
            text += ("\n" if text else "") + to_toml(value, f"{path}.{key}" if path else key)
    return text


def suggest(word: str, choices: Iterable[str], prefix: str = "") -> str:
    """Returns " Did you mean …?" for the choice nearest to a word, or ""."""
    close = difflib.get_close_matches(word, list(choices), n=1)
    return f" Did you mean '{prefix}{close[0]}'?" if close else ""


def _is_union(hint: Any) -> bool:
    return typing.get_origin(hint) in (typing.Union, types.UnionType)


def _convert(hint: Any, value: Any) -> Any:
    """Returns a value as the type that a field states, or raises ValueError."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        number, between = _convert(arguments[0], value), arguments[1]
        if between.low <= number <= between.high and math.isfinite(number):
            return number
        problem = str(between)
    elif _is_union(hint):
        return _convert_union(arguments, value)
    elif origin is Literal:
        if value in arguments and not isinstance(value, bool):
            return value
        problem = f"one of {list(arguments)}" if len(arguments) > 1 else repr(arguments[0])
    elif origin is tuple:
        return _convert_tuple(arguments, value)
    elif hint is float and type(value) in (int, float):
        if math.isfinite(value):
            return float(value)
        problem = "finite"
    elif isinstance(value, hint) and (hint is bool or not isinstance(value, bool)):
        return value
    else:
        problem = hint.__name__
    raise ValueError(f"must be {problem}. Received: {value!r}")


def _convert_union(options: Sequence[Any], value: Any) -> Any:
    if value is None and types.NoneType in options:
        return None
    options = [option for option in options if option is not types.NoneType]
    lists = [option for option in options if typing.get_origin(option) is tuple]
    if isinstance(value, list | tuple):
        options = lists or options
    elif len(lists) < len(options):
        options = [option for option in options if option not in lists]
    if len(options) == 1:
        return _convert(options[0], value)
    problems = []
    for option in options:
        try:
            return _convert(option, value)
        except ValueError as error:
            problems.append(str(error).partition(". Received")[0].removeprefix("must be "))
    if all(isinstance(option, type) for option in options):
        problems = [f"one of {[option.__name__ for option in options]}"]
    raise ValueError(f"must be {' or '.join(problems)}. Received: {value!r}")


def _convert_tuple(arguments: tuple[Any, ...], value: Any) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise ValueError(f"must be a list. Received: {value!r}")
    hints = [arguments[0]] * len(value) if arguments[-1] is Ellipsis else arguments
    if len(hints) != len(value):
        raise ValueError(f"must hold {len(hints)} values. Received: {value!r}")
    return tuple(map(_convert, hints, value))


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        # A JSON string is a TOML basic string, but for DEL, which TOML wants escaped.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F")
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    return repr(value)
