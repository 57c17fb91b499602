"""Combinations that must not reach a cluster."""
import functools
import re

import yaml

from harness import CHART, HERE, LOADER, Refused, render


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
