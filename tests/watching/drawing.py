"""The dashboard as a picture: its panels in their rows, drawn from what Prometheus answered."""
import json
import math

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402  (after its backend is chosen)

from prometheus import queries  # noqa: E402

COLUMNS = 4
BACK, PANEL, TEXT, DIM = "#111217", "#181b1f", "#d8d9da", "#7b8087"
LINES = ["#73bf69", "#f2cc0c", "#5794f2", "#ff9830", "#f2495c", "#b877d9", "#8ab8ff", "#96d98d", "#ffb357", "#ca95e5"]
PREFIXES = [(1e9, "G"), (1e6, "M"), (1e3, "k"), (1, "")]


def figure(value, unit):
    """A value as the panel would write it."""
    if not math.isfinite(value):
        return "–"
    if unit == "s":
        return f"{value:.3g} s" if value >= 1 else f"{value * 1e3:.3g} ms"
    if unit == "percentunit":
        return f"{value * 100:.3g} %"
    for size, prefix in PREFIXES:
        if abs(value) >= size:
            return f"{value / size:.3g}{prefix}{'B' if unit == 'bytes' else ''}"
    return f"{value:.3g}"


def rows():
    """(title, titles of its panels) of each row, in order; the first panels stand above all rows."""
    out = []
    for panel in json.loads(queries.DASHBOARD.read_text())["panels"]:
        if panel["type"] == "row":
            out.append((panel["title"], [inner["title"] for inner in panel["panels"]]))
        else:
            if not out:
                out.append(("", []))
            out[-1][1].append(panel["title"])
    return out


def label(target, metric):
    """The legend of a series."""
    text = target.get("legendFormat") or ""
    for name, value in metric.items():
        text = text.replace("{{" + name + "}}", value)
    return "" if text == "__auto" else text


def stat(axes, unit, series):
    """The newest values, large."""
    shown = [(label(target, metric), points[-1][1]) for target, metric, points in series]
    if len(shown) > 1:
        text, size = "\n".join(f"{figure(value, unit)} {name}" for name, value in shown), 11
    else:
        text, size = figure(shown[0][1], unit) if shown else "–", 24
    axes.text(0.5, 0.45, text, transform=axes.transAxes, ha="center", va="center", color=LINES[0], fontsize=size)
    axes.set_xticks([])
    axes.set_yticks([])


def lines(axes, unit, series, began):
    """Values over time; series that never leave zero only while there are no others."""
    moving = [one for one in series if any(math.isfinite(value) and value for _, value in one[2])]
    for at, (target, metric, points) in enumerate(sorted(moving or series[:1], key=lambda one: -max(v for _, v in one[2] if math.isfinite(v)))):
        axes.plot([time - began for time, _ in points], [value for _, value in points], color=LINES[at % len(LINES)], linewidth=1.1,
                  label=label(target, metric)[:28] if at < 6 else None)
    axes.yaxis.set_major_formatter(lambda value, _: figure(value, unit))
    if any(axes.get_legend_handles_labels()[1]):
        axes.legend(fontsize=6, frameon=False, labelcolor=TEXT, loc="upper left", ncols=2)


def heat(axes, series, began):
    """Buckets over time: how many fell into each."""
    found = {float(metric["le"]): dict(points) for _, metric, points in series}
    edges = sorted(found)
    times = sorted({time for points in found.values() for time in points})
    grid, below = [], [0.0] * len(times)
    for edge in edges:
        upto = [value if math.isfinite(value := found[edge].get(time, 0.0)) else 0.0 for time in times]
        grid.append([max(0.0, one - other) for one, other in zip(upto, below)])
        below = upto
    axes.imshow(grid, aspect="auto", origin="lower", cmap="magma", interpolation="nearest", extent=(times[0] - began, times[-1] - began, 0, len(edges)))
    step = max(1, len(edges) // 5)
    axes.set_yticks([at + 0.5 for at in range(0, len(edges), step)], ["∞" if math.isinf(edge) else f"{edge:g}" for edge in edges[::step]])


def one(axes, panel, series, quiet, began):
    """One panel."""
    axes.set_facecolor(PANEL)
    axes.set_title(panel["title"], color=TEXT, fontsize=9, loc="left")
    axes.tick_params(colors=DIM, labelsize=6, length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    unit = panel.get("fieldConfig", {}).get("defaults", {}).get("unit")
    if panel["type"] == "stat":
        stat(axes, unit, series)
    elif panel["type"] == "heatmap" and series:
        heat(axes, series, began)
    elif series:
        axes.grid(color="#2a2d33", linewidth=0.5)
        lines(axes, unit, series, began)
    if panel["title"] in quiet and not any(math.isfinite(value) and value for _, _, points in series for _, value in points):
        axes.text(0.5, 0.08, quiet[panel["title"]], transform=axes.transAxes, ha="center", color=DIM, fontsize=7)


def draw(panels, quiet, path):
    """Writes the picture."""
    by_title = {panel["title"]: (panel, series) for panel, series in panels}
    began = min(points[0][0] for _, series in panels for _, _, points in series)
    blocks = [(title, names, -(-len(names) // COLUMNS)) for title, names in rows()]
    height = sum(count for _, _, count in blocks)
    picture = plt.figure(figsize=(16, 1.75 * height + 0.4 * len(blocks)), facecolor=BACK, layout="constrained")
    parts = picture.subfigures(len(blocks), 1, height_ratios=[count + 0.22 for _, _, count in blocks])
    for part, (title, names, count) in zip(parts, blocks):
        part.set_facecolor(BACK)
        if title:
            part.suptitle(title, color=TEXT, fontsize=11, x=0.01, ha="left", fontweight="bold")
        grid = part.subplots(count, COLUMNS, squeeze=False)
        for axes in grid.flat[len(names):]:
            axes.set_visible(False)
        for axes, name in zip(grid.flat, names):
            one(axes, *by_title[name], quiet, began)
    picture.savefig(path, dpi=75, facecolor=BACK)
    plt.close(picture)
