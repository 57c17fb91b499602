#!/usr/bin/env python3
"""How costs grow, one figure at a time, as a table, JSON and plain SVG in benches/results.

    python3 benches/growth.py                    all of them, about eight minutes on a quiet machine
    python3 benches/growth.py --only payload,nodes
    python3 benches/growth.py --quick            fewer and shorter steps

Server on core 0, client on core 1, a new server for every step, as in run.py. Costs are CPU time
of the server, so that the width of a curve, not the minute it was measured in, counts.
"""

import argparse
import json
import math
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path

import run

RESULTS = run.HERE / "results"


# Options of the load that stand before the workload.
BEFORE = {"--size", "--more-topics"}


def fanout(*arguments, **gateway):
    pairs = list(zip(arguments[::2], arguments[1::2]))
    before = [text for pair in pairs if pair[0] in BEFORE for text in pair]
    behind = [text for pair in pairs if pair[0] not in BEFORE for text in pair]
    return [*before, "fanout", "--warm", 0.5, *behind], gateway


# name: (title, axis, unit, steps, quick steps, step -> (load, gateway), {curve: figure})
GROWTHS = {
    "subscribers": (
        "Cost of a delivery by subscribers of its topic", "subscribers", "us CPU per delivery",
        [1, 10, 100, 1000, 5000, 15000], [1, 100, 1000],
        lambda n: fanout("--clients", n), {"gateway": "server_cpu_us"}),
    "topics": (
        "Cost of a delivery by live topics beside it", "topics", "us CPU per delivery",
        [100, 1000, 10000, 100000], [100, 10000],
        lambda n: fanout("--clients", 1000, "--topics", 100, "--window", 50,
                         "--more-topics", min(n // 1000, 99)), {"gateway": "server_cpu_us"}),
    "connections": (
        "Cost of a delivery by connections, 10 to a topic", "connections", "us CPU per delivery",
        [100, 1000, 5000, 10000, 15000], [100, 1000],
        lambda n: fanout("--clients", n, "--topics", n // 10, "--window", 50),
        {"gateway": "server_cpu_us"}),
    "nodes": (
        "Cost of a publish by nodes on one Redis, a member of each topic on every node", "nodes",
        "us CPU per publish", [1, 2, 3, 4], [1, 2],
        lambda n: fanout("--clients", 100 * n, "--topics", 100, "--window", 200,
                         nodes=n, redis=True),
        {"all nodes and Redis": "publish_cpu_us", "Redis alone": "store_cpu_us"}),
    "payload": (
        "Cost of a delivery by size of the message, 100 subscribers", "bytes",
        "us CPU per delivery", [36, 128, 512, 2048, 8192, 32768], [36, 8192],
        lambda n: fanout("--clients", 100, "--size", n,
                         settings={"limits.message_bytes": "128KiB"}),
        {"gateway": "server_cpu_us"}),
    "partitions": (
        "Cost of a publish by partitions, one node on Redis, 100 topics", "partitions",
        "us CPU per publish", [1, 2, 4, 8, 16], [1, 4],
        lambda n: fanout("--clients", 100, "--topics", 100, "--window", 200,
                         redis=True, settings={"store.partitions": n}),
        {"node and Redis": "publish_cpu_us", "Redis alone": "store_cpu_us"}),
    "workers": (
        "Cost of a delivery by worker threads, 100 topics of 10", "workers",
        "us CPU per delivery", [1, 2], [1, 2],
        lambda n: fanout("--clients", 1000, "--topics", 100, "--window", 50,
                         cores="0" if n == 1 else "0,1"),
        {"gateway": "server_cpu_us"}),
}


def measure(load, gateway, quick, log):
    gateway = dict(gateway)
    with_redis = gateway.pop("redis", False)
    cores = gateway.pop("cores", run.SERVER_CORE)

    def start(servers):
        servers.cores = cores
        gateway["store"] = servers.redis() if with_redis else "memory:"
        servers.gateway(**gateway)

    run.SERVERS["growth"] = start
    run.WORKLOADS["growth"] = ("", lambda _: [*load, "--seconds", 1 if quick else 2], [], [])
    return run.measure("growth", "growth", quick, log)


def exponent(steps, values):
    """The power of the step with which a cost grows over its last three steps."""
    points = [(math.log(x), math.log(y)) for x, y in list(zip(steps, values))[-3:] if y > 0]
    if len(points) < 2:
        return 0.0
    mean_x, mean_y = (statistics.mean(axis) for axis in zip(*points))
    width = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / width


def svg(title, axis, unit, steps, curves):
    """A plot with a logarithmic x axis; y begins at zero."""
    wide, high, left, top = 640, 360, 70, 40
    right, bottom = wide - 20, high - 50
    lo, hi = math.log(steps[0]), math.log(steps[-1])
    most = max(max(values) for values in curves.values()) * 1.1 or 1
    at_x = lambda x: left + (right - left) * (math.log(x) - lo) / ((hi - lo) or 1)
    at_y = lambda y: bottom - (bottom - top) * y / most
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {high}" '
             'font-family="sans-serif" font-size="12">',
             f'<rect width="{wide}" height="{high}" fill="white"/>',
             f'<text x="{left}" y="22" font-size="14">{title}</text>',
             f'<path d="M{left} {top}V{bottom}H{right}" fill="none" stroke="black"/>',
             f'<text x="{(left + right) / 2}" y="{high - 10}" text-anchor="middle">{axis}</text>',
             f'<text transform="translate(16 {(top + bottom) / 2}) rotate(-90)" '
             f'text-anchor="middle">{unit}</text>']
    for step in steps:
        parts.append(f'<text x="{at_x(step):.1f}" y="{bottom + 18}" text-anchor="middle">'
                     f'{step:,}</text>')
    for share in (0.25, 0.5, 0.75, 1.0):
        y = at_y(most * share)
        parts.append(f'<path d="M{left} {y:.1f}H{right}" stroke="#ddd"/>'
                     f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">'
                     f'{most * share:.3g}</text>')
    for number, (name, values) in enumerate(curves.items()):
        colour = ["#1b6ca8", "#c0392b", "#27864a"][number % 3]
        points = " ".join(f"{at_x(x):.1f},{at_y(y):.1f}" for x, y in zip(steps, values))
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" '
                     'stroke-width="2"/>')
        for x, y in zip(steps, values):
            parts.append(f'<circle cx="{at_x(x):.1f}" cy="{at_y(y):.1f}" r="3" fill="{colour}"/>')
        parts.append(f'<text x="{right}" y="{top + 14 * number}" text-anchor="end" '
                     f'fill="{colour}">{name}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(GROWTHS))
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    RESULTS.mkdir(exist_ok=True)
    out, failed = {"machine": run.machine(), "growths": {}}, False
    print("| growth | " + " | ".join(["steps", "figures", "exponent at the end"]) + " |")
    print("| --- | --- | --- | --- |")
    with tempfile.NamedTemporaryFile(prefix="bench-growth-", suffix=".txt", delete=False) as log:
        for name in args.only.split(","):
            title, axis, unit, steps, few, make, figures = GROWTHS[name]
            steps = few if args.quick else steps
            runs = []
            for step in steps:
                load, gateway = make(step)
                runs.append([measure(load, gateway, args.quick, log)
                             for _ in range(args.repeats)])
                print(f"{name} {step}: {runs[-1]}", file=sys.stderr, flush=True)
            failed |= any(each.get("failed") for step in runs for each in step)
            curves = {curve: [statistics.median(each[figure] for each in step) for step in runs]
                      for curve, figure in figures.items()}
            out["growths"][name] = {"title": title, "axis": axis, "unit": unit, "steps": steps,
                                    "curves": curves, "runs": runs}
            (RESULTS / f"growth-{name}.svg").write_text(
                svg(title, axis, unit, steps, curves), encoding="utf-8")
            for curve, values in curves.items():
                shown = " / ".join(f"{value:.3g}" for value in values)
                print(f"| {name}: {curve}, {unit} | {' / '.join(map(str, steps))} | {shown} | "
                      f"{exponent(steps, values):.2f} |", flush=True)
    path = RESULTS / time.strftime("%Y-%m-%d-%H%M-growth.json")
    path.write_text(json.dumps(out, indent=1) + "\n", encoding="utf-8")
    print(f"written: {Path(path)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
