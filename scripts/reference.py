"""Write the reference pages that follow from the code: commands, settings, tables, features and exit codes.

Usage: ``python scripts/reference.py`` renews ``docs/reference``; with ``--check`` it only says which pages are out of
date, and ends with exit code 1 if there are any. A test does the same.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from aiquant import errors, schemas, settings
from aiquant.cli.main import app
from aiquant.features import catalogue

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "reference"
NOTICE = "<!-- Made by scripts/reference.py from the code. Change the code and run it again, not this page. -->"


def cli() -> str:
    """Every verb with its arguments, options and example."""
    root = typer.main.get_command(app)
    parts = [
        "# Commands",
        NOTICE,
        "Every verb takes `--help`. With `--json` it prints one JSON object on standard output; progress, notes and "
        "errors go to standard error. Without `--workspace` a verb works in the workspace that the current folder lies "
        "in, or in the one that the variable `AIQUANT_WORKSPACE` names. "
        "What the exit codes mean stands in [exit codes](exit-codes.md).",
    ]
    verbs = list(_commands(root, "aiquant"))
    parts.append(_table(("command", "what it does"), [(f"[`{n}`](#{_anchor(n)})", _help(c)) for n, c in verbs]))
    for name, command in verbs:
        parts += [f"## {name}", _help(command), f"```text\n{_usage(name, command)}\n```", _parameters(command)]
        example = str(getattr(command, "epilog", None) or "")
        if example.startswith("Example: "):
            parts.append(f"Example: `{example.removeprefix('Example: ')}`")
    return _page(parts)


def settings_page() -> str:
    """Every setting with type, default and description."""
    parts = [
        "# Settings",
        NOTICE,
        "A value is taken from the first of these that has it: `--set NAME=VALUE` or a flag, the environment variable "
        "`AIQUANT_SECTION__NAME`, a file `section__name` in the secrets folder (`AIQUANT_SECRETS_DIR`, default "
        f"`{settings.DEFAULT_SECRETS_DIR}`), `{settings.FILE_NAME}` in the workspace, the default. "
        "`aiquant config show` prints every value with its origin. How to use them: "
        "[configure](../how-to/configure.md). A **secret** is never printed and may not stand in the file.",
    ]
    fields = settings.Settings.model_fields
    plain = [(n, f) for n, f in fields.items() if not _is_section(f.annotation)]
    parts += ["## top level", _settings_table("", plain)]
    for name, model in _sections(settings.Settings):
        doc = (inspect.getdoc(model) or "").split("\n")[0]
        own = [(n, f) for n, f in model.model_fields.items() if not _is_section(f.annotation)]
        parts += [f"## {name}", doc, _settings_table(f"{name}.", own)]
    return _page(parts)


def schemas_page() -> str:
    """Every table with its columns, key, partitions and invariants."""
    intro = inspect.getdoc(schemas) or ""
    parts = [
        "# Tables",
        NOTICE,
        "The tables that rooms hand to one another, and that the lake stores. `aiquant lake sql` sees each under its "
        "name; for tables with `known_from` that view shows the newest version of each row, and `<table>_versions` "
        "shows all.",
        intro.split("\n\n", 1)[1].replace("``", "`"),
    ]
    comments, docs = _comments(), _docs()
    for variable, table in _tables():
        doc = re.sub(r"\s+", " ", docs.get(variable, "")).replace("``", "`")
        doc = re.sub(r":\w+:`~?([\w.]+)`", r"`\1`", doc)
        parts += [f"## {table.name}", doc]
        facts = f"Key: {_code(table.key)}."
        if table.partition:
            facts += f" Partitions: {_code(table.partition)}."
        if table.versioned:
            facts += " Corrections are kept beside what they correct (`known_from`)."
        if table.open:
            facts += " Further columns may follow."
        rows = [
            (f"`{f.name}`", f"`{f.type}`", "" if f.nullable else "yes", comments.get((variable, f.name), ""))
            for f in table.schema
        ]
        parts += [facts, _table(("column", "type", "required", "meaning"), rows)]
        if table.invariants:
            reasons = "\n".join(f"- {i.reason}" for i in table.invariants)
            parts.append(f"A row is set aside when:\n\n{reasons}")
    return _page(parts)


def features_page() -> str:
    """Every feature of the sets, and the operators that formulas may use."""
    from aiquant.features.fields import FIELDS
    from aiquant.features.operators import LEFT_OUT, OPERATORS

    sets = [catalogue.get(name) for name in catalogue.names()]
    parts = [
        "# Features",
        NOTICE,
        "Formulas are in the text form of Qlib. The look-back is the number of sessions before the current one that a "
        "feature reads; nothing can read ahead. `@name` stands for a part of the set or for another of its features. "
        "Own sets: [write a feature](../how-to/write-a-feature.md).",
        _table(
            ("set", "features", "look-back", "what it holds"),
            [(f"[`{s.name}`](#set-{s.name})", str(len(s.features)), str(s.lookback), s.description) for s in sets],
        ),
    ]
    for found in sets:
        policy = (
            "A window with one value gives a result."
            if found.partial_windows
            else "A feature is empty until its whole look-back lies inside the history."
        )
        sources = {f.source for f in found.features}
        whole = f" Source: {sources.pop()}." if len(sources) == 1 else ""
        rows = [
            (f"`{f.name}`", f"`{f.formula}`", str(f.lookback), f.description, *([] if whole else [f.source]))
            for f in found.features
        ]
        columns = ("feature", "formula", "look-back", "meaning", *([] if whole else ["source"]))
        parts += [f"## Set {found.name}", f"{found.description}. {policy}{whole}", _choices(found.name)]
        if found.parts:
            parts.append(_table(("part", "formula"), [(f"`@{n}`", f"`{text}`") for n, text in found.parts.items()]))
        parts.append(_table(columns, rows))
    told = [(f"`${f.name}`", f.meaning, _code(f.tables) or f.kind) for f in FIELDS.values()]
    parts += ["## Fields", _table(("field", "meaning", "from"), told), "## Operators"]
    titles = {"cross": "Comparing the symbols of a date", "session": "Knowing sessions", "elementwise": "Bar by bar"}
    for family, title in (*titles.items(), ("", "Over windows")):
        known = [o for o in OPERATORS.values() if (o.family if o.family in titles else "") == family]
        signature = {o.name: ", ".join([*["a", "b", "c"][: o.series], *o.numbers]) for o in known}
        shown = [(f"`{o.name}({signature[o.name]})`", o.meaning) for o in sorted(known, key=lambda o: o.name)]
        parts += [f"### {title}", _table(("operator", "meaning"), shown)]
    parts += [
        "### Left out",
        "Operators of Qlib that make no sense here.",
        _table(("operator", "why", "instead"), [(f"`{n}`", f"it {why}", to) for n, (why, to) in LEFT_OUT.items()]),
    ]
    return _page(parts)


def _choices(name: str) -> str:
    """What the module of a set says beyond its first line: how its source was read."""
    doc = inspect.getdoc(importlib.import_module(f"aiquant.features.sets.{name}")) or ""
    return doc.partition("\n\n")[2].replace("``", "`")


def exit_codes() -> str:
    """What the command's exit codes mean, and which errors lead to them."""
    meaning = {
        0: "fine; also a `run` whose model the gate refused, because saying no is a result",
        1: "a check ran and said no (`check leakage`, `reproduce`), or aiquant itself failed",
        2: "wrong use: a flag, a setting, a file or a row is not what it has to be",
        3: "something needed is missing: a file, a run, a library, a server, room on the disk",
        4: "refused by policy: the gate did not let a model pass (`evaluate`), a changed model file, a writing query",
        130: "stopped with Ctrl-C",
    }
    tree = [(name, kind) for name, kind in vars(errors).items() if _is_error(kind)]
    rows = [(f"`{n}`", str(k.exit_code), (inspect.getdoc(k) or "").split("\n")[0]) for n, k in tree]
    return _page(
        [
            "# Exit codes",
            NOTICE,
            _table(("code", "meaning"), [(str(code), text) for code, text in meaning.items()]),
            "An error is printed on standard error as one line that names the file, row or setting, and a line that "
            "begins with `try:`. With `--json` the same stands on standard output as "
            '`{"error": {"kind", "problem", "remedy", "exit_code"}}`. `AIQUANT_DEBUG=1` adds the traceback.',
            "## The classes of errors",
            _table(("class", "exit code", "meaning"), rows),
        ]
    )


PAGES: dict[str, Callable[[], str]] = {
    "cli.md": cli,
    "settings.md": settings_page,
    "schemas.md": schemas_page,
    "features.md": features_page,
    "exit-codes.md": exit_codes,
}
"""File in docs/reference → what it has to hold."""


def _commands(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    inside = getattr(command, "commands", None)
    if inside is None:
        yield name, command
        return
    if getattr(command, "invoke_without_command", False):  # a group that is a verb as well
        yield name, command
    for part, sub in inside.items():
        yield from _commands(sub, f"{name} {part}")


def _usage(name: str, command: Any) -> str:
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    shown = [_metavar(p) if p.required or _metavar(p).startswith("[") else f"[{_metavar(p)}]" for p in arguments]
    return " ".join([name, "[OPTIONS]", *shown])


def _parameters(command: Any) -> str:
    rows = []
    for parameter in command.params:
        if parameter.name in ("help", "install_completion", "show_completion"):
            continue
        if parameter.param_type_name == "argument":
            shown = _metavar(parameter)
        else:
            names = [*parameter.opts, *parameter.secondary_opts]
            flag = bool(getattr(parameter, "is_flag", False))
            shown = ", ".join(names) + ("" if flag else f" {_metavar(parameter)}")
        default = parameter.default if isinstance(parameter.default, str | int | float | Path) else None
        told = "" if default is None or isinstance(default, bool) else f" Default: `{default}`."
        rows.append((f"`{shown}`", _sentence(parameter.help or "") + told))
    return _table(("argument or option", "meaning"), rows)


def _metavar(parameter: Any) -> str:
    kinds = {"str": "TEXT", "float": "NUMBER", "int": "N", "Path": "PATH", "datetime": "DATE"}
    annotation = getattr(parameter.type_descriptor, "annotation", str)
    return str(parameter.metavar or kinds.get(getattr(annotation, "__name__", ""), "VALUE"))


def _help(command: Any) -> str:
    return re.sub(r"\s+", " ", str(command.help or "")).strip()


def _anchor(heading: str) -> str:
    return heading.lower().replace(" ", "-")


def _is_section(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _sections(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, type[BaseModel]]]:
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield prefix + name, field.annotation
            yield from _sections(field.annotation, f"{prefix}{name}.")


def _settings_table(prefix: str, fields: list[tuple[str, FieldInfo]]) -> str:
    rows = []
    for name, field in fields:
        dotted = prefix + name
        default = field.get_default()
        secret = dotted in settings.SECRETS
        shown = "–" if default is None else f"`{_toml(default)}`"
        text = _sentence(field.description or "") + (" **Secret.**" if secret else "")
        rows.append((f"`{dotted}`", _type(field), shown, text.strip()))
    return _table(("setting", "type", "default", "meaning"), rows)


def _type(field: FieldInfo) -> str:
    annotation = field.annotation
    choices = [c for a in (annotation, *get_args(annotation)) for c in get_args(a) if isinstance(c, str)]
    if choices:
        return " or ".join(f"`{c}`" for c in choices)
    text = str(annotation) if get_args(annotation) else getattr(annotation, "__name__", str(annotation))
    text = text.replace("pydantic.types.", "").replace(" | None", "").replace("SecretStr", "str")
    limits = [f"{sign} {getattr(m, name):g}" for m in field.metadata for name, sign in _LIMITS if hasattr(m, name)]
    return " ".join([text.replace("tuple[str, ...]", "list of str"), ", ".join(limits)]).strip()


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return str(list(value)) if isinstance(value, tuple) else str(value)


_LIMITS = (("ge", "≥"), ("gt", ">"), ("le", "≤"), ("lt", "<"))


def _tables() -> list[tuple[str, schemas.Table]]:
    return [(name, value) for name, value in vars(schemas).items() if isinstance(value, schemas.Table)]


def _comments() -> dict[tuple[str, str], str]:
    """What the source says behind a column: ``_field("close", …),  # the bar's close``."""
    source = inspect.getsource(schemas)
    lines = source.splitlines()
    found: dict[tuple[str, str], str] = {}
    for node in ast.parse(source).body:
        if not (isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)):
            continue
        for call in ast.walk(node.value):
            if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name)):
                continue
            if call.func.id not in ("_field", "_optional") or "#" not in lines[(call.end_lineno or 1) - 1]:
                continue
            text = lines[(call.end_lineno or 1) - 1].split("#", 1)[1].strip()
            names = call.args if call.func.id == "_optional" else call.args[:1]
            for name in names:
                if isinstance(name, ast.Constant):
                    found[node.targets[0].id, str(name.value)] = text
    return found


def _docs() -> dict[str, str]:
    """The string that follows an assignment."""
    body = ast.parse(inspect.getsource(schemas)).body
    found: dict[str, str] = {}
    for node, after in zip(body, body[1:], strict=False):
        if not (isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)):
            continue
        if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
            found[node.targets[0].id] = str(after.value.value)
    return found


def _is_error(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, errors.AiquantError)


def _code(names: Any) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _sentence(text: str) -> str:
    return text if not text or text.endswith((".", "…")) else f"{text}."


def _table(columns: tuple[str, ...], rows: list[Any]) -> str:
    def line(cells: Any) -> str:
        return "| " + " | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"

    return "\n".join([line(columns), line("---" for _ in columns), *(line(row) for row in rows)])


def _page(parts: list[str]) -> str:
    return "\n\n".join(part for part in parts if part) + "\n"


def outdated() -> list[str]:
    """Pages that do not say what the code says."""
    pages = {FOLDER / name: make() for name, make in PAGES.items()}
    return [path.name for path, text in pages.items() if not path.is_file() or path.read_text("utf-8") != text]


def main() -> int:
    """Write the pages, or say which are out of date."""
    if "--check" in sys.argv:
        old = outdated()
        print(f"out of date: {', '.join(old)}; run: python scripts/reference.py" if old else "up to date")
        return 1 if old else 0
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, make in PAGES.items():
        (FOLDER / name).write_text(make(), encoding="utf-8")
        print(FOLDER / name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
