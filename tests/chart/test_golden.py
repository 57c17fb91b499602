"""The rendered fixtures, line by line, so that a review sees what a change does to a cluster."""
import difflib

import yaml

from harness import HERE, fixtures, render

GOLDEN = HERE / "golden"


class Dumper(yaml.SafeDumper):
    """Lists indented, long lines whole, texts as blocks."""

    def ignore_aliases(self, data):
        return True


Dumper.add_representer(str, lambda dumper, text: dumper.represent_scalar(
    "tag:yaml.org,2002:str", text, style="|" if "\n" in text else None))


def golden_text(values):
    """All objects; what stands in another file of the repository is replaced by its name."""
    objects = render(values)
    for document in objects:
        if document["kind"] == "PrometheusRule":
            for group in document["spec"]["groups"]:
                group["rules"] = [rule.get("alert") or rule["record"] for rule in group["rules"]]
        if "sparkway.json" in document.get("data", {}):
            document["data"]["sparkway.json"] = "(deploy/grafana/sparkway.json)"
    return yaml.dump_all(objects, Dumper=Dumper, sort_keys=False, width=4000, allow_unicode=True)


def update():
    """Writes what is rendered now."""
    GOLDEN.mkdir(exist_ok=True)
    for name, values in fixtures().items():
        (GOLDEN / f"{name}.yaml").write_text(golden_text(values))


def test_every_fixture_renders_as_its_golden_file():
    for name, values in fixtures().items():
        path = GOLDEN / f"{name}.yaml"
        want = path.read_text() if path.exists() else ""
        lines = difflib.unified_diff(want.splitlines(), golden_text(values).splitlines(), f"golden/{name}.yaml", "rendered", n=1, lineterm="")
        yield from lines
    for path in GOLDEN.glob("*.yaml"):
        if path.stem not in fixtures():
            yield f"golden/{path.name} belongs to no fixture"
