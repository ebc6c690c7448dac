"""What a host over the library websockets answers to an HTTP request, whichever of its APIs the host has."""

from collections.abc import Callable
from http import HTTPStatus

from websockets.http11 import Request, Response

from gateway import FULL
from variants.shared.metrics import CONTENT_TYPE


def answer(
    request: Request,
    respond: Callable[[HTTPStatus, str], Response],
    admits: Callable[[], bool],
    page: Callable[[], bytes],
) -> Response | None:
    """None where the request goes on as a WebSocket.

    Args:
        respond: makes an answer of plain text.
        admits: whether one more is let in.
        page: of `/metrics`.
    """
    match request.path.partition("?")[0]:
        case "/ws/stt":
            return None if admits() else respond(HTTPStatus.SERVICE_UNAVAILABLE, FULL.reason)
        case "/health":
            return _typed(respond(HTTPStatus.OK, '{"ok":true}'), "application/json")
        case "/metrics":
            return _typed(respond(HTTPStatus.OK, page().decode()), CONTENT_TYPE)
    return respond(HTTPStatus.NOT_FOUND, "expected /ws/stt or /health\n")


def _typed(response: Response, content_type: str) -> Response:
    del response.headers["Content-Type"]
    response.headers["Content-Type"] = content_type
    return response
