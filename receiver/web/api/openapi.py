"""The OpenAPI 3.1 document, made from the same tables that answer."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from receiver import __version__
from receiver.sources import Source
from receiver.web.api.endpoints import PREFIX
from receiver.web.api.parameters import (
    CustomersBody,
    DropOrdered,
    Parameters,
    ReplayBody,
    ResumeBody,
    RetryBody,
    SetupWindowBody,
)
from receiver.web.api.questions import ReadEndpoint
from receiver.web.api.replay import REPLAY_PATH
from receiver.web.api.retention import ForgetBody, PruneBody
from receiver.web.api.shapes import (
    CustomersAnswer,
    DropAnswer,
    ErrorAnswer,
    ForgetAnswer,
    PruneAnswer,
    ReplayAnswer,
    ResumeAnswer,
    RetryAnswer,
    Schema,
    WindowAnswer,
)

_TEMPLATE = "#/components/schemas/{model}"
_BEARER = {"type": "http", "scheme": "bearer"}
_VERDICTS = ("applied", "stale", "duplicate", "recorded", "quarantined")

_ERRORS = {
    400: "the body is not JSON, or the request is not complete",
    401: "no bearer token, or none that is set",
    403: "an address that is not allowed",
    404: "nothing here, or nothing known by this name",
    405: "another method; `Allow` names those there are",
    409: "somebody else is doing it just now, or the target is in use",
    413: "the body is too large",
    415: "a Content-Encoding other than gzip or deflate",
    422: "not what is expected here; the message says what is",
    429: "another wrong token, after too many from this address; `Retry-After` says when the next one may come",
    431: "the request line and the headers are over 32 KiB in all",
    500: "this service failed; its log says why",
    503: "not now; `Retry-After` says when",
}


def describe(questions: Sequence[ReadEndpoint], sources: Sequence[Source], customers_path: str) -> dict[str, Any]:
    """Return the document of everything that is served."""
    orders: tuple[tuple[str, type[Parameters], type[Schema], str], ...] = (
        ("/setup-windows", SetupWindowBody, WindowAnswer, "Open a source's setup window, or close it"),
        ("/customers", CustomersBody, CustomersAnswer, "Serve this customer list from now on"),
        (REPLAY_PATH, ReplayBody, ReplayAnswer, "Decide a kept call again"),
        ("/forget", ForgetBody, ForgetAnswer, "Forget the personal data of one tracker"),
        ("/prune", PruneBody, PruneAnswer, "Remove what is older than it is to be kept"),
        ("/targets/drop", DropOrdered, DropAnswer, "Remove the changes of a target that the settings no longer name"),
        ("/targets/resume", ResumeBody, ResumeAnswer, "Serve a target again that wanted no more"),
        ("/targets/retry", RetryBody, RetryAnswer, "Let what was given up for a target wait again"),
    )
    models = [*(q.shape for q in questions), ErrorAnswer, *(m for _, asked, shape, _ in orders for m in (asked, shape))]
    refs, definitions = models_json_schema([(model, "serialization") for model in models], ref_template=_TEMPLATE)
    named = {model: refs[model, "serialization"] for model in models}
    paths: dict[str, Any] = {}
    for question in questions:
        paths[_plain(PREFIX + question.path)] = {"get": _question(question, named[question.shape])}
    for path, asked, shape, summary in orders:
        paths[PREFIX + path] = paths.get(PREFIX + path, {}) | {"post": _order(summary, path, asked, named, shape)}
    paths[f"{PREFIX}/openapi.json"] = {
        "get": _operation("This document", "ops", {200: _json("it", {"type": "object"})}, (401, 404))
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "receiver", "version": __version__, "license": {"name": "MIT", "identifier": "MIT"}},
        "paths": paths | _senders_paths(sources, customers_path) | _watchers_paths(),
        "components": {
            "schemas": definitions["$defs"],
            "securitySchemes": {"ops": _BEARER} | {source.name: _BEARER for source in sources},
        },
    }


def _question(question: ReadEndpoint, ref: Mapping[str, Any]) -> dict[str, Any]:
    errors = (401, 404, 422, 503)
    operation = _operation(question.summary, "ops", {200: _json(str(question.shape.__doc__), ref)}, errors)
    parameters = [*_path_parameters(question.path), *_query_parameters(question.asked)]
    return operation | {"parameters": parameters}


def _order(summary: str, path: str, asked: type[Parameters], named: Mapping[Any, Any], shape: type[Schema]) -> dict[str, Any]:
    required = any(field.is_required() for field in asked.model_fields.values())
    body = {"required": required, "content": {"application/json": {"schema": named[asked]}}}
    operation = _operation(summary, "ops", {200: _json("done", named[shape])}, (400, 401, 404, 409, 413, 422, 503))
    return operation | {"requestBody": body, "parameters": _path_parameters(path)}


def _operation(summary: str, scheme: str | None, answers: Mapping[int, Any], errors: Iterable[int]) -> dict[str, Any]:
    error = {"$ref": _TEMPLATE.format(model="ErrorAnswer")}
    limits = (429,) if scheme == "ops" else ()
    responses = {**answers, **{status: _json(_ERRORS[status], error) for status in (*errors, *limits)}}
    security: dict[str, Any] = {"security": [{scheme: []}]} if scheme else {}
    return {"summary": summary, **security, "responses": {str(status): said for status, said in responses.items()}}


def _json(description: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _plain(path: str) -> str:
    return path.replace(":path}", "}")


def _path_parameters(path: str) -> list[dict[str, Any]]:
    names = [part.removesuffix(":path") for piece in path.split("{")[1:] for part in [piece.partition("}")[0]]]
    return [{"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}} for name in names]


def _query_parameters(asked: type[BaseModel]) -> list[dict[str, Any]]:
    found = []
    for name, schema in asked.model_json_schema().get("properties", {}).items():
        parameter: dict[str, Any] = {"name": name, "in": "query", "schema": _without_null(schema)}
        if "description" in schema:
            parameter["description"] = schema["description"]
        found.append(parameter)
    return found


def _without_null(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A parameter that is left out is None to us; it cannot be sent as null."""
    choices = [choice for choice in schema.get("anyOf", [schema]) if choice.get("type") != "null"]
    kept = {key: value for key, value in schema.items() if key in {"default", "type"} and value is not None}
    return {key: value for key, value in (kept | choices[0]).items() if key not in {"title", "description"}}


def _senders_paths(sources: Sequence[Source], customers_path: str) -> dict[str, Any]:
    count = {"type": "integer", "minimum": 0}
    message = {
        "type": "object",
        "properties": {
            "message_id": {"type": ["string", "null"]},
            "outcome": {"enum": list(_VERDICTS)},
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
            **dict.fromkeys(_VERDICTS, count),
            "messages": {"type": "array", "items": message, "maxItems": 100},
        },
        "required": ["delivery_id", "received", *_VERDICTS, "messages"],
    }
    errors = (400, 401, 403, 404, 413, 422, 503)
    head = {"summary": "Says that the path is there", "responses": {"200": {"description": "always, to anybody, empty"}}}
    body = {"required": True, "content": {"application/json": {"schema": {}}}}
    paths: dict[str, Any] = {}
    for source in sources:
        summary = f"What {source.name} calls: {source.kind}"
        kept = _operation(summary, source.name, {200: _json("kept: a verdict for each message", receipt)}, errors)
        paths[source.path] = {"head": head, "post": kept | {"requestBody": body}}
    rows = _json("the customers", {"type": "array", "items": {"type": "object"}})
    paths[customers_path] = {"get": _operation("The customer list", "shiipp", {200: rows}, (401, 403, 404, 503))}
    return paths


def _watchers_paths() -> dict[str, Any]:
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
    readiness = {200: _json("a call would be kept", ready), 503: _json("it would not", ready)}
    return {
        "/healthz": {"get": _operation("Does the process serve?", None, {200: _json("yes", alive)}, ())},
        "/readyz": {"get": _operation("Would a call be kept?", None, readiness, ())},
        "/metrics": {"get": _operation("Metrics", "ops", {200: text}, (401, 404))},
    }
