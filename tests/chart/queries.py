"""What dashboard and rules ask Prometheus for. As a program: compares it with a scrape of the gateway.

    python3 tests/chart/queries.py SCRAPE.txt

prints every family, label and label value that is asked for and that the scrape has not; exit 1 if there is one.
"""
import functools
import json
import pathlib
import re
import sys

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
RULES = ROOT / "deploy" / "prometheus" / "rules.yaml"
DASHBOARD = ROOT / "deploy" / "grafana" / "sparkway.json"
# Labels that the scrape gives, not the gateway.
TARGET = {"job", "instance", "namespace", "pod"}
# A family with its selector, never a recorded one (those have colons).
SELECTOR = re.compile(r"(?<![:\w])((?:sparkway|process)_[a-z_0-9]+)(?:\{([^}]*)\})?(?!:)")
MATCHER = re.compile(r'(\w+)\s*(=~|!=|!~|=)\s*"([^"]*)"')
GROUPING = re.compile(r"\b(?:by|on)\s*\(([^)]*)\)")


def rules():
    """(group, rule) of all rules."""
    for group in yaml.safe_load(RULES.read_text())["groups"]:
        for rule in group["rules"]:
            yield group["name"], rule


def panels():
    """All panels of the dashboard, those of folded rows too, without the rows."""
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        yield from (panel["panels"] if panel["type"] == "row" else [panel])


@functools.cache
def queries():
    """(where, expression) of everything that is asked for."""
    out = [(f"rule {rule.get('alert') or rule['record']}", rule["expr"]) for _, rule in rules()]
    out += [(f"panel {panel['title']}", target["expr"]) for panel in panels() for target in panel["targets"]]
    annotations = json.loads(DASHBOARD.read_text())["annotations"]["list"]
    return out + [(f"annotation {annotation['name']}", annotation["expr"]) for annotation in annotations]


def selectors(expression):
    """(family, labels matched on with their values) in an expression."""
    for name, inside in SELECTOR.findall(expression):
        family = re.sub(r"_(bucket|count|sum)$", "", name)
        yield family, [(label, op, value) for label, op, value in MATCHER.findall(inside) if label not in TARGET]


def groupings(expression):
    """Labels that an expression groups or joins by, without those of the target."""
    return {label.strip() for inside in GROUPING.findall(expression) for label in inside.split(",") if label.strip()} - TARGET


def scraped(text):
    """Family -> label -> values, from the text format."""
    out = {}
    for line in text.splitlines():
        found = re.match(r"^([a-zA-Z_][\w]*)(?:\{(.*)\})? ", line)
        if not found:
            continue
        labels = dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', found[2] or ""))
        for name in {found[1], re.sub(r"_(bucket|count|sum)$", "", found[1])}:
            family = out.setdefault(name, {})
            for label, value in labels.items():
                family.setdefault(label, set()).add(value)
    return out


def missing(have):
    """What is asked for and not in a scrape."""
    for where, expression in queries():
        families = [(family, matchers) for family, matchers in selectors(expression)]
        for family, matchers in families:
            if family not in have:
                yield f"{where}: {family} is not in the scrape"
                continue
            for label, op, value in matchers:
                if label not in have[family]:
                    yield f"{where}: {family} has no label {label}"
                elif op in ("=", "=~"):
                    for one in value.split("|"):
                        if one not in have[family][label]:
                            yield f'{where}: {family} has no {label}="{one}"'
        known = {label for family, _ in families for label in have.get(family, {})}
        for label in groupings(expression) - known:
            if ":" not in expression:
                yield f"{where}: nothing in it has the label {label}"


def main():
    """Compares with the scrape named on the command line."""
    problems = sorted(set(missing(scraped(pathlib.Path(sys.argv[1]).read_text()))))
    for problem in problems:
        print(problem)
    print(f"{len(queries())} queries, {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
