"""The OpenAPI 3.1 document, made from the tables of the endpoints."""

from collections.abc import Iterable, Mapping, Sequence
from inspect import getdoc
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from receiver import __version__
from receiver.domain.verdicts import OUTCOMES
from receiver.sources import Source
from receiver.web.api.command_context import CommandEndpoint
from receiver.web.api.commands import COMMAND_ENDPOINTS
from receiver.web.api.csv_files import CSV_TYPE
from receiver.web.api.endpoints import PREFIX, READ_ENDPOINTS, ReadEndpoint
from receiver.web.api.parameters import PageQuery
from receiver.web.api.schemas.root import ErrorAnswer

_TEMPLATE = "#/components/schemas/{model}"
_BEARER = {"type": "http", "scheme": "bearer"}
_READ_ERRORS = (401, 404, 422, 503)
_COMMAND_ERRORS = (400, 401, 403, 404, 409, 413, 422, 503)
_WEBHOOK_ERRORS = (400, 401, 403, 404, 413, 422, 503)

_ERRORS = {
    400: "the body is not JSON, or the request is incomplete",
    401: "no bearer token, or a wrong one",
    403: "an IP address that is not allowed, or a token that may only look",
    404: "unknown path or name",
    405: "wrong method; `Allow` lists the right ones",
    409: "the same operation is running already, or the target is in use",
    413: "the body is too large",
    415: "a Content-Encoding other than gzip or deflate",
    422: "invalid parameters or body; the message says what is expected",
    429: "too many wrong tokens from this address; `Retry-After` says when to try again",
    431: "the request line and the headers are over 32 KiB",
    500: "an internal error; the log has the cause",
    503: "unavailable; `Retry-After` says when to try again",
}

_Refs = Mapping[type[BaseModel], Mapping[str, Any]]


def describe(sources: Sequence[Source], customers_path: str) -> dict[str, Any]:
    """Return the document of everything that is served."""
    models: list[type[BaseModel]] = [ErrorAnswer, *(endpoint.schema for endpoint in READ_ENDPOINTS)]
    for endpoint in COMMAND_ENDPOINTS:
        models += [endpoint.body, endpoint.schema]
    found, definitions = models_json_schema([(model, "serialization") for model in models], ref_template=_TEMPLATE)
    refs = {model: found[model, "serialization"] for model in models}
    paths: dict[str, Any] = {}
    for read in READ_ENDPOINTS:
        paths[PREFIX + read.path.replace(":sender_id}", "}")] = {"get": _describe_read(read, refs)}
    for endpoint in COMMAND_ENDPOINTS:
        paths.setdefault(PREFIX + endpoint.path, {})["post"] = _describe_command(endpoint, refs)
    paths[f"{PREFIX}/openapi.json"] = {
        "get": _operation("This document", "ops", {200: _json("it", {"type": "object"})}, (401, 404))
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "receiver", "version": __version__, "license": {"name": "MIT", "identifier": "MIT"}},
        "paths": paths | _describe_sources(sources, customers_path) | _describe_service(),
        "components": {
            "schemas": definitions["$defs"],
            "securitySchemes": {"ops": _BEARER} | {source.name: _BEARER for source in sources},
        },
    }


def _describe_read(endpoint: ReadEndpoint, refs: _Refs) -> dict[str, Any]:
    answer = _json(str(getdoc(endpoint.schema)), refs[endpoint.schema])
    if issubclass(endpoint.query, PageQuery):
        answer["content"] |= {CSV_TYPE: {"schema": {"type": "string"}}}
    parameters = [*_path_parameters(endpoint.path), *_query_parameters(endpoint.query)]
    return _operation(endpoint.summary, "ops", {200: answer}, _READ_ERRORS) | {"parameters": parameters}


def _describe_command(endpoint: CommandEndpoint, refs: _Refs) -> dict[str, Any]:
    required = any(field.is_required() for field in endpoint.body.model_fields.values())
    body = {"required": required, "content": {"application/json": {"schema": refs[endpoint.body]}}}
    operation = _operation(endpoint.summary, "ops", {200: _json("done", refs[endpoint.schema])}, _COMMAND_ERRORS)
    return operation | {"requestBody": body, "parameters": _path_parameters(endpoint.path)}


def _operation(summary: str, scheme: str | None, answers: Mapping[int, Any], errors: Iterable[int]) -> dict[str, Any]:
    error = {"$ref": _TEMPLATE.format(model="ErrorAnswer")}
    limits = (429,) if scheme == "ops" else ()
    responses = {**answers, **{status: _json(_ERRORS[status], error) for status in (*errors, *limits)}}
    security: dict[str, Any] = {"security": [{scheme: []}]} if scheme else {}
    return {"summary": summary, **security, "responses": {str(status): response for status, response in responses.items()}}


def _json(description: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _path_parameters(path: str) -> list[dict[str, Any]]:
    names = [part.removesuffix(":sender_id") for piece in path.split("{")[1:] for part in [piece.partition("}")[0]]]
    return [{"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}} for name in names]


def _query_parameters(query: type[BaseModel]) -> list[dict[str, Any]]:
    found = []
    for name, schema in query.model_json_schema().get("properties", {}).items():
        parameter: dict[str, Any] = {"name": name, "in": "query", "schema": _without_null(schema)}
        if "description" in schema:
            parameter["description"] = schema["description"]
        found.append(parameter)
    return found


def _without_null(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema without null: a parameter is left out, it cannot be sent as null."""
    choices = [choice for choice in schema.get("anyOf", [schema]) if choice.get("type") != "null"]
    own = {key: value for key, value in schema.items() if key in {"default", "type"} and value is not None}
    return {key: value for key, value in (own | choices[0]).items() if key not in {"title", "description"}}


def _describe_sources(sources: Sequence[Source], customers_path: str) -> dict[str, Any]:
    count = {"type": "integer", "minimum": 0}
    message = {
        "type": "object",
        "properties": {
            "message_id": {"type": ["string", "null"]},
            "outcome": {"enum": list(OUTCOMES)},
            "reason": {"type": "string"},
            "detail": {"type": "string"},
        },
        "required": ["message_id", "outcome"],
    }
    receipt = {
        "type": "object",
        "properties": {
            "delivery_id": {"type": "string"},
            "received": count,
            **dict.fromkeys(OUTCOMES, count),
            "messages": {"type": "array", "items": message, "maxItems": 100},
        },
        "required": ["delivery_id", "received", *OUTCOMES, "messages"],
    }
    head = {"summary": "Check that the path exists", "responses": {"200": {"description": "always, without a body"}}}
    body = {"required": True, "content": {"application/json": {"schema": {}}}}
    paths: dict[str, Any] = {}
    for source in sources:
        summary = f"Webhook of {source.name}: {source.kind}"
        posted = _operation(summary, source.name, {200: _json("stored: a verdict for each message", receipt)}, _WEBHOOK_ERRORS)
        paths[source.path] = {"head": head, "post": posted | {"requestBody": body}}
    rows = _json("the customers", {"type": "array", "items": {"type": "object"}})
    paths[customers_path] = {"get": _operation("The customer list", "shiipp", {200: rows}, (401, 403, 404, 503))}
    return paths


def _describe_service() -> dict[str, Any]:
    alive = {"type": "object", "properties": {"status": {"const": "ok"}}, "required": ["status"]}
    check = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}
    ready = {
        "type": "object",
        "properties": {
            "status": {"enum": ["ready", "unavailable"]},
            "checks": {"type": "object", "additionalProperties": check},
            "warnings": {"type": "array", "items": {"type": "string"}},
        },
        "required": ["status", "checks"],
    }
    text = {"description": "Prometheus text", "content": {"text/plain": {"schema": {"type": "string"}}}}
    readiness = {200: _json("a delivery would be stored", ready), 503: _json("a delivery would not be stored", ready)}
    return {
        "/healthz": {"get": _operation("Liveness", None, {200: _json("yes", alive)}, ())},
        "/readyz": {"get": _operation("Readiness", None, readiness, ())},
        "/metrics": {"get": _operation("Metrics", "ops", {200: text}, (401, 404))},
    }
