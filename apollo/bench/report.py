"""The results as JSON, Markdown and plots.

In:  `Results` and the folder.  Out: `results.json`, `results.md`, and a PNG for each curve.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from apollo.bench.results import Curve, Figure, Results
from apollo.data.whole_file import whole_file, write_text

PACKAGES = ("apollo-video", "torch", "transformers", "av", "decord2", "gradio")
VERDICTS = {True: "yes", False: "**no**", None: "–"}


def machine() -> dict[str, Any]:
    versions: dict[str, str | None] = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = None
    return {
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "packages": versions,
    }


def write_report(results: Results, folder: Path, *, repeats: int, quick: bool) -> str:
    """Writes all files; returns the text of `results.md`."""
    settings = {"repeats": repeats, "quick": quick, "machine": machine()}
    found = {**settings, **results.as_json()}
    write_text(folder / "results.json", json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    for curve in results.curves:
        with whole_file(folder / f"{curve.name}.png") as growing:
            draw(curve, growing)
    text = markdown(results, repeats=repeats, quick=quick)
    write_text(folder / "results.md", text)
    return text


def markdown(results: Results, *, repeats: int, quick: bool) -> str:
    """Figures with their targets, then the timings, then the curves."""
    parts = ["# apollo bench", f"Medians of {repeats} rounds, with the lowest and highest."]
    if quick:
        parts.append("A quick run: its sizes say nothing about speed, and no target is judged.")
    rows = [
        [figure.case, figure.what, _value(figure), _target(figure), VERDICTS[figure.met]]
        for figure in results.figures
    ]
    parts.append(table(["case", "figure", "value", "target", "met"], rows))
    rows = []
    for timing in results.timings:
        numbers = []
        for key in ("wall_s", "cpu_s", "peak_mb"):
            values = [run[key] for run in timing.runs if key in run]
            numbers.append(spread(timing.median(key), values))
        rows.append([timing.case, timing.what, *numbers])
    parts.append(table(["case", "what", "wall, s", "CPU, s", "peak above, MB"], rows))
    parts += [f"![{curve.quantity}]({curve.name}.png)" for curve in results.curves]
    return "\n\n".join(filter(None, parts)) + "\n"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; "" without rows."""
    if not rows:
        return ""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def spread(median: float | None, values: Sequence[float]) -> str:
    """ "3.1 (2.9 to 3.4)" """
    if median is None:
        return "–"
    low, high = min(values), max(values)
    return _short(median) + (f" ({_short(low)} to {_short(high)})" if low < high else "")


def _short(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _value(figure: Figure) -> str:
    if figure.reason is not None:
        return f"not measured: {figure.reason}"
    return f"{spread(figure.median, figure.values)} {figure.unit}".strip()


def _target(figure: Figure) -> str:
    for sign, limit in (("≥", figure.at_least), ("≤", figure.at_most)):
        if limit is not None:
            return f"{sign} {_short(limit)} {figure.unit}".strip()
    return "–"


def draw(curve: Curve, path: Path) -> None:
    """Wall seconds and memory, one above the other."""
    from matplotlib.figure import Figure as Drawing  # slow to import

    drawing = Drawing(figsize=(6, 5), layout="constrained")
    panels = drawing.subplots(2, sharex=True)
    for axes, key, label in zip(
        panels, ("wall_s", "peak_mb"), ("wall, s", "peak above the model, MB"), strict=True
    ):
        axes.plot(curve.ticks, [run[key] for run in curve.runs], marker="o")
        axes.set_ylabel(label)
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
    panels[1].set_xlabel(curve.quantity)
    drawing.savefig(path)
