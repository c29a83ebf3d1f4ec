"""The tearsheet: one self-contained HTML file that tells a :class:`~aiquant.backtest.story.Story`.

The file asks for nothing: styles, scripts and data stand inside it, and its Content-Security-Policy forbids every
request and every script but the two whose digests it names. All that comes from outside (names, symbols, notes) is
escaped by the templates.
"""

from __future__ import annotations

import hashlib
import json
from base64 import b64encode
from collections.abc import Mapping, Sequence
from datetime import date
from functools import lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from aiquant.backtest import (
    figures,
    figures_evaluation,
    figures_judgement,
    figures_model,
    figures_series,
    tearsheet_format,
    tearsheet_words,
)
from aiquant.backtest.figures_style import MAX_POINTS, light_to_dark
from aiquant.backtest.story import Story, as_mapping
from aiquant.backtest.tearsheet_glossary import GLOSSARY

if TYPE_CHECKING:
    import jinja2
    import plotly.graph_objects as go

TEMPLATES = "templates"

SUMMARY_ROWS: tuple[tuple[str, str, str, str], ...] = (
    ("total_return", "Total return", "percent", "annual-return"),
    ("annual_return", "Return a year", "percent", "annual-return"),
    ("volatility", "Volatility a year", "percent", "volatility"),
    ("sharpe", "Sharpe ratio", "number", "sharpe"),
    ("sharpe_interval", "Sharpe ratio, interval", "plain", "sharpe"),
    ("sharpe_probability", "Probability of Sharpe above 0", "percent", "sharpe-probability"),
    ("sortino", "Sortino ratio", "number", "sortino"),
    ("calmar", "Calmar ratio", "number", "calmar"),
    ("max_drawdown", "Maximum drawdown", "percent", "drawdown"),
    ("annual_turnover", "Turnover a year (one-way)", "times", "turnover"),
    ("annual_costs", "Costs a year", "percent2", "costs"),
)
"""Field of a summary, what the table calls it, how it is written, its entry in the glossary."""


def render(story: Story) -> str:
    """Draw the tearsheet.

    Parameters
    ----------
    story
        What to tell. Parts that are None or empty lose their section, or are said to be missing where that matters.

    Returns
    -------
    One HTML document (about 5 MB, most of it the plotting library), to be written as UTF-8.
    """
    drawn = charts(story)
    return page(
        "tearsheet.html",
        drawn,
        story=story,
        tracks=story.tracks,
        period=_period(story),
        verdict=tearsheet_words.verdict(story),
        cards=tearsheet_words.cards(story),
        summary=_summary_table(story),
        years=_year_table(story),
        cost_words=tearsheet_words.costs(story),
        ends=tearsheet_words.ends(story),
        folds_counted=any(fold.rows_purged is not None for fold in story.folds),
        judgement=as_mapping(story.judgement),
        paths=as_mapping(story.paths),
        stability=as_mapping(story.measured).get("stability"),
        evaluation=as_mapping(story.evaluation),
        gate=_checked(story.verdict),
        leakage=_checked(story.leakage),
        manifest=tearsheet_format.dotted(story.manifest),
        manifest_lines=_manifest_lines(story.manifest),
        thinned=max(t.equity.num_rows for t in story.tracks.values()) > MAX_POINTS,
        max_points=MAX_POINTS,
    )


def page(template: str, drawn: Mapping[str, go.Figure], **told: Any) -> str:
    """One self-contained HTML document with these figures, from a template of this room; ``told`` is what it tells."""
    data = {"figures": {name: json.loads(f.to_json()) for name, f in drawn.items()}, "dark": light_to_dark()}
    library, page_script = _plotly_library(), _template_text("tearsheet.js.html")
    return (
        _environment()
        .get_template(template)
        .render(
            **told,
            glossary=GLOSSARY,
            charts=drawn,
            data=_safe_json(data),
            style=_template_text("tearsheet.css"),
            library=library,
            page_script=page_script,
            policy=_policy(library, page_script),
        )
    )


def charts(story: Story) -> dict[str, go.Figure]:
    curves = story.curves
    strategy, summary = next(iter(story.tracks.values()))
    told, judgement = as_mapping(summary), as_mapping(story.judgement)
    per_year = told.get("sessions_per_year")
    drawn: dict[str, go.Figure | None] = {
        "equity": figures.equity(curves),
        "drawdown": figures.drawdown(curves),
        "by_year": figures.by_year(curves),
        "monthly": figures.monthly_heatmap(strategy),
        "costs": figures.costs(strategy),
        "rank_ic_by_year": (
            figures_model.rank_ic_by_year({int(year): ic for year, ic in judgement["by_year"].items()})
            if judgement.get("by_year")
            else None
        ),
        "rank_ic_cumulative": (
            figures_model.rank_ic_cumulative({_day(day): ic for day, ic in judgement["daily"].items()})
            if judgement.get("daily")
            else None
        ),
        "quantiles": (
            figures_model.quantile_spread(
                judgement["quantiles"], judgement.get("horizon"), judgement.get("quantile_errors")
            )
            if judgement.get("quantiles")
            else None
        ),
        **_judged(judgement),
        "rolling_sharpe": (
            figures.rolling_sharpe(curves, float(per_year), float(told.get("risk_free") or 0.0)) if per_year else None
        ),
        "splits": figures_model.splits(story.folds) if story.folds else None,
        **_crossed(as_mapping(story.paths)),
        "importance": figures_model.feature_importance(story.importance) if story.importance else None,
        **_measured(as_mapping(story.measured)),
        "distribution": figures.distribution(strategy),
        "exposure": figures.exposure(strategy),
        "turnover": figures.turnover(strategy),
        **figures_evaluation.charts(as_mapping(story.evaluation)),
    }
    return {name: figure for name, figure in drawn.items() if figure is not None}


def _measured(measured: Mapping[str, Any]) -> dict[str, go.Figure | None]:
    lines, clusters = measured.get("features"), measured.get("clusters")
    shares = {str(line["feature"]): float(line["shap"]) for line in lines or () if line.get("shap") is not None}
    together = [{**told, "feature": _members(told["features"])} for told in clusters or ()]
    title = "Fall of the rank IC when a cluster of features is shuffled"
    return {
        "permutation": figures_model.permutation_importance(lines) if lines else None,
        "clusters": figures_model.permutation_importance(together, title=title) if together else None,
        "shap": figures_model.feature_importance(shares, title="Contribution to the forecasts") if shares else None,
    }


def _members(features: Sequence[str], shown: int = 3) -> str:
    left = len(features) - shown
    return ", ".join(features[:shown]) + (f" and {left} more" if left > 0 else "")


def _judged(judgement: Mapping[str, Any]) -> dict[str, go.Figure | None]:
    decay, deciles = judgement.get("decay"), judgement.get("accuracy", {}).get("deciles")
    groups = {name: rows for name, rows in judgement.get("groups", {}).items() if rows}
    return {
        "decay": figures_judgement.rank_ic_by_horizon(decay, judgement.get("horizon")) if decay else None,
        "groups": figures_judgement.rank_ic_by_group(groups) if groups else None,
        "calibration": figures_judgement.calibration(deciles) if deciles else None,
    }


def _crossed(paths: Mapping[str, Any]) -> dict[str, go.Figure | None]:
    folds = paths.get("folds")
    return {
        "paths": figures_judgement.paths(paths["paths"]) if paths.get("paths") else None,
        "path_splits": figures_model.splits(folds, "Splits of the cross-validation") if folds else None,
    }


def _period(story: Story) -> tuple[Any, Any, int]:
    days = next(iter(story.curves.values()))["date"].to_pylist()
    return days[0], days[-1], len(days)


def _summary_table(story: Story) -> list[tuple[str, str, list[str]]]:
    """Rows of label, glossary key and one text for each strategy; rows that nobody fills are left out."""
    summaries = [as_mapping(track.summary) for track in story.tracks.values()]
    for told in summaries:
        told["sharpe_interval"] = tearsheet_words.between(told)
    writers = _writers()
    rows = []
    for field, label, written, term in SUMMARY_ROWS:
        values = [writers[written](s.get(field)) for s in summaries]
        if any(value != tearsheet_format.NOTHING for value in values):
            rows.append((label, term, values))
    return rows


def _year_table(story: Story) -> dict[str, Any]:
    own, *others = (figures_series.years(table) for table in story.curves.values())
    returns = [{year.year: year.total_return for year in other} for other in others]
    return {
        "names": list(story.curves),
        "rows": [(year, [year.total_return, *(other.get(year.year) for other in returns)]) for year in own],
    }


def _checked(part: object | None) -> dict[str, Any]:
    """A verdict with its checks as mappings; empty where there is none."""
    told = as_mapping(part)
    return told | {"checks": [as_mapping(check) for check in told.get("checks", ())]} if told else {}


def _manifest_lines(manifest: Mapping[str, object]) -> dict[str, str]:
    """One line for each entry of the manifest, the settings left to the full one."""
    lines = {}
    for name, value in manifest.items():
        if name == "settings":
            continue
        if isinstance(value, Mapping):
            parts = tearsheet_format.dotted(value)
            lines[name] = ", ".join(f"{part} {tearsheet_format.plain(each)}" for part, each in parts.items())
        else:
            lines[name] = tearsheet_format.plain(value)
    return {tearsheet_format.label(name): line for name, line in lines.items()}


def _day(value: object) -> date:
    return value if isinstance(value, date) else date.fromisoformat(str(value))


def _writers() -> dict[str, Any]:
    return {
        "percent": tearsheet_format.percent,
        "percent2": lambda value: tearsheet_format.percent(value, 2),
        "number": tearsheet_format.number,
        "times": tearsheet_format.times,
        "plain": tearsheet_format.plain,
    }


def _environment() -> jinja2.Environment:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_template_text),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for name in ("number", "percent", "times", "count", "seconds", "plain", "amount", "label", "day", "moment"):
        environment.filters[name] = getattr(tearsheet_format, name)
    return environment


def _template_text(name: str) -> str:
    return files("aiquant.backtest").joinpath(TEMPLATES, name).read_text(encoding="utf-8")


@lru_cache(maxsize=1)
def _plotly_library() -> str:
    from plotly.offline import get_plotlyjs

    library: str = get_plotlyjs().strip()
    return library.replace("</script", "<\\/script")


def _policy(*scripts: str) -> str:
    """Content-Security-Policy: nothing is fetched, and only these scripts run."""
    digests = " ".join(f"'sha256-{b64encode(hashlib.sha256(s.encode()).digest()).decode()}'" for s in scripts)
    return (
        f"default-src 'none'; script-src {digests}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )


def _safe_json(data: object) -> str:
    """JSON that may stand inside a script element: nothing in it can close the element or open a comment."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text
