"""Strategies by name: files of the workspace, built-in ones, and those of other packages.

An entry point of the group ``aiquant.strategies``, and a file ``strategies/NAME.py``, name a class that fulfils
:class:`~aiquant.portfolio.strategies.base.Strategy`. A file wins over a package, a package over a built-in name.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib.util
import inspect
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, get_type_hints

from pydantic import TypeAdapter, ValidationError

from aiquant import plugins
from aiquant.errors import UsageError
from aiquant.portfolio.strategies.base import Strategy
from aiquant.portfolio.strategies.builtin import BUILT_IN
from aiquant.settings import Settings

ENTRY_POINTS = "aiquant.strategies"
FOLDER = "strategies"
"""Folder of a workspace that holds strategies of one's own."""

Origin = Literal["built-in", "package", "file"]


@dataclass(frozen=True)
class Parameter:
    """A parameter of a strategy.

    Attributes
    ----------
    kind
        Its type, for people.
    default
        None where it has to be given.
    """

    name: str
    kind: str
    default: Any = None
    required: bool = False


@dataclass(frozen=True)
class Definition:
    """A strategy that can be made.

    Attributes
    ----------
    place
        File, or module and class.
    version
        Digest (16 hex digits) of the source it stands in.
    about
        What it says of itself.
    """

    name: str
    origin: Origin
    place: str
    version: str
    about: str
    parameters: tuple[Parameter, ...]
    made_by: Any = field(repr=False, compare=False)

    def make(self, params: Mapping[str, Any], settings: Settings) -> Strategy:
        """A new instance; text is read as the type of its parameter.

        Raises
        ------
        UsageError
            When a parameter is unknown, missing or does not fit.
        """
        read = self.read(params)
        build = getattr(self.made_by, "from_settings", None)
        try:
            made = self.made_by(**read) if build is None else build(settings, **read)
        except (TypeError, ValueError) as error:
            raise UsageError(f"strategy {self.name}: {error}", f"see: aiquant strategies show {self.name}") from error
        if not isinstance(made, Strategy):
            raise UsageError(f"strategy {self.name} ({self.place}) has no method decide", "see Strategy in the docs")
        return made

    def fresh(self, params: Mapping[str, Any], settings: Settings) -> Strategy:
        """As :meth:`make`, of a file that is executed anew: nothing that an earlier instance left behind is seen."""
        return (_of_file(self.name, Path(self.place)) if self.origin == "file" else self).make(params, settings)

    def read(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Parameters as the types they have, those that were told; see :meth:`make`."""
        known, kinds = {p.name: p for p in self.parameters}, _kinds(self.made_by)
        unknown = [name for name in params if name not in known]
        if unknown:
            raise UsageError(
                f"strategy {self.name} has no parameter {unknown[0]!r}", f"it has: {', '.join(known) or 'none'}"
            )
        missing = [p.name for p in self.parameters if p.required and p.name not in params]
        if missing:
            raise UsageError(f"strategy {self.name} needs its parameter {missing[0]!r}", f"--param {missing[0]}=…")
        return {name: self._value(name, kinds.get(name, Any), value) for name, value in params.items()}

    def _value(self, name: str, kind: Any, told: Any) -> Any:
        try:
            return TypeAdapter(kind).validate_python(told)
        except ValidationError as error:
            why = error.errors()[0]["msg"]
            raise UsageError(f"strategy {self.name}: parameter {name} = {told!r}: {why[0].lower()}{why[1:]}") from error


def names(workspace: Path | None = None) -> list[str]:
    """Names of all strategies that :func:`find` finds, in ascending order."""
    own = [path.stem for path in _folder(workspace).glob("[!_]*.py")] if workspace is not None else []
    return sorted({*BUILT_IN, *own, *plugins.names(ENTRY_POINTS)})


def find(name: str, workspace: Path | None = None) -> Definition:
    """The strategy of that name.

    Parameters
    ----------
    workspace
        Folder whose ``strategies`` are looked into first.

    Raises
    ------
    UsageError
        When no strategy has that name, or its file is wrong.
    MissingError
        When the package that offers it cannot be imported.
    """
    if workspace is not None and (file := _folder(workspace) / f"{name}.py").is_file():
        return _of_file(name, file)
    if (point := plugins.find(ENTRY_POINTS, name)) is not None:
        with plugins.guarded(point, "strategy"):
            return _definition(name, "package", point.value, point.load())
    if name in BUILT_IN:
        kind = BUILT_IN[name]
        return _definition(name, "built-in", f"{kind.__module__}:{kind.__qualname__}", kind)
    known = names(workspace)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise UsageError(f"no strategy is named {name!r}", f"{hint}there are: {', '.join(known)}")


def _folder(workspace: Path) -> Path:
    return workspace / FOLDER


def _of_file(name: str, file: Path) -> Definition:
    module = _execute(name, file)
    own = [
        found
        for found in vars(module).values()
        if inspect.isclass(found) and found.__module__ == module.__name__ and callable(getattr(found, "decide", None))
    ]
    if len(own) != 1:
        raise UsageError(
            f"{file} defines {len(own) or 'no'} classes with a method decide, and has to define one",
            "keep one strategy in a file; see a whole one with: aiquant new strategy NAME",
        )
    return _definition(name, "file", str(file), own[0], file.read_bytes())


def _execute(name: str, file: Path) -> ModuleType:
    """Run a file as a module of its own: always anew."""
    title = f"aiquant_strategy_{name.replace('-', '_')}"
    spec = importlib.util.spec_from_file_location(title, file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[title] = module  # dataclasses and pickle look for their module there
    try:
        exec(compile(file.read_bytes(), str(file), "exec"), module.__dict__)  # no byte code is left beside the file
    except SyntaxError as error:
        raise UsageError(f"{file}:{error.lineno}: {error.msg}", "correct it there") from error
    except (Exception, SystemExit) as error:  # whatever it raises
        lines, trace = [], error.__traceback__
        while trace is not None:
            lines += [trace.tb_lineno] if trace.tb_frame.f_code.co_filename == str(file) else []
            trace = trace.tb_next
        line = lines[-1] if lines else 1
        raise UsageError(f"{file}:{line}: {type(error).__name__}: {error}", "correct it there") from error
    return module


def _definition(name: str, origin: Origin, place: str, kind: Any, source: bytes | None = None) -> Definition:
    if source is None:
        found = inspect.getsourcefile(kind)
        source = Path(found).read_bytes() if found is not None else place.encode()
    hidden = {"settings"} if hasattr(kind, "from_settings") else set()
    signature = inspect.signature(getattr(kind, "from_settings", kind))
    kinds, parameters = _kinds(kind), []
    for told in signature.parameters.values():
        if told.name not in hidden and told.kind not in (told.VAR_POSITIONAL, told.VAR_KEYWORD):
            required = told.default is inspect.Parameter.empty
            default = None if required else told.default
            parameters.append(Parameter(told.name, _plain(kinds.get(told.name, Any)), default, required))
    return Definition(
        name=name,
        origin=origin,
        place=place,
        version=hashlib.sha256(source).hexdigest()[:16],
        about=inspect.cleandoc(kind.__doc__ or ""),
        parameters=tuple(parameters),
        made_by=kind,
    )


def _kinds(kind: Any) -> dict[str, Any]:
    """The types of the parameters; that of the default where none is said."""
    target = getattr(kind, "from_settings", kind.__init__)
    try:
        kinds = get_type_hints(target)
    except (NameError, TypeError):
        kinds = {}
    defaults = {p.name: p.default for p in inspect.signature(target).parameters.values()}
    empty = (None, inspect.Parameter.empty)
    return {name: type(value) for name, value in defaults.items() if not any(value is e for e in empty)} | kinds


def _plain(kind: Any) -> str:
    return str(getattr(kind, "__name__", kind)) if isinstance(kind, type) else str(kind).replace("typing.", "")
