"""The JSON Schema of the configuration, for editors and for checks outside triggerhub. Publishes shapes only.

It follows the models that the loader uses; what JSON Schema cannot say (names that exist, expressions that
compile) is left to the loader.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pydantic import BaseModel

from router.checks import is_secret
from router.grants import MAX_USES, OutputSpecs
from schemas.config import Config
from schemas.policy.shapes import OutputPolicy
from schemas.values import SECRET_REFERENCE

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_REFERENCE: Final = {"type": "string", "pattern": f"^(?:{SECRET_REFERENCE.pattern})$"}


def json_schema(
    *, connection_models: Mapping[str, type[BaseModel]], output_specs: OutputSpecs
) -> dict[str, Any]:
    """The schema of one file. Connections are told apart by `source`, outputs by their name."""
    schema = Config.model_json_schema(by_alias=True)
    definitions: dict[str, Any] = schema["$defs"]
    connections = []
    for source, model in sorted(connection_models.items()):
        name = f"connection_{source}"
        definitions[name] = _connection(_embedded(model, name, definitions), source)
        connections.append({"$ref": f"#/$defs/{name}"})
    schema["properties"]["connections"] = {
        "type": "object",
        "additionalProperties": {"oneOf": connections} if connections else False,
    }
    definitions["Output"] = _output(output_specs, definitions)
    del schema["title"], schema["description"]
    return {"$schema": DIALECT, "title": "triggerhub configuration", **schema}


def _embedded(model: type[BaseModel], name: str, definitions: dict[str, Any]) -> dict[str, Any]:
    """A model's own schema, its definitions moved beside ours under names that cannot clash."""
    schema = model.model_json_schema(by_alias=True, ref_template=f"#/$defs/{name}.{{model}}")
    for inner, definition in schema.pop("$defs", {}).items():
        definitions[f"{name}.{inner}"] = _secretive(definition)
    return schema


def _connection(schema: dict[str, Any], source: str) -> dict[str, Any]:
    schema = _secretive(schema)
    schema["properties"]["source"] = {"const": source}
    schema["required"] = sorted({*schema.get("required", ()), "source"})
    return schema


def _secretive(schema: dict[str, Any]) -> dict[str, Any]:
    """The same, with every secret a reference."""
    for name, field in schema.get("properties", {}).items():
        if not is_secret(name):
            continue
        for part in (field, *field.get("anyOf", ())):
            if part.get("type") == "string":
                part.update(_REFERENCE)
            elif part.get("type") == "array":
                part["items"] = _REFERENCE
    return schema


def _output(specs: OutputSpecs, definitions: dict[str, Any]) -> dict[str, Any]:
    """`- comment`, or `- comment: {…}`: one mapping with the output's name as its only key."""
    by_name: dict[str, list[dict[str, Any]]] = {}
    for source, offered in sorted(specs.items()):
        for output, spec in sorted(offered.items()):
            target = _embedded(spec.target, f"output_{source}_{output}", definitions)
            target.pop("description", None)
            own = target.setdefault("properties", {})
            own["to"] = {"const": "origin"}
            own["connection"] = {"type": "string"}
            own.setdefault("max", {"type": "integer", "minimum": 1, "maximum": MAX_USES})
            own.setdefault("name", {"type": "string", "pattern": "^[A-Za-z][A-Za-z0-9_-]{0,63}$"})
            policy = _embedded(OutputPolicy, f"policy_{source}_{output}", definitions)["properties"]
            for name, shape in policy.items():
                own.setdefault(name, shape)
            by_name.setdefault(output, []).append(target)
    options = [
        {
            "type": "object",
            "properties": {output: {"anyOf": [*targets, {"type": "null"}]}},
            "required": [output],
            "additionalProperties": False,
            "description": next(
                spec.description
                for offered in specs.values()
                for name, spec in offered.items()
                if name == output
            ),
        }
        for output, targets in sorted(by_name.items())
    ]
    return {"anyOf": [{"enum": sorted(by_name)}, *options]}
