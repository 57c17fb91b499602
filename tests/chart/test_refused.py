"""Combinations that must not reach a cluster."""
import copy
import functools
import re

import helm_python
import yaml

from harness import CHART, HERE, LOADER, ROOT, Refused, render


@functools.cache
def cases():
    """The entries of refused.yaml with the message each got ("" when it rendered)."""
    out = []
    for case in yaml.load((HERE / "refused.yaml").read_text(), Loader=LOADER):
        try:
            render(case["values"])
            out.append((case, ""))
        except Refused as error:
            out.append((case, str(error)))
    return out


def test_each_refused_combination_names_the_key_to_change():
    for case, message in cases():
        if not message:
            yield f"renders: {case['values']}"
        elif case["says"] not in message:
            yield f"{case['says']!r} is not in {message[-400:]!r}"
        elif not re.match(r"^[a-z][A-Za-z0-9_.*]*: ", case["says"]):
            yield f"{case['says']!r} does not begin with a key"


def test_each_refusal_goes_away_by_what_it_advises():
    for case, _ in cases():
        try:
            render(case["fixed"])
        except Refused as error:
            yield f"{case['says']!r}: the advice is refused too: {error}"


def test_every_refusal_in_the_templates_has_a_case():
    messages = [message for _, message in cases()]
    for path in sorted((CHART / "templates").rglob("*.*")):
        for text in re.findall(r'fail \(?(?:printf )?"((?:[^"\\]|\\.)*)"', path.read_text()):
            pattern = re.escape(text).replace("%s", ".*").replace("%d", ".*")
            if not any(re.search(pattern, message, re.S) for message in messages):
                yield f"{path.name}: {text}"


def documented_commands():
    """(page, values) of each helm command in the pages; with --reuse-values on top of the one before."""
    for path in (CHART / "README.md", ROOT / "docs" / "how-to" / "kubernetes.md"):
        values = {}
        for block in re.findall(r"```sh\n(.*?)```", path.read_text(), re.S):
            for command in re.split(r"\n(?=\S)", re.sub(r"\\\n\s*", " ", block)):
                if not re.match(r"helm (install|upgrade) ", command):
                    continue
                values = copy.deepcopy(values) if "--reuse-values" in command else {}
                for pair in re.findall(r"--set (\S+)", command):
                    merge(values, helm_python.parse_set_string(pair.strip("'\"")))
                yield path.name, values


def merge(into, more):
    """Puts nested values over others."""
    for key, value in more.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            merge(into[key], value)
        else:
            into[key] = value


def test_every_helm_command_in_the_pages_renders():
    commands = list(documented_commands())
    if len(commands) < 7:
        yield f"only {len(commands)} commands were found"
    for page, values in commands:
        try:
            render(values)
        except Refused as error:
            yield f"{page}: {values}: {error}"
