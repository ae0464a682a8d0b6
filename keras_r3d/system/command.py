"""What all commands share: parsing flags, quiet TensorFlow, errors as sentences."""

import contextlib
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
from keras_r3d.system.signature import REQUIRED, Parameter, read_signature

INTERRUPTED = 75  # exit code of what was stopped and can be resumed
_HEAD = 22  # columns of the flags in --help
_DEFINERS = {
    "int": flags.DEFINE_integer,
    "float": flags.DEFINE_float,
    "str": flags.DEFINE_string,
    "list of float": flags.DEFINE_multi_string,  # also with commas
    "list of str": flags.DEFINE_multi_string,
}


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
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    # How many windows a video has shows when it is decoded, so our data sets have no known length.
    warnings.filterwarnings("ignore", message="Your input ran out of data")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a name may not be ASCII, a terminal be so
            stream.reconfigure(errors="backslashreplace")
    by_function = {place: read_signature(place) for place in functions}
    own = read_signature(f"{main.__code__.co_filename}:{main.__name__}")[1:]
    parameters: dict[str, Parameter] = {}
    for parameter in itertools.chain(*by_function.values()):
        parameters.setdefault(parameter.name, parameter)
    parameters |= {parameter.name: parameter for parameter in own}
    taken = [parameters.pop(word) for word in words]
    flag_of = {name: (names or {}).get(name, name) for name in parameters if name not in without}
    named = {flag: parameters[name] for name, flag in flag_of.items()}
    named = {flag: parameter for flag, parameter in named.items() if _flag_kind(parameter.type)}
    known_as = {p.name: p.name.upper() for p in taken} | {n: f"--{f}" for n, f in flag_of.items()}
    aliases = aliases or {}

    def guarded(argv: list[str]) -> None:
        logging.set_verbosity(logging.WARNING)  # TensorFlow logs its export through absl
        values = _by_position(argv[1:], taken)
        for flag, parameter in named.items():
            if (value := _flag_value(flag, parameter)) is not None:
                values[parameter.name] = value
        for alias, name in aliases.items():
            if (value := flags.FLAGS[alias].value) is None:
                continue
            if name in values:
                raise app.UsageError(f"--{alias} is the same as {known_as[name]}: name one.")
            values[name] = [value] if any(p.name == name and _is_list(p) for p in taken) else value
        for parameter in taken:
            if parameter.default is REQUIRED and parameter.name not in values:
                text = f"Missing: {parameter.name.upper()}. See --help."
                if several and _is_list(parameter):
                    taking = " and ".join(f"--{flag}" for flag in several)
                    text += f" They come before {taking}, which take all words after them."
                raise app.UsageError(text)
        # As a scheduler ends a job: like Ctrl-C, so that what was begun is put away.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        mine = {p.name: values.pop(p.name) for p in own if p.name in values}
        try:
            sys.exit(main(Arguments(values, by_function), **mine))
        except BrokenPipeError:  # whoever read it, such as `head`, has enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(128 + signal.SIGPIPE)
        except (R3DError, OSError) as error:  # an OSError names its file
            said = re.sub(r"`(\w+)`", lambda match: known_as.get(match[1], match[0]), str(error))
            sys.exit(f"Error: {said}")
        except KeyboardInterrupt:
            print("Interrupted.", file=sys.stderr)
            sys.exit(130)  # as a shell does

    if {"--help", "-h", "-help", "--helpshort", "--helpfull"} & set(sys.argv[1:]):
        text = help_text(sys.modules[main.__module__].__doc__ or "", taken, named, aliases, example)
        with contextlib.suppress(BrokenPipeError):
            print(text)
        return
    for flag, parameter in named.items():
        _define_flag(flag, parameter)
    for alias, name in aliases.items():
        text = f"The same as {known_as[name]}."
        kind = "" if name in words else _flag_kind(parameters[name].type)
        _DEFINERS.get(kind or "", flags.DEFINE_string)(alias, None, text)
    try:
        app.run(guarded, [sys.argv[0], *_repeated(sys.argv[1:], several)])
    except SystemExit as end:
        _leave(end.code)


def help_text(
    about: str,
    words: Sequence[Parameter],
    named: Mapping[str, Parameter],
    aliases: Mapping[str, str] | None = None,
    example: str = "",
) -> str:
    """Returns the text of `--help`: what the command does, its flags and an example."""
    first, _, rest = about.partition("\n\n")
    program = "python -m " + _module()
    shown = [_word(parameter) for parameter in words]
    lines = [f"{first.split(': `')[0].rstrip('.')}.", ""]
    lines += [f"  {' '.join([program, *shown, '[FLAGS]'])}", ""]
    also = {name: f" (or --{alias})" for alias, name in (aliases or {}).items()}
    heads = [(parameter.name.upper(), parameter) for parameter in words]
    heads += [
        (f"--{flag}{_placeholder(parameter)}", parameter) for flag, parameter in named.items()
    ]
    for head, parameter in heads:
        text = _described(parameter) + also.get(parameter.name, "")
        wrapped = textwrap.wrap(text, 74, break_on_hyphens=False) or [""]
        if len(head) <= _HEAD:
            lines.append(f"  {head:{_HEAD}} {wrapped[0]}")
        else:
            lines += [f"  {head}", f"  {'':{_HEAD}} {wrapped[0]}"]
        lines += [f"  {'':{_HEAD}} {line}" for line in wrapped[1:]]
    lines += ["", f"Example: {program} {example}"] if example else []
    return "\n".join(lines + ([textwrap.indent(rest, "  ")] if rest else []))


def _module() -> str:
    """Returns the name by which the command was started."""
    name = sys.argv[0]
    if name.endswith(".py"):
        parts = Path(name).with_suffix("").parts
        package = parts.index("keras_r3d") if "keras_r3d" in parts else len(parts) - 1
        return ".".join(part for part in parts[package:] if part != "__main__")
    return name


def _word(parameter: Parameter) -> str:
    name = parameter.name.upper() + ("…" if _is_list(parameter) else "")
    return name if parameter.default is REQUIRED else f"[{name}]"


def _flag_kind(written: str) -> str | None:
    """Returns which kind of flag holds values of a type; None if none does."""
    if written.startswith("Literal["):
        return "enum"
    options = {option.strip() for option in written.split("|")} - {"None"}
    if "bool" in options:
        return "bool"
    for kind in ("int", "float", "str"):
        if kind in options:
            return kind
    for kind in ("str", "float"):
        if options & {f"Sequence[{kind}]", f"Iterable[{kind}]"}:
            return f"list of {kind}"
    return None


def _is_list(parameter: Parameter) -> bool:
    return "Sequence[" in parameter.type or "Iterable[" in parameter.type


def _choices(parameter: Parameter) -> list[str]:
    return re.findall(r"'([^']*)'", parameter.type)


def _placeholder(parameter: Parameter) -> str:
    kind = _flag_kind(parameter.type)
    if kind == "enum":
        return " " + "|".join(_choices(parameter))
    shown = {"bool": "", "int": " N", "float": " X", "str": " TEXT"}
    return shown.get(kind or "", " X,Y,…" if kind == "list of float" else " A …")


def _described(parameter: Parameter) -> str:
    """Returns what a docstring says of a parameter, as of a flag."""
    text = re.sub(r"; None (is|are|takes) ", "; default: ", parameter.text)
    text = re.sub(r"\bNone (is|are|takes) ", "Default: ", text).replace("; None: ", "; default: ")
    text = text.replace("`", "")
    default = parameter.default
    shown = default not in (REQUIRED, None, False, (), "") and "efault" not in text
    return f"{text[:1].upper()}{text[1:]} {f'Default: {default}.' if shown else ''}".strip()


def _define_flag(name: str, parameter: Parameter) -> None:
    kind = _flag_kind(parameter.type)
    default = None if parameter.default is REQUIRED else parameter.default
    if kind == "enum":
        flags.DEFINE_enum(name, default, _choices(parameter), parameter.text)
    elif kind == "bool":
        flags.DEFINE_bool(name, default, parameter.text)
    else:
        default = None if default == () else default
        _DEFINERS[kind or "str"](name, default, parameter.text)


def _flag_value(name: str, parameter: Parameter) -> Any:
    value = flags.FLAGS[name].value
    if value is None or _flag_kind(parameter.type) != "list of float":
        return value
    try:
        return [float(number) for word in value for number in word.split(",")]
    except ValueError as error:
        raise app.UsageError(f"--{name} must be numbers. Received: {' '.join(value)}") from error


def _by_position(given: list[str], taken: Sequence[Parameter]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for parameter in taken:
        if _is_list(parameter):
            values |= {parameter.name: given} if given else {}
            given = []
        elif given:
            values[parameter.name] = given[0]
            given = given[1:]
    if given:
        raise app.UsageError(f"Unknown argument '{given[0]}': flags start with `--`.")
    return values


@contextlib.contextmanager
def resumable() -> Iterator[None]:
    """Lets Ctrl-C and SIGTERM end a command that resumes when run again, with exit code 75."""

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
    if workers.threads_ended(1.0):
        sys.exit(code)
    if isinstance(code, str):
        print(code, file=sys.stderr)
    with contextlib.suppress(OSError):  # whoever read it has gone
        sys.stdout.flush()
    sys.stderr.flush()
    # Python would be put away under a running thread, which aborts it.
    os._exit(1 if isinstance(code, str) else code or 0)


def _repeated(words: Sequence[str], several: Sequence[str]) -> list[str]:
    """Writes `--fuse A B` as `--fuse A --fuse B`, which absl understands."""
    out: list[str] = []
    flag = None
    for word in words:
        if word.startswith("-") and not _is_number(word):
            name, equals, _ = word.lstrip("-").partition("=")
            flag = word.partition("=")[0] if name in several else None
            if flag is None or equals:
                out.append(word)
        elif flag is None:
            out.append(word)
        else:
            out += [flag, word]
    return out


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
