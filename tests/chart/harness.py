"""Renders the chart with Helm's own engine and knows the schema of every object it makes."""
import base64
import copy
import functools
import json
import os
import pathlib
import re

import helm_python
import importlib_resources
import jsonschema
import referencing
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
CHART = ROOT / "helm" / "sparkway"
DEPLOY = ROOT / "deploy"
HERE = pathlib.Path(__file__).resolve().parent
# The oldest the chart allows, one in between, the newest there are schemas for.
KUBERNETES = ["1.27.0", "1.32.0", "1.37.0"]
NEWEST = KUBERNETES[-1]
# Problems printed per test.
SHOWN = 12
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
# Values the chart makes at random, as they stand in the fixtures' Secrets.
RANDOM = re.compile(r"^(swk_chart_[A-Za-z0-9]{40}|[A-Za-z0-9]{48}|[A-Za-z0-9]{32})$")


class Refused(Exception):
    """The chart did not render; the message is Helm's."""


@functools.cache
def chart():
    """The loaded chart."""
    return helm_python.Chart.load(str(CHART))


def render_text(values, release="rel", namespace="ns", of=None):
    """Template path -> text."""
    try:
        return (of or chart()).render(values, name=release, namespace=namespace)
    except helm_python.HelmError as error:
        raise Refused(str(error)) from error


def objects_of(texts):
    """All objects in rendered templates, in a stable order, random values replaced."""
    found = []
    for path, text in sorted(texts.items()):
        if path.endswith("NOTES.txt") or not text.strip():
            continue
        for document in yaml.load_all(text, Loader=LOADER):
            if document:
                found.append(without_random(document))
    return found


def without_random(document):
    """The object with the chart's random secrets replaced by a word."""
    if document.get("kind") == "Secret":
        for key, value in (document.get("data") or {}).items():
            if RANDOM.match(base64.b64decode(value).decode()):
                document["data"][key] = "(random)"
    return document


def render(values, **how):
    """The objects that these values make."""
    return objects_of(render_text(values, **how))


def state_of(values):
    """All that a change of values could change, as one text with random values hidden."""
    def hide(match):
        return match[1] if RANDOM.match(base64.b64decode(match[2]).decode()) else match[0]
    texts = render_text(values)
    return re.sub(r"(?m)^(  (?:api-keys|token-key|password): )([A-Za-z0-9+/]{32,}=*)$", hide,
                  "\n".join(texts[path] for path in sorted(texts)))


@functools.cache
def fixtures():
    """Name -> values."""
    return {path.name.removesuffix("-values.yaml"): yaml.load(path.read_text(), Loader=LOADER) or {}
            for path in sorted((CHART / "ci").glob("*-values.yaml"))}


@functools.cache
def defaults():
    """values.yaml."""
    return yaml.load((CHART / "values.yaml").read_text(), Loader=LOADER)


@functools.cache
def values_schema():
    """values.schema.json."""
    return json.loads((CHART / "values.schema.json").read_text())


@functools.cache
def blocks():
    """Paths of the mappings in values.yaml that have documented keys of their own (free-form maps are written inline)."""
    found = set()

    def walk(node, path):
        for key_node, value_node in node.value:
            if isinstance(value_node, yaml.MappingNode) and not value_node.flow_style:
                found.add(path + (key_node.value,))
                walk(value_node, path + (key_node.value,))

    walk(yaml.compose((CHART / "values.yaml").read_text()), ())
    return found


def leaves(schema=None, path=()):
    """(path, schema) of every documented key."""
    for key, inner in (schema or values_schema())["properties"].items():
        if path + (key,) in blocks():
            yield from leaves(inner, path + (key,))
        else:
            yield path + (key,), inner


def at(values, path, otherwise=None):
    """The value at a path, else the chart's default, else `otherwise`."""
    for table in (values, defaults()):
        for step in path:
            if not isinstance(table, dict) or step not in table:
                break
            table = table[step]
        else:
            return table
    return otherwise


def put(values, path, value):
    """A copy of the values with one key set."""
    out = copy.deepcopy(values)
    table = out
    for step in path[:-1]:
        table = table.setdefault(step, {})
    table[path[-1]] = value
    return out


def dotted(path):
    """a.b.c"""
    return ".".join(path)


def named(objects, kind, name=None):
    """The one object of a kind (and name)."""
    found = [o for o in objects if o["kind"] == kind and name in (None, o["metadata"]["name"])]
    assert len(found) == 1, f"{len(found)} objects {kind} {name or ''}"
    return found[0]


def pod_specs(objects):
    """(what, pod spec, pod labels) of everything that runs."""
    for o in objects:
        if o["kind"] == "Pod":
            yield f"Pod {o['metadata']['name']}", o["spec"], o["metadata"]["labels"]
        elif o["kind"] in ("Deployment", "StatefulSet"):
            template = o["spec"]["template"]
            yield f"{o['kind']} {o['metadata']['name']}", template["spec"], template["metadata"]["labels"]


# --- schemas -----------------------------------------------------------------------------------

BACKEND_CONFIG = {  # defined by its controller's code; these are the fields the chart uses
    "type": "object", "additionalProperties": False, "required": ["apiVersion", "kind", "metadata", "spec"],
    "properties": {"apiVersion": {}, "kind": {}, "metadata": {"type": "object"}, "spec": {
        "type": "object", "additionalProperties": False, "properties": {
            "timeoutSec": {"type": "integer"},
            "connectionDraining": {"type": "object", "additionalProperties": False,
                                   "properties": {"drainingTimeoutSec": {"type": "integer", "maximum": 3600}}},
            "healthCheck": {"type": "object", "additionalProperties": False, "properties": {
                "type": {"enum": ["HTTP", "HTTPS", "HTTP2"]}, "requestPath": {"type": "string"}, "port": {"type": "integer"}}},
        }}}}


def strict(schema):
    """A structural schema of a custom resource as plain JSON schema that refuses unknown keys."""
    if isinstance(schema, list):
        return [strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    out = {k: strict(v) for k, v in schema.items() if not k.startswith("x-") and k not in ("format", "description", "properties")}
    if "properties" in schema:
        out["properties"] = {k: strict(v) for k, v in schema["properties"].items()}
        if "additionalProperties" not in schema and not schema.get("x-kubernetes-preserve-unknown-fields"):
            out["additionalProperties"] = False
    return out


@functools.cache
def custom_schemas():
    """(apiVersion, kind) -> validator, from the definitions that run.sh fetched."""
    out = {("cloud.google.com/v1", "BackendConfig"): jsonschema.Draft202012Validator(BACKEND_CONFIG)}
    for path in pathlib.Path(os.environ["DEFINITIONS"]).glob("*.yaml"):
        for definition in yaml.load_all(path.read_text(), Loader=LOADER):
            if not definition or definition.get("kind") != "CustomResourceDefinition":
                continue
            spec = definition["spec"]
            for version in spec["versions"]:
                schema = strict(version["schema"]["openAPIV3Schema"])
                schema["properties"]["metadata"] = {"type": "object"}
                key = (f"{spec['group']}/{version['name']}", spec["names"]["kind"])
                out[key] = jsonschema.Draft202012Validator(schema)
    return out


@functools.cache
def definitions_of(version):
    """The strict schemas of one Kubernetes version: (folder, registry with the shared definitions)."""
    folder = importlib_resources.files("kubernetes_validate") / "kubernetes-json-schema" / f"v{version}-local-strict"
    shared = json.loads((folder / "_definitions.json").read_text())
    return folder, referencing.Resource.from_contents(shared) @ referencing.Registry()


@functools.cache
def validator(version, api_version, kind):
    """The validator of one kind in one Kubernetes version."""
    if (api_version, kind) in custom_schemas():
        return custom_schemas()[(api_version, kind)]
    folder, registry = definitions_of(version)
    group = re.sub(r"^([^./]*)(?:\.[^/]*)?/", r"\1-", api_version)
    schema = json.loads((folder / f"{kind.lower()}-{group}.json").read_text())
    registry = referencing.Resource.from_contents(schema) @ registry
    return jsonschema.Draft202012Validator(schema, registry=registry)


def schema_problems(document, version):
    """What the API server of that version would refuse in an object's shape."""
    try:
        check = validator(version, document["apiVersion"], document["kind"])
    except FileNotFoundError:
        return [f"{document['kind']} {document['apiVersion']} is unknown to Kubernetes {version}"]
    return [f"{document['kind']} {document['metadata']['name']} on {version}: {'.'.join(map(str, e.absolute_path))}: {e.message[:200]}"
            for e in check.iter_errors(document)]
