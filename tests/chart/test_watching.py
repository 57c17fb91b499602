"""Dashboard, alerts, recording rules and runbooks."""
import collections
import json
import os
import re
import subprocess
import tempfile

import yaml

import queries
from harness import DEPLOY, HERE, LOADER, ROOT, dotted, fixtures, leaves, named, render

RUNBOOKS = ROOT / "docs" / "runbooks"


def pages():
    """The pages that are checked against chart, rules and metrics."""
    return [*sorted(RUNBOOKS.glob("*.md")), ROOT / "docs" / "how-to" / "kubernetes.md"]


def run(*command, cwd=None):
    """Exit status and all output of a program."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout + done.stderr


def promtool(*arguments):
    """Problems that promtool has."""
    status, output = run(os.environ["PROMTOOL"], *arguments)
    return output.splitlines() if status else []


def families():
    """Family -> labels, as the contract has them."""
    table = yaml.load((HERE / "families.yaml").read_text(), Loader=LOADER)
    return {name if name.startswith("process_") else f"sparkway_{name}": set(labels) for name, labels in table.items()}


def alerts():
    """Name -> alert."""
    return {rule["alert"]: rule for _, rule in queries.rules() if "alert" in rule}


def check_groups(groups):
    """Problems that promtool has with rule groups."""
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        yaml.safe_dump({"groups": groups}, file)
        file.flush()
        return promtool("check", "rules", file.name)


def test_the_rules_are_valid_and_behave_as_their_unit_tests_say():
    yield from promtool("check", "rules", str(DEPLOY / "prometheus" / "rules.yaml"))
    yield from promtool("test", "rules", str(HERE / "rules_test.yaml"))


def test_there_are_sixteen_alerts_and_four_recording_rules_each_with_a_scenario():
    if len(alerts()) != 16 or len(list(queries.rules())) != 20:
        yield f"{len(alerts())} alerts, {len(list(queries.rules()))} rules"
    scenarios = (HERE / "rules_test.yaml").read_text()
    for name in alerts():
        if f'alertname="{name}"' not in scenarios:
            yield f"{name} fires in no scenario"


def test_an_alert_that_cannot_fire_is_noticed_by_its_scenario():
    groups = yaml.load((DEPLOY / "prometheus" / "rules.yaml").read_text(), Loader=LOADER)
    for group in groups["groups"]:
        for rule in group["rules"]:
            if "alert" in rule:
                rule["expr"] = f"({rule['expr']}) and on () vector(1) < 0"
    with tempfile.TemporaryDirectory() as folder:
        for path, text in (("deploy/prometheus/rules.yaml", yaml.safe_dump(groups)),
                           ("tests/chart/rules_test.yaml", (HERE / "rules_test.yaml").read_text())):
            os.makedirs(os.path.dirname(f"{folder}/{path}"))
            with open(f"{folder}/{path}", "w", encoding="utf-8") as file:
                file.write(text)
        noticed = "\n".join(promtool("test", "rules", f"{folder}/tests/chart/rules_test.yaml"))
    yield from (f"{name} is missed by no scenario" for name in alerts() if f'exp: {{alertname="{name}"' not in noticed)


def test_every_alert_has_words_a_severity_and_a_runbook_page():
    pages = {path.stem for path in RUNBOOKS.glob("*.md")} - {"README"}
    yield from (f"{name}.md belongs to no alert" for name in pages - set(alerts()))
    index = (RUNBOOKS / "README.md").read_text() if RUNBOOKS.exists() else ""
    for name, rule in alerts().items():
        if rule["labels"].get("severity") not in ("warning", "critical"):
            yield f"{name} has no severity"
        notes = rule.get("annotations", {})
        if set(notes) != {"summary", "description", "runbook_url"}:
            yield f"{name} has the annotations {sorted(notes)}"
        page = ROOT / notes.get("runbook_url", "missing")
        if page.name != f"{name}.md" or not page.exists():
            yield f"{name} has no page {page}"
            continue
        text = page.read_text()
        for part in (f"# {name}", "## What it means", "## Look", "## Mend", "## Silence"):
            if part not in text:
                yield f"{page.name} has no part {part!r}"
        if len(re.findall(r"(?m)^(?:kubectl|sparkway|redis-cli|curl|promtool) ", text)) < 3:
            yield f"{page.name} has fewer than three commands to run"
        if f"({name}.md)" not in index:
            yield f"docs/runbooks/README.md does not name {name}"


def test_runbooks_name_only_metrics_alerts_and_values_that_exist():
    documented = {dotted(path) for path, _ in leaves()}
    for path in pages():
        text = path.read_text()
        for name in re.findall(r"\b(sparkway_[a-z_]+)\b", text):
            family = re.sub(r"_(bucket|count|sum)$", "", name)
            if family not in families():
                yield f"{path.name}: {name}"
        for name in re.findall(r"\b(Sparkway[A-Z]\w+)\b", text):
            if name not in alerts():
                yield f"{path.name}: {name}"
        for key in re.findall(r"--set ([\w.]+)=", text):
            if not any(key == known or key.startswith(known + ".") for known in documented):
                yield f"{path.name}: the chart has no value {key}"
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
            if not (path.parent / target).exists():
                yield f"{path.name}: dead link {target}"


def test_the_dashboard_is_as_generated_and_has_seven_rows_with_thirty_four_panels():
    status, output = run("python3", str(DEPLOY / "grafana" / "generate.py"), "--check")
    if status:
        yield output
    board = json.loads(queries.DASHBOARD.read_text())
    rows = [panel for panel in board["panels"] if panel["type"] == "row"]
    if (len(rows), len(list(queries.panels()))) != (7, 34):
        yield f"{len(rows)} rows, {len(list(queries.panels()))} panels"
    if [row["collapsed"] for row in rows] != [False] * 4 + [True] * 3:
        yield "the first four rows are not the open ones"
    ids = [panel["id"] for panel in [*rows, *queries.panels()]]
    yield from (f"the panel id {i} stands twice" for i, n in collections.Counter(ids).items() if n > 1)


def test_no_panel_lies_over_another_and_each_says_what_it_tells():
    placed = {}
    for panel in queries.panels():
        if not panel["description"] or not panel["targets"]:
            yield f"{panel['title']} says nothing"
        grid = panel["gridPos"]
        if grid["x"] + grid["w"] > 24:
            yield f"{panel['title']} is wider than the screen"
        for x in range(grid["x"], grid["x"] + grid["w"]):
            for y in range(grid["y"], grid["y"] + grid["h"]):
                if (x, y) in placed:
                    yield f"{panel['title']} lies over {placed[x, y]}"
                    break
                placed[x, y] = panel["title"]


def test_every_query_is_valid_and_asks_for_nothing_outside_of_the_contract():
    have, rules_of_queries = families(), []
    for number, (where, expression) in enumerate(queries.queries()):
        plain = expression.replace("$__rate_interval", "5m").replace("$quantile", "0.99")
        plain = re.sub(r"\$(job|namespace|pod)", ".*", plain)
        if "$" in plain:
            yield f"{where}: an unknown variable in {plain}"
        rules_of_queries.append({"record": f"q:{number}", "expr": plain})
        known = set()
        for family, matchers in queries.selectors(expression):
            if family not in have:
                yield f"{where}: {family} is not in the contract"
                continue
            known |= have[family]
            yield from (f"{where}: {family} has no label {label}" for label, _, _ in matchers if label not in have[family])
        if ":" not in re.sub(r"\[[^\]]*\]", "", expression):
            yield from (f"{where}: nothing has the label {label}" for label in queries.groupings(expression) - known)
    yield from check_groups([{"name": "queries", "rules": rules_of_queries}])


def test_every_family_of_the_contract_is_looked_at():
    used = {family for _, expression in queries.queries() for family, _ in queries.selectors(expression)}
    for path in pages():
        used |= set(re.findall(r"\bsparkway_[a-z_]+", path.read_text()))
    yield from (f"{family} is in families.yaml, in no query and in no page" for family in set(families()) - used)


def test_the_comparison_with_a_scrape_finds_what_is_missing():
    lines = []
    for family, labels in families().items():
        values = {label: ["x"] for label in labels - {"le"}}
        for _, expression in queries.queries():
            for name, matchers in queries.selectors(expression):
                if name == family:
                    for label, op, value in matchers:
                        if op in ("=", "=~"):
                            values[label] = values.get(label, []) + value.split("|")
        suffix = "_bucket" if "le" in labels else ""
        for at in range(max([len(v) for v in values.values()], default=1)):
            pairs = [f'{label}="{found[min(at, len(found) - 1)]}"' for label, found in values.items()]
            pairs += ['le="1"'] if "le" in labels else []
            lines.append(f"{family}{suffix}{{{','.join(pairs)}}} 1")
    yield from queries.missing(queries.scraped("\n".join(lines)))
    for planted in ("sparkway_gap_repairs_total", 'result="trimmed"', "sparkway_delivery_latency_seconds"):
        if not list(queries.missing(queries.scraped("\n".join(line for line in lines if planted not in line)))):
            yield f"a scrape without {planted} passes"


def test_the_chart_renders_the_same_rules_with_its_own_changes():
    groups = named(render({"metrics": {"prometheusRule": {"enabled": True}}}), "PrometheusRule")["spec"]["groups"]
    rendered = {rule.get("alert") or rule["record"]: rule for group in groups for rule in group["rules"]}
    for _, rule in queries.rules():
        name = rule.get("alert") or rule["record"]
        want = rule["expr"].replace(".*sparkway.*", ".*rel-sparkway.*").strip()
        if rendered[name]["expr"].strip() != want:
            yield f"{name}: {rendered[name]['expr']}"
    yield from check_groups(groups)
    changed = named(render(fixtures()["redis"]), "PrometheusRule")["spec"]["groups"]
    yield from check_groups(changed)
    rendered = {rule.get("alert") or rule["record"]: rule for group in changed for rule in group["rules"]}
    if "SparkwayHookErrors" in rendered or not rendered["SparkwayDeliverySlow"]["expr"].endswith("> 0.1") or "Mine" not in rendered:
        yield "disabled, thresholds or extraRules had no effect"
    if not rendered["SparkwayNodeDown"]["annotations"]["runbook_url"].startswith("https://wiki.example.com/runbooks/SparkwayNodeDown"):
        yield rendered["SparkwayNodeDown"]["annotations"]["runbook_url"]


def test_every_threshold_can_be_changed():
    for name, rule in alerts().items():
        if not re.search(r" > [0-9.]+$", rule["expr"].strip()):
            continue
        values = {"metrics": {"prometheusRule": {"enabled": True, "thresholds": {name: 7.5}}}}
        groups = named(render(values), "PrometheusRule")["spec"]["groups"]
        got = next(r["expr"] for g in groups for r in g["rules"] if r.get("alert") == name)
        if not got.endswith(" > 7.5"):
            yield f"{name}: {got}"
