"""The fields of a posted form, with or without files."""

import asyncio
from collections.abc import Mapping
from datetime import datetime, tzinfo
from email import policy
from email.parser import BytesParser
from urllib.parse import parse_qsl

from starlette.requests import Request

from receiver.domain.time_inputs import read_time_input
from receiver.domain.trimming import trim
from receiver.errors import UnexpectedShape

Form = dict[str, str]


async def read_form(request: Request) -> Form:
    """Return the fields of a posted form; the last of equal names counts. `web/limits.py` bounds its size.

    A browser sends each line break as CR and LF (HTML, "Constructing the entry list"); they become the LF that it stands for.
    A field with a file is its bytes as Latin-1 text; the name of the file is in the field `NAME.name`.
    """
    body = await request.body()
    content_type = request.headers.get("content-type", "")
    if content_type.lower().startswith("multipart/form-data"):
        return await asyncio.to_thread(_read_parts, content_type, body)  # slow for a large file
    try:
        fields = parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=50)
    except ValueError:
        return {}
    return {_join_breaks(name): _join_breaks(value) for name, value in fields}


def read_file(form: Mapping[str, str]) -> bytes:
    """Return the bytes of the file in the field `file`, or nothing."""
    return form.get("file", "").encode("latin-1", errors="replace")


def read_time(form: Mapping[str, str], name: str, label: str, now: datetime, zone: tzinfo) -> int | None:
    """Return a typed time in microseconds, or None if the field is empty. Raises UnexpectedShape that names the `label`."""
    written = trim(form.get(name, ""))
    if not written:
        return None
    try:
        return read_time_input(written, now, zone)
    except ValueError as error:
        raise UnexpectedShape(f"{label}: {error}.") from None


def _read_parts(content_type: str, body: bytes) -> Form:
    """Return the parts of a body. Source: RFC 7578."""
    head = f"Content-Type: {content_type}\r\n\r\n".encode("latin-1")
    message = BytesParser(policy=policy.HTTP).parsebytes(head + body)
    form: Form = {}
    for part in message.iter_parts() if message.is_multipart() else ():
        name = part.get_param("name", header="content-disposition")
        content = part.get_payload(decode=True)
        if not isinstance(name, str) or not isinstance(content, bytes):
            continue
        file_name = part.get_filename()
        form[name] = _join_breaks(content.decode("utf-8", errors="replace")) if file_name is None else content.decode("latin-1")
        if file_name is not None:
            form[f"{name}.name"] = file_name
    return form


def _join_breaks(text: str) -> str:
    return text.replace("\r\n", "\n")
