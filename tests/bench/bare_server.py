"""The same server and app as ours, with one more path that reads the body and answers a fixed 200 without storing anything."""

import sys

from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from receiver import service
from receiver.domain.records import Answer
from receiver.logs import setup
from receiver.settings import load
from receiver.web.responses import send_answer

PATH = "/fixed"
_ANSWER = Answer(200, b'{"received":1}')


class Fixed:
    """An endpoint as bare as ASGI allows."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive()).get("more_body"):
            pass
        await send_answer(send, _ANSWER)


def main() -> int:
    settings = load()
    setup.configure(settings.log_format, settings.secrets())
    return service.run(settings, [Route(PATH, Fixed())])


if __name__ == "__main__":
    sys.exit(main())
