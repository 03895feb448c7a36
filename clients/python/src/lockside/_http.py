"""HTTP/1.1 as bytes: a request, the head of an answer, and its body as it comes."""

from typing import Dict, Tuple


def request(method: str, path: str, host: str, headers: Dict[str, str], content: bytes = b"") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", f"Content-Length: {len(content)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode("ascii") + b"\r\n\r\n" + content


def parse_head(text: bytes) -> Tuple[int, Dict[str, str]]:
    """The status and the headers, whose names are in lower case."""
    first, *lines = text.decode("latin-1").split("\r\n")
    version, _, rest = first.partition(" ")
    status = rest[:3]
    if not version.startswith("HTTP/1.") or not status.isdigit():
        raise ConnectionError("the answer is not HTTP; does the URL name lockside's API?")
    headers = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    return int(status), headers


class Body:
    """Takes a body's bytes as they come off the socket, and gives its content."""

    def __init__(self, headers: Dict[str, str]) -> None:
        self._is_chunked = headers.get("transfer-encoding", "").lower() == "chunked"
        length = headers.get("content-length", "")
        # Of a chunk, or of the whole body; -1 where the connection's end is the body's.
        self._left = int(length) if length.isdigit() else -1
        self._raw = bytearray()
        self._is_in_chunk = False
        self.is_complete = not self._is_chunked and self._left == 0

    def feed(self, raw: bytes) -> bytes:
        if self._is_chunked:
            self._raw += raw
            return self._chunks()
        if self._left >= 0:
            raw = raw[: self._left]
            self._left -= len(raw)
            self.is_complete = self._left == 0
        return raw

    def _chunks(self) -> bytes:
        content = bytearray()
        while not self.is_complete:
            if self._is_in_chunk:
                # Its content, and the CRLF behind it.
                part = self._raw[: self._left]
                content += part
                del self._raw[: len(part)]
                self._left -= len(part)
                if self._left > 0 or len(self._raw) < 2:
                    break
                del self._raw[:2]
                self._is_in_chunk = False
                continue
            end = self._raw.find(b"\r\n")
            if end < 0:
                break
            size = bytes(self._raw[:end]).partition(b";")[0].strip()
            del self._raw[: end + 2]
            self._left, self._is_in_chunk = int(size, 16), True
            if self._left == 0:
                self.is_complete = True
        return bytes(content)
