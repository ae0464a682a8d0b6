"""What all commands share: flags made of functions' signatures, errors as sentences.

What a public function takes is read from its source, without importing TensorFlow for it; so
command line and Python cannot drift apart, and `--help` is quick.
"""

import ast
import contextlib
import dataclasses
import importlib.util
import inspect
import io
import itertools
import os
import re
import signal
import sys
import textwrap
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import app, flags, logging

from keras_r3d.system import workers
from keras_r3d.system.errors import R3DError
from keras_r3d.system.text import remove_temporary_folders

INTERRUPTED = 75  # exit code of what was stopped and can be resumed
SPREAD = "keras_r3d.system.work:Spread"  # of commands whose work several processes share
REQUIRED = object()  # the default of a parameter that has none
_HEAD = 22  # columns of the flags in --help
# Of each kind of flag the types it holds, what defines it, and what stands behind it in --help.
_KINDS: dict[str, tuple[set[str], Callable[..., Any], str]] = {
    "bool": ({"bool"}, flags.DEFINE_bool, ""),
    "int": ({"int"}, flags.DEFINE_integer, " N"),
    # Also with commas; or a single one.
    "numbers": ({"Sequence[float]", "Iterable[float]"}, flags.DEFINE_multi_string, " X,Y,…"),
    "float": ({"float"}, flags.DEFINE_float, " X"),
    "str": ({"str"}, flags.DEFINE_string, " TEXT"),
    "texts": ({"Sequence[str]", "Iterable[str]"}, flags.DEFINE_multi_string, " A …"),
}


@dataclasses.dataclass(frozen=True)
class Parameter:
    """A parameter of a function; `text` is what the docstring says of it."""

    name: str
    type: str  # as it is written: "str | None"
    default: Any  # `REQUIRED` if there is none; None also where it is no literal
    text: str

    @property
    def kind(self) -> str | None:
        """The kind of flag that holds its values; None if none does."""
        if self.type.startswith("Literal["):
            return "enum"
        options = {option.strip() for option in self.type.split("|")}
        return next((kind for kind, (types, *_) in _KINDS.items() if types & options), None)

    @property
    def choices(self) -> list[str]:
        return re.findall(r"'([^']*)'", self.type)

    @property
    def is_list(self) -> bool:
        return "Sequence[" in self.type or "Iterable[" in self.type

    def describe(self) -> str:
        """Returns what the docstring says of it, as of a flag."""
        text = re.sub(r"; None (is|are|takes) ", "; default: ", self.text)
        text = re.sub(r"\bNone (is|are|takes) ", "Default: ", text)
        text = text.replace("; None: ", "; default: ").replace("`", "")
        has_default = self.default not in (REQUIRED, None, False, (), "") and "efault" not in text
        default = f"Default: {self.default}." if has_default else ""
        return f"{text[:1].upper()}{text[1:]} {default}".strip()


class Arguments(dict[str, Any]):
    """What a command was given, by name of the parameter; what was not given is absent."""

    def __init__(self, values: Mapping[str, Any], functions: Mapping[str, Sequence[Parameter]]):
        super().__init__(values)
        self._functions = functions

    def of(self, function: str) -> dict[str, Any]:
        """Returns the keyword arguments of one of the command's functions."""
        return {p.name: self[p.name] for p in self._functions[function] if p.name in self}


def run(
    main: Callable[..., int | None],
    functions: Sequence[str] = (),
    *,
    words: Sequence[str] = (),
    names: Mapping[str, str] | None = None,
    aliases: Mapping[str, str] | None = None,
    several: Sequence[str] = (),
    without: Sequence[str] = (),
    example: str = "",
) -> None:
    """Runs a command, whose flags are the parameters of the functions that it calls.

    Args:
        main: the command. It takes `Arguments`, and its own keyword parameters are flags, too; an
            `R3DError` it raises is printed without traceback. Returns the exit code.
        functions: public functions, as `read_signature` takes them.
        words: parameters that are given by position, before the flags.
        names: of flags that are not named as their parameter: `overrides` is --set.
        aliases: older names of flags, and the parameters they stand for.
        several: flags that take all words up to the next flag, `--fuse A B`; other lists are given
            one word at a time.
        without: parameters that are no flags.
        example: arguments of a typical call, for `--help`.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # start-up notes of CPU builds
    os.environ["KERAS_BACKEND"] = "tensorflow"
    # How many windows a video has shows when it is decoded, so our data sets have no known length.
    warnings.filterwarnings("ignore", message="Your input ran out of data")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a name may not be ASCII, a terminal be so
            stream.reconfigure(errors="backslashreplace")
    by_function = {place: read_signature(place) for place in functions}
    main_parameters = read_signature(f"{main.__code__.co_filename}:{main.__name__}")[1:]
    parameters: dict[str, Parameter] = {}
    for parameter in itertools.chain(*by_function.values()):
        parameters.setdefault(parameter.name, parameter)
    parameters |= {parameter.name: parameter for parameter in main_parameters}
    by_position = [parameters[word] for word in words]
    names = {name: (names or {}).get(name, name) for name in parameters if name not in without}
    shown_as = {n: n.upper() if n in words else f"--{flag}" for n, flag in names.items()}
    shown_as = {alias: shown_as[name] for alias, name in (aliases or {}).items()} | shown_as
    by_flag = {
        flag: parameters[name]
        for name, flag in names.items()
        if name not in words and parameters[name].kind
    }
    by_alias = {alias: parameters[name] for alias, name in (aliases or {}).items()}

    def guarded(argv: list[str]) -> None:
        logging.set_verbosity(logging.WARNING)  # TensorFlow logs its export through absl
        values = _read_words(argv[1:], by_position)
        for flag, parameter in [*by_flag.items(), *by_alias.items()]:
            name = parameter.name
            if (value := _flag_value(flag, parameter)) is None:
                continue
            if flag in by_alias and name in values:
                raise app.UsageError(f"--{flag} is the same as {shown_as[name]}: name one.")
            values[name] = [value] if name in words and parameter.is_list else value
        for parameter in by_position:
            if parameter.default is REQUIRED and parameter.name not in values:
                text = f"Missing: {parameter.name.upper()}. See --help."
                if several and parameter.is_list:
                    greedy = " and ".join(f"--{flag}" for flag in several)
                    text += f" They come before {greedy}, which take all words after them."
                raise app.UsageError(text)
        # As a scheduler ends a job: like Ctrl-C, so that what was begun is put away.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        keywords = {p.name: values.pop(p.name) for p in main_parameters if p.name in values}
        interrupts: list[int] = []

        def interrupt(number: int, _: object) -> None:
            interrupts.append(number)
            # Compiled code prints by these what it makes of the interrupt.
            sys.excepthook = lambda *_: None
            sys.unraisablehook = lambda _: None
            raise KeyboardInterrupt

        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not in the background
            signal.signal(signal.SIGINT, interrupt)
        try:
            sys.exit(main(Arguments(values, by_function), **keywords))
        except BrokenPipeError:  # whoever read it, such as `head`, has enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(128 + signal.SIGPIPE)
        except (Exception, KeyboardInterrupt) as error:
            if interrupts or isinstance(error, KeyboardInterrupt):  # libraries make others of it
                print("Interrupted.", file=sys.stderr)
                sys.exit(130)  # as a shell does
            if not isinstance(error, R3DError | OSError):  # an OSError names its file
                raise
            for note in getattr(error, "__notes__", ()):
                print(f"Note: {note}", flush=True)
            text = re.sub(r"`(\w+)`", lambda match: shown_as.get(match[1], match[0]), str(error))
            sys.exit(f"Error: {text}")

    if {"--help", "-h", "-help", "--helpshort", "--helpfull"} & set(sys.argv[1:]):
        about = sys.modules[main.__module__].__doc__ or ""
        with contextlib.suppress(BrokenPipeError):
            print(_help_text(about, by_position, by_flag, aliases or {}, example))
        return
    for flag, parameter in by_flag.items():
        _define_flag(flag, parameter)
    for alias, parameter in by_alias.items():
        kind = "str" if parameter.name in words else parameter.type
        text = f"The same as {shown_as[parameter.name]}."
        _define_flag(alias, Parameter(alias, kind, REQUIRED, text))
    try:
        app.run(guarded, [sys.argv[0], *_repeat_flags(sys.argv[1:], several)])
    except SystemExit as end:
        _leave(end.code)


def _help_text(
    about: str,
    by_position: Sequence[Parameter],
    by_flag: Mapping[str, Parameter],
    aliases: Mapping[str, str],
    example: str,
) -> str:
    program = f"python -m {_program()}"
    summary, _, rest = about.partition("\n\n")
    words = [p.name.upper() + ("…" if p.is_list else "") for p in by_position]
    words = [
        word if p.default is REQUIRED else f"[{word}]"
        for word, p in zip(words, by_position, strict=True)
    ]
    lines = [f"{summary.split(': `')[0].rstrip('.')}.", ""]
    lines += [f"  {' '.join([program, *words, '[FLAGS]'])}", ""]
    also = {name: f" (or --{alias})" for alias, name in aliases.items()}
    rows = [(parameter.name.upper(), parameter) for parameter in by_position]
    for flag, parameter in by_flag.items():
        kind = parameter.kind or ""
        hint = " " + "|".join(parameter.choices) if kind == "enum" else _KINDS[kind][2]
        rows.append((f"--{flag}{hint}", parameter))
    for head, parameter in rows:
        text = parameter.describe() + also.get(parameter.name, "")
        wrapped = textwrap.wrap(text, 74, break_on_hyphens=False) or [""]
        if len(head) > _HEAD:
            lines.append(f"  {head}")
            head = ""
        lines += [f"  {head:{_HEAD}} {wrapped[0]}"]
        lines += [f"  {'':{_HEAD}} {line}" for line in wrapped[1:]]
    lines += ["", f"Example: {program} {example}"] if example else []
    return "\n".join(lines + ([textwrap.indent(rest, "  ")] if rest else []))


def _program() -> str:
    """Returns the name by which the command was started."""
    name = sys.argv[0]
    if not name.endswith(".py"):
        return name
    spec = sys.modules["__main__"].__spec__  # None of a script
    return (spec.name if spec else Path(name).stem).removesuffix(".__main__")


def _define_flag(flag: str, parameter: Parameter) -> None:
    default = None if parameter.default in (REQUIRED, ()) else parameter.default
    if parameter.kind == "enum":
        flags.DEFINE_enum(flag, default, parameter.choices, parameter.text)
    else:
        _KINDS[parameter.kind or "str"][1](flag, default, parameter.text)


def _flag_value(flag: str, parameter: Parameter) -> Any:
    value = flags.FLAGS[flag].value
    if value is None or parameter.kind != "numbers":
        return value
    try:
        return [float(number) for word in value for number in word.split(",")]
    except ValueError as error:
        raise app.UsageError(f"--{flag} must be numbers. Received: {' '.join(value)}") from error


def _read_words(words: list[str], by_position: Sequence[Parameter]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for parameter in by_position:
        if words:
            values[parameter.name] = words if parameter.is_list else words[0]
            words = [] if parameter.is_list else words[1:]
    if words:
        raise app.UsageError(f"Unknown argument '{words[0]}': flags start with `--`.")
    return values


def _repeat_flags(words: Sequence[str], several: Sequence[str]) -> list[str]:
    """Writes `--fuse A B` as `--fuse A --fuse B`, which absl understands."""
    repeated: list[str] = []
    flag = None
    for word in words:
        if not re.match(r"--?[A-Za-z]", word):
            repeated += [word] if flag is None else [flag, word]
            continue
        head, equals, _ = word.partition("=")
        flag = head if head.lstrip("-") in several else None
        if flag is None or equals:
            repeated.append(word)
    return repeated


@contextlib.contextmanager
def resumable(keeps: bool = True) -> Iterator[None]:
    """Lets Ctrl-C and SIGTERM end a command that resumes when run again, with exit code 75.

    One that keeps nothing is not changed.
    """
    if not keeps:
        yield
        return

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    except KeyboardInterrupt:
        print("\nInterrupted. Run the same command to resume.", flush=True)
        sys.exit(INTERRUPTED)
    finally:
        signal.signal(signal.SIGTERM, before)


def _leave(code: int | str | None) -> None:
    """Ends the process as `sys.exit`, also while decoders work or hang in threads of ours."""
    for number in (signal.SIGINT, signal.SIGTERM):  # what could be interrupted is over
        signal.signal(number, signal.SIG_IGN)
    if workers.threads_ended(1.0):
        sys.exit(code)
    if isinstance(code, str):
        print(code, file=sys.stderr)
    with contextlib.suppress(OSError):  # whoever read it has gone
        sys.stdout.flush()
    sys.stderr.flush()
    remove_temporary_folders()
    # Python would be put away under a running thread, which aborts it.
    os._exit(1 if isinstance(code, str) else code or 0)


def read_signature(place: str) -> list[Parameter]:
    """Reads the parameters of a function, in their order; LookupError if there is none.

    `place` is "keras_r3d.data.scanning.report:scan", or "module:Class.method"; of `__init__`, the
    docstring of the class counts. "module:Class" is a dataclass, whose fields are meant. The module
    may also be the path of a file.
    """
    module, _, name = place.rpartition(":")
    path = Path(module) if module.endswith(".py") else _module_path(module)
    scope: Any = ast.parse(path.read_text(encoding="utf-8"))
    texts: dict[str, str] = {}
    for part in name.split("."):
        kinds = ast.FunctionDef | ast.ClassDef
        scope = next((n for n in scope.body if isinstance(n, kinds) and n.name == part), None)
        if scope is None:
            raise LookupError(f"There is no {place}.")
        texts |= read_arguments_text(ast.get_docstring(scope) or "")
    rows: list[tuple[str, ast.expr | None, ast.expr | None]]
    if isinstance(scope, ast.ClassDef):
        fields = [node for node in scope.body if isinstance(node, ast.AnnAssign)]
        rows = [(ast.unparse(node.target), node.annotation, node.value) for node in fields]
    else:
        positional, defaults = scope.args.args, scope.args.defaults
        defaults = [*[None] * (len(positional) - len(defaults)), *defaults, *scope.args.kw_defaults]
        nodes = zip([*positional, *scope.args.kwonlyargs], defaults, strict=True)
        rows = [(node.arg, node.annotation, default) for node, default in nodes]
    parameters = []
    for name, annotation, node in rows:
        written = ast.unparse(annotation).strip("'\"") if annotation is not None else ""
        default: Any = REQUIRED if node is None else None
        with contextlib.suppress(ValueError):  # no literal
            default = default if node is None else ast.literal_eval(node)
        parameters.append(Parameter(name, written, default, texts.get(name, "")))
    return [parameter for parameter in parameters if parameter.name != "self"]


def read_arguments_text(docstring: str) -> dict[str, str]:
    """Returns what the section `Args:` (or `Attributes:`) says of each parameter, in one line."""
    text = inspect.cleandoc(docstring)
    start = re.search(r"\n(?:Args|Attributes):\n", text)
    section = re.split(r"\n(?=\S)", text[start.end() :])[0] if start else ""
    rows = re.findall(r"^    (\w+): (.*(?:\n(?: {8}.*)?)*)", section, re.MULTILINE)
    return {name: " ".join(row.split()) for name, row in rows}


def _module_path(module: str) -> Path:
    """Returns the file of a module; asking Python for it would import the packages above it."""
    package, *names = module.split(".")
    spec = importlib.util.find_spec(package)
    if spec is not None and spec.origin is not None:
        folder = Path(spec.origin).parent
        for place in (folder, folder.parent):  # in a checkout, `export` lies beside the package
            path = place.joinpath(*names).with_suffix(".py")
            if path.is_file():
                return path
    raise LookupError(f"There is no module {module}.")
