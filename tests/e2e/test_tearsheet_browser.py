"""The tearsheet in a real browser: it draws, complains of nothing, asks for nothing, and fits a phone."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from runpy import run_path
from types import SimpleNamespace
from typing import Any

import pytest

from aiquant.backtest import tearsheet

stories = SimpleNamespace(**run_path(str(Path(__file__).parents[1] / "unit" / "backtest" / "tearsheet_story.py")))

DESKTOP, PHONE = (1280, 900), (390, 844)
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
BOTH = pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        told = "no Chromium is installed: the tearsheet cannot be looked at"
        pytest.fail(told) if os.environ.get("CI") == "true" else pytest.skip(told)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=program, args=ARGUMENTS)
        yield started
        started.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("tearsheets")
    evil = {"title": "</script><script>window.evil=1</script>", "notes": ['<img src=x onerror="window.evil=1">']}
    told = {"whole": stories.story(), "bare": stories.bare(), "evil": stories.story(**evil)}
    for name, story in told.items():
        (folder / f"{name}.html").write_text(tearsheet.render(story), encoding="utf-8")
    return {name: folder / f"{name}.html" for name in told}


class Visit:
    """A page that was opened, and everything that the browser had to say about it."""

    def __init__(self, browser: Any, path: Path, size: tuple[int, int], scheme: str = "light") -> None:
        self.said: list[str] = []
        self.asked: list[str] = []
        self.context = browser.new_context(
            viewport={"width": size[0], "height": size[1]}, color_scheme=scheme, has_touch=size == PHONE
        )
        self.page = self.context.new_page()
        self.page.on("console", lambda message: self.said.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.said.append(f"page error: {error}"))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(path.as_uri())
        self.page.wait_for_selector("html[data-drawn]", timeout=60_000)

    def __enter__(self) -> Visit:
        return self

    def __exit__(self, *_: object) -> None:
        self.context.close()

    def get(self, script: str) -> Any:
        return self.page.evaluate(script)


@pytest.fixture(scope="module")
def look(browser: Any, pages: dict[str, Path]) -> Iterator[Callable[..., Visit]]:
    """Open a page once for all tests that only look at it."""
    visits: dict[tuple[Any, ...], Visit] = {}

    def at(name: str, size: tuple[int, int], scheme: str = "light") -> Visit:
        if (name, size, scheme) not in visits:
            visits[name, size, scheme] = Visit(browser, pages[name], size, scheme)
        return visits[name, size, scheme]

    yield at
    for visit in visits.values():
        visit.context.close()


@BOTH
@pytest.mark.parametrize("name, scheme", [("whole", "light"), ("whole", "dark"), ("bare", "light")])
def test_page_is_quiet_and_fits(look: Callable[..., Visit], name: str, scheme: str, size: tuple[int, int]) -> None:
    visit = look(name, size, scheme)
    assert visit.said == []
    assert [url for url in visit.asked if not url.startswith(("file://", "data:"))] == []
    width, room = visit.get("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert width <= room


@BOTH
def test_every_chart_is_drawn(look: Callable[..., Visit], size: tuple[int, int]) -> None:
    visit = look("whole", size)
    boxes = visit.get("""[...document.querySelectorAll("[data-chart]")].map((box) => {
            const svg = box.querySelector("svg.main-svg");
            const rect = svg ? svg.getBoundingClientRect() : {width: 0, height: 0};
            const drawn = ".js-line, .barlayer .point path, .scatterlayer path.point, .heatmaplayer image";
            const marks = box.querySelectorAll(drawn).length;
            return [box.dataset.chart, rect.width, rect.height, box.clientWidth, marks, box.ariaLabel];
        })""")
    assert len(boxes) == 20
    for chart, width, height, room, marks, label in boxes:
        assert width > 250 and height > 60, chart
        assert width <= room + 1, chart
        assert marks > 0, chart
        assert label, chart


@BOTH
def test_key_numbers_are_seen(look: Callable[..., Visit], size: tuple[int, int]) -> None:
    visit = look("whole", size)
    values = visit.page.locator(".card .value")
    assert values.count() == 6
    assert values.all_inner_texts()[0] == "0.0041"
    assert all(values.nth(i).is_visible() for i in range(6))
    assert visit.page.get_by_role("heading", name="No edge was found.").is_visible()


def test_headings_descend_one_at_a_time(look: Callable[..., Visit]) -> None:
    visit = look("whole", DESKTOP)
    levels = visit.get('[...document.querySelectorAll("h1,h2,h3,h4")].map((h) => Number(h.tagName[1]))')
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in zip(levels, levels[1:], strict=False))


def test_scale_of_the_equity_chart_can_be_changed(browser: Any, pages: dict[str, Path]) -> None:
    with Visit(browser, pages["whole"], DESKTOP) as visit:
        scale = "document.querySelector('[data-chart=equity]').layout.yaxis.type"
        toggle = visit.page.get_by_role("button", name="Logarithmic scale")
        assert (visit.get(scale), toggle.get_attribute("aria-pressed")) == ("log", "true")
        toggle.click()
        assert (visit.get(scale), toggle.get_attribute("aria-pressed")) == ("linear", "false")
        assert visit.said == []


def test_pointing_at_a_chart_shows_its_numbers(browser: Any, pages: dict[str, Path]) -> None:
    with Visit(browser, pages["whole"], DESKTOP) as visit:
        chart = visit.page.locator("[data-chart=equity]")
        chart.scroll_into_view_if_needed()
        chart.locator(".nsewdrag").first.hover()
        visit.page.wait_for_selector("[data-chart=equity] .hoverlayer text")
        assert "Equal weight" in " ".join(chart.locator(".hoverlayer text").all_text_contents())
        assert visit.said == []


def test_dark_page_has_dark_charts(browser: Any, pages: dict[str, Path]) -> None:
    paper = "document.querySelector('[data-chart=equity]').layout.paper_bgcolor"
    with Visit(browser, pages["whole"], DESKTOP, "light") as light:
        assert light.get(paper) == "#ffffff"
        light.page.emulate_media(color_scheme="dark")
        for _ in range(100):
            if light.get(paper) == "#161b23":
                break
            light.page.wait_for_timeout(50)
        assert light.get(paper) == "#161b23"


def test_what_users_write_stays_text(browser: Any, pages: dict[str, Path]) -> None:
    with Visit(browser, pages["evil"], DESKTOP) as visit:
        assert visit.get("window.evil") is None
        assert visit.page.locator("h1").inner_text() == "</script><script>window.evil=1</script>"
        assert visit.said == []


def test_policy_stops_other_scripts_and_requests(browser: Any, pages: dict[str, Path]) -> None:
    with Visit(browser, pages["bare"], DESKTOP) as visit:
        visit.get("""() => {
            const script = document.createElement("script");
            script.textContent = "window.evil = 1";
            document.body.append(script);
        }""")
        assert visit.get("window.evil") is None
        assert any("Content Security Policy" in told for told in visit.said)
        failed = visit.get("fetch('http://127.0.0.1:9/').then(() => 'fetched', (error) => String(error))")
        assert "fetched" not in failed
