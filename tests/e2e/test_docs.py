"""What the documentation says is true: its commands run, its links lead somewhere, its references follow the code.

A page is run from top to bottom in a folder of its own that holds ``prices.csv``, four years of a small random market:

- in a ``console`` block each line that begins with ``$ `` is a command (``> `` continues one that ends with a
  backslash); what it prints is not compared, because figures depend on data and machine;
- a ``python`` block is a program of its own;
- comments that readers do not see say what is special about the next block: ``<!-- skip: reason -->``,
  ``<!-- exit: 4 -->`` (the commands end with this code), ``<!-- file: name -->`` (the block is a file of that name);
- ``<!-- setup: command -->`` runs something that readers have done already, ``<!-- workspace -->`` brings a copy of a
  workspace ``research`` with one run and enters it.
"""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from pathlib import Path

import polars as pl
import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
REMARK = re.compile(r"<!--\s*(skip|exit|file|setup|workspace)(?::\s*(.*?))?\s*-->")
FENCE = re.compile(r"^(\s*)```(\w*)\s*$")
LINK = re.compile(r"(?<!`)\[[^\]]*\]\(([^)\s]+)\)")
TEST = re.compile(r"`((?:tests|src)/[\w/]+\.py)::(\w+)`")  # public contracts stand in src
RUN = ("console", "python")
KNOWN = (*RUN, "text", "toml", "csv", "json", "yaml", "sql", "mermaid", "ini", "html")
SHELL = ("sh", "bash")


@dataclass(frozen=True)
class Block:
    """A fenced block and the remarks before it."""

    line: int
    language: str
    text: str
    remarks: dict[str, str]


def blocks(page: Path) -> Iterator[Block]:
    """Blocks in their order; ``setup`` and ``workspace`` are blocks without a text."""
    lines = iter(enumerate(page.read_text("utf-8").splitlines(), 1))
    remarks: dict[str, str] = {}
    for number, line in lines:
        told = REMARK.search(line)
        if told and told[1] in ("setup", "workspace"):
            yield Block(number, told[1], told[2] or "", {})
        elif told:
            remarks[told[1]] = told[2] or ""
        opened = FENCE.match(line)
        if opened:
            indent, inside = len(opened[1]), []
            for _, text in lines:
                if text.strip() == "```":
                    break
                inside.append(text[indent:])
            yield Block(number, opened[2], "\n".join(inside) + "\n", remarks)
            remarks = {}


def commands(text: str) -> list[str]:
    """Commands of a console block."""
    found: list[str] = []
    for line in text.splitlines():
        if line.startswith("$ "):
            found.append(line[2:])
        elif line.startswith("> ") and found and found[-1].endswith("\\"):
            found[-1] = found[-1][:-1] + line[2:]
    return found


def script(page: Path) -> str:
    """A page as a script of bash; it stops at the first command that ends otherwise than the page says."""
    parts: list[str] = []
    for block in blocks(page):
        here = f"{page.relative_to(ROOT)}:{block.line}"
        if "skip" in block.remarks:
            continue
        if "file" in block.remarks:
            parts.append(f"printf %s {shlex.quote(block.text)} > {shlex.quote(block.remarks['file'])}")
        elif block.language == "setup":
            parts.append(block.text)
        elif block.language == "workspace":
            parts.append('cp -r "$PREPARED" research && cd research')
        elif block.language == "python":
            parts += [_marker(here, "python block"), f"python -c {shlex.quote(block.text)}"]
        elif block.language == "console":
            code = block.remarks.get("exit", "0")
            for command in commands(block.text):
                parts += [_marker(here, command), "set +e", command, f"check $? {code}", "set -e"]
    if not any("check $?" in part or part.startswith("python -c") for part in parts):
        return ""
    check = 'check() { [ "$1" = "$2" ] || { echo "ended with $1, not with $2" >&2; exit 99; }; }'
    return "\n".join(["set -euo pipefail", check, *parts]) + "\n"


def _marker(here: str, command: str) -> str:
    return f"echo {shlex.quote(f'--- {here} $ {command}')} >&2"


def _environment(home: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AIQUANT_")}
    return {
        **kept,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(home),
        "PYTHONPATH": str(ROOT),
        "AIQUANT_SECRETS_DIR": str(home / "no-secrets"),
        "AIQUANT_XGBOOST__N_ESTIMATORS": "5",  # quick: no page is about how good its model is
        "AIQUANT_LEARNING__THREADS": "1",
        "AIQUANT_LEAKAGE__CUTS": "1",
    }


@pytest.fixture(scope="session")
def prices(tmp_path_factory: pytest.TempPathFactory, make_bars) -> Path:  # type: ignore[no-untyped-def]
    """A file of bars such as a user has, with a bar that is missing."""
    path = tmp_path_factory.mktemp("docs") / "prices.csv"
    bars = pl.DataFrame(make_bars(symbols=12, first=date(2017, 1, 3), last=date(2020, 12, 31), seed=11))
    bars = bars.filter(~((pl.col("symbol") == "S003") & (pl.col("date") == date(2018, 5, 7))))
    bars.select("symbol", "date", "open", "high", "low", "close", "volume").write_csv(path, float_precision=4)
    return path


@lru_cache(maxsize=1)
def _prepared(prices: Path) -> Path:
    folder = prices.parent / "prepared" / "research"
    environment = _environment(prices.parent)
    for command in (f"aiquant init {folder}", f"aiquant run -w {folder} --path {prices}"):
        done = subprocess.run(shlex.split(command), env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    return folder


def _runnable() -> Iterator[object]:
    """The pages that hold something to run; those that start aiquant often take more than ten seconds."""
    for page in PAGES:
        told = script(page)
        if told:
            long = told.count("check $?") > 8 or "\naiquant run" in told
            marks = [pytest.mark.slow] if long else []
            yield pytest.param(page, id=page.relative_to(ROOT).as_posix(), marks=marks)


@pytest.mark.parametrize("page", list(_runnable()))
def test_every_command_of_the_page_works(page: Path, prices: Path, tmp_path: Path) -> None:
    environment = _environment(tmp_path)
    work = tmp_path / "work"
    work.mkdir()
    shutil.copy(prices, work)
    told = script(page)
    if '"$PREPARED"' in told:
        environment["PREPARED"] = str(_prepared(prices))
    done = subprocess.run(["bash", "-c", told], cwd=work, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stderr[-3000:]}\n{done.stdout[-2000:]}"
    assert "Traceback" not in done.stderr, done.stderr[-3000:]


def test_commands_are_found_at_all() -> None:
    """The tests above would be empty if the pages were written in another way than they read."""
    found = {page.relative_to(ROOT).as_posix(): script(page).count("check $?") for page in PAGES}
    assert found["README.md"] >= 2 and found["docs/tutorials/first-hour.md"] >= 8
    assert sum(found.values()) >= 50


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_blocks_have_a_language_and_what_is_skipped_a_reason(page: Path) -> None:
    for block in blocks(page):
        if block.language in ("setup", "workspace"):
            continue
        where = f"{page.relative_to(ROOT)}:{block.line}"
        assert block.language in (*KNOWN, *SHELL), f"{where}: say which language it is"
        assert block.language not in SHELL or "skip" in block.remarks, f"{where}: write console, so that it is run"
        assert "skip" not in block.remarks or len(block.remarks["skip"]) > 5, f"{page}:{block.line}: say why"
        if block.language == "console" and "skip" not in block.remarks:
            assert commands(block.text), f"{page}:{block.line}: no line begins with '$ '"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.S)
    for target in LINK.findall(text):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        assert path.exists(), f"{page.relative_to(ROOT)}: {target} leads nowhere"
        assert not anchor or anchor in _anchors(path), f"{page.relative_to(ROOT)}: {target}: no such heading"


@lru_cache(maxsize=None)
def _anchors(page: Path) -> frozenset[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), flags=re.M)
    return frozenset(re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings)


def test_every_page_can_be_reached_from_the_index() -> None:
    seen: set[Path] = set()
    todo = [ROOT / "docs" / "index.md"]
    while todo:
        page = todo.pop()
        if page in seen or page.suffix != ".md":
            continue
        seen.add(page)
        targets = LINK.findall(page.read_text("utf-8"))
        todo += [(page.parent / t.partition("#")[0]).resolve() for t in targets if not re.match(r"[a-z]+:|#", t)]
    assert set(ROOT.glob("docs/**/*.md")) <= seen, sorted(set(ROOT.glob("docs/**/*.md")) - seen)


def test_each_guarantee_names_tests_that_exist() -> None:
    page = ROOT / "docs" / "explanation" / "guarantees.md"
    promises = re.split(r"^## ", page.read_text("utf-8"), flags=re.M)[1:]
    assert len(promises) >= 8
    for promise in promises:
        title = promise.splitlines()[0]
        assert "**Limits.**" in promise, f"{title}: say where the promise ends"
        named = TEST.findall(promise)
        assert named, f"{title}: a promise without a test is taken out"
        for file, function in named:
            assert (ROOT / file).is_file(), f"{title}: {file} is not there"
            assert function in _functions(ROOT / file), f"{title}: {file} has no {function}"


@lru_cache(maxsize=None)
def _functions(path: Path) -> frozenset[str]:
    return frozenset(n.name for n in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(n, ast.FunctionDef))


def test_the_reference_says_what_the_code_says() -> None:
    spec = importlib.util.spec_from_file_location("reference", ROOT / "scripts" / "reference.py")
    assert spec is not None and spec.loader is not None
    reference = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(reference)
    assert reference.outdated() == [], "renew it with: python scripts/reference.py"


def test_the_picture_of_the_result_is_small_enough_for_a_page() -> None:
    for picture in (ROOT / "docs" / "images").iterdir():
        assert picture.stat().st_size <= 300 * 1024, picture
