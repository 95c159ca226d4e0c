"""What a page posts: a few short fields."""

from urllib.parse import parse_qsl

from starlette.requests import Request

Form = dict[str, str]


async def read_form(request: Request) -> Form:
    """Return the fields of a form; the last of equal names counts. `web/limits.py` bounds the size."""
    body = await request.body()
    try:
        return dict(parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=50))
    except ValueError:
        return {}
