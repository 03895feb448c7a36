"""Server-sent events as bytes."""

from typing import List, Optional, Tuple

_LONGEST_EVENT = 1024 * 1024


class Events:
    """Takes the bytes of a stream as they come, and gives its events: the name and the data of each."""

    def __init__(self) -> None:
        self._text = bytearray()
        self._name = ""
        self._data: List[str] = []
        self._size = 0
        #: How long the server asks to wait before a new connection, in seconds.
        self.retry: Optional[float] = None

    def feed(self, content: bytes) -> List[Tuple[str, str]]:
        self._text += content
        *lines, rest = self._text.split(b"\n")
        self._text = bytearray(rest)
        events = []
        for line in lines:
            event = self._take(line.rstrip(b"\r").decode("utf-8", "replace"))
            if event is not None:
                events.append(event)
        if len(self._text) + self._size > _LONGEST_EVENT:
            raise ValueError("an event is too long")
        return events

    def _take(self, line: str) -> Optional[Tuple[str, str]]:
        if not line:
            event = (self._name or "message", "\n".join(self._data))
            is_one = bool(self._data)
            self._name, self._data, self._size = "", [], 0
            return event if is_one else None
        field, _, value = line.partition(":")
        value = value[1:] if value.startswith(" ") else value
        if field == "event":
            self._name = value
        elif field == "data":
            self._data.append(value)
            self._size += len(value)
        elif field == "retry" and value.isascii() and value.isdigit():
            self.retry = int(value) / 1000
        return None
