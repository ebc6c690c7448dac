"""What picows leaves open of RFC 6455: reserved bits, messages in fragments, codes of a close. Frames in, messages out;
no I/O."""

from picows import WSCloseCode, WSFrame, WSMsgType

from variants.shared.options import MOST_BYTES

MOST_ODD_FRAMES = 4000
"""More frames that are no plain audio than this, between two looks a second apart, are a flood, and end the connection:
each is a call into Python, during which everybody else waits."""

NORMAL = 1000
PROTOCOL_ERROR = 1002
INVALID_TEXT = 1007
POLICY_VIOLATION = 1008
TOO_BIG = 1009


class BrokenFraming(Exception):
    """The client broke the WebSocket protocol: close with `code`."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


def answer_to_close(frame: WSFrame) -> int:
    """The code that answers a client's close frame: its own, 1000 if it has none. picows has refused all codes that may
    not be sent (RFC 6455, 7.4), except two that it uses itself: 0 and 1006."""
    if not frame.get_payload_as_bytes():
        return NORMAL
    code: int = frame.get_close_code()
    return PROTOCOL_ERROR if code in (WSCloseCode.NO_INFO, WSCloseCode.ABNORMAL_CLOSURE) else code


class Assembly:
    """The message of one connection that has begun and not ended."""

    __slots__ = ("_is_text", "_parts")

    def __init__(self) -> None:
        self._is_text = False
        self._parts: bytearray | None = None

    @property
    def is_open(self) -> bool:
        """Whether a fragment came whose message has not ended."""
        return self._parts is not None

    def take(self, frame: WSFrame) -> str | bytes | None:
        """Take a data frame; the whole message if it ended one. BrokenFraming where it may not come now."""
        payload: bytes = frame.get_payload_as_bytes()
        if frame.msg_type is WSMsgType.CONTINUATION:
            if self._parts is None:
                raise BrokenFraming(PROTOCOL_ERROR, "a continuation of nothing")
            self._parts += payload
            if len(self._parts) > MOST_BYTES:
                raise BrokenFraming(TOO_BIG, f"a message of more than {MOST_BYTES} bytes")
            if not frame.fin:
                return None
            payload, self._parts = bytes(self._parts), None
        else:
            if self._parts is not None:
                raise BrokenFraming(PROTOCOL_ERROR, "a message inside the fragments of another")
            self._is_text = frame.msg_type is WSMsgType.TEXT
            if not frame.fin:
                self._parts = bytearray(payload)
                return None
        if not self._is_text:
            return payload
        try:
            return payload.decode()
        except UnicodeDecodeError as error:
            raise BrokenFraming(INVALID_TEXT, f"a text that is no UTF-8: {error.reason}") from None
