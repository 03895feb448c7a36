"""One HTTP/1.1 request on a connection of its own, and its answer. Not http.client: a hold must know since when nothing
lay unread in its socket, and no default timeout or proxy of the process may come in between."""

import json
import select
import socket
import ssl
from typing import Any, Dict, List, Optional, Tuple

from . import _fork
from ._address import Address
from ._clock import now
from ._http import Body, parse_head, request

_AT_ONCE = 65536
_LONGEST_HEAD = 65536
_LONGEST_LINE = 1024 * 1024


class Broken(OSError):
    """The connection ended, or what came is not HTTP, or nothing came in time."""


class Connection:
    """A socket, and the answer that comes from it."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._socket: Optional[socket.socket] = None
        self._is_shut = False
        # Over TLS: what was decrypted to see whether there is anything to read.
        self._ahead: Optional[bytes] = None
        # Over TLS: a record has come in part, or one that is no part of the answer.
        self._is_partial = False
        self._body: Optional[Body] = None
        self._text = bytearray()
        self._unread: List[Tuple[Dict[str, Any], float]] = []
        # What is read now came after this moment: nothing lay unread in the socket then.
        self._quiet_at = now()
        # The same for the first byte of the line that has come in part.
        self._line_since = self._quiet_at
        _fork.enter(self)

    def open(self, timeout: float) -> None:
        """Connects. Fails with an OSError: nothing was sent."""
        address, error = self._address, None
        for family, target in _targets(address):
            with _fork.guard:
                self._socket = socket.socket(family, socket.SOCK_STREAM)
            try:
                self._socket.settimeout(max(timeout, 0.001))
                self._socket.connect(target)
                if family != socket.AF_UNIX:
                    if self._socket.getsockname() == self._socket.getpeername():
                        raise ConnectionRefusedError("nothing listens there; the socket met itself")
                    self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    if address.tls is not None:
                        self._secure(address.tls.context())
                if self._is_shut:
                    raise Broken("given up")
                return
            except OSError as failure:
                error = failure
                self.close()
        raise error or OSError("no address")

    def _secure(self, context: ssl.SSLContext) -> None:
        # A child of a fork finds either socket and closes it.
        with _fork.guard:
            live = context.wrap_socket(
                self._live(), server_hostname=self._address.server_name, do_handshake_on_connect=False
            )
            self._socket = live
        live.do_handshake()

    def send(self, method: str, path: str, headers: Dict[str, str], content: Optional[Dict[str, Any]]) -> None:
        text = b"" if content is None else json.dumps(content).encode()
        self._quiet_at = self._line_since = now()
        self._live().sendall(request(method, path, self._address.host, headers, text))
        self._live().setblocking(False)

    def head(self, until: float) -> Tuple[int, Dict[str, str]]:
        """The status and the headers, which come before `until`."""
        while True:
            end = self._text.find(b"\r\n\r\n")
            if end >= 0:
                status, headers = parse_head(bytes(self._text[:end]))
                first, self._text = bytes(self._text[end + 4 :]), bytearray()
                self._body = Body(headers)
                self._text += self._body.feed(first)
                return status, headers
            if len(self._text) > _LONGEST_HEAD:
                raise Broken("the head of the answer is too long")
            self._text += self._receive(until)

    def rest(self, until: float) -> bytes:
        """The whole body, which ends before `until`."""
        assert self._body is not None
        while not self._body.is_complete:
            part = self._receive(until, may_end=True)
            if not part:
                break
            self._text += self._body.feed(part)
        return bytes(self._text)

    def part(self, seconds: float) -> bytes:
        """The part of the body that comes next, within `seconds`. It is empty where only framing has come."""
        assert self._body is not None
        part, self._text = bytes(self._text), bytearray()
        if part:
            return part
        if self._body.is_complete:
            raise Broken("the sidecar closed the connection")
        return self._body.feed(self._receive(now() + seconds))

    def lines(self, seconds: float) -> List[Tuple[Dict[str, Any], float]]:
        """The lines that come within `seconds`: none, or those that come first. Each is with a moment that it cannot have
        been written before: validity is counted from there, so that one that is read late never counts for too long."""
        assert self._body is not None
        lines, self._unread = self._unread or self._whole_lines(), []
        until = now() + seconds
        while not lines:
            if self._body.is_complete:
                raise Broken("the sidecar closed the connection")
            if not self._wait(until - now()):
                break
            part = self._take()
            if not part:
                raise Broken("the sidecar closed the connection")
            if not self._text:
                self._line_since = self._quiet_at
            self._text += self._body.feed(part)
            lines = self._whole_lines()
        return lines

    def unread(self, lines: List[Tuple[Dict[str, Any], float]]) -> None:
        """Puts lines back that are for the next reader."""
        self._unread = lines + self._unread

    def _whole_lines(self) -> List[Tuple[Dict[str, Any], float]]:
        *whole, rest = self._text.split(b"\n")
        if len(rest) > _LONGEST_LINE:
            raise Broken("a line is too long")
        since = self._line_since
        if whole:
            self._text, self._line_since = bytearray(rest), self._quiet_at
        try:
            return [(json.loads(line), since) for line in whole]
        except ValueError:
            raise Broken("what came is no line of a hold") from None

    def _receive(self, until: float, may_end: bool = False) -> bytes:
        if not self._wait(until - now()):
            raise Broken("no answer in time")
        part = self._take()
        if not part and not may_end:
            raise Broken("the sidecar closed the connection")
        return part

    def _take(self) -> bytes:
        if self._ahead is not None:
            ahead, self._ahead = self._ahead, None
            return ahead
        try:
            return self._live().recv(_AT_ONCE)
        except BlockingIOError:
            raise Broken("nothing to read") from None

    def _wait(self, seconds: float) -> bool:
        """Whether there is something to read within `seconds`."""
        moment = now()
        if self._is_readable(0):
            return True
        if not self._is_partial:
            self._quiet_at = moment
        return self._is_readable(seconds)

    def _is_readable(self, seconds: float) -> bool:
        if self._address.tls is None:
            return self._has_bytes(seconds)
        until = now() + max(seconds, 0)
        while self._ahead is None:
            live = self._live()
            assert isinstance(live, ssl.SSLSocket)
            if not live.pending():
                if not self._has_bytes(until - now()):
                    return False
                self._is_partial = True
            try:
                self._ahead, self._is_partial = live.recv(_AT_ONCE), False
            except ssl.SSLWantReadError:
                pass
        return True

    def _has_bytes(self, seconds: float) -> bool:
        live, seconds = self._live(), max(seconds, 0)
        if not hasattr(select, "poll"):
            return bool(select.select([live], [], [], seconds)[0])
        poll = select.poll()
        poll.register(live, select.POLLIN)
        # Rounded up: a last fraction of a millisecond is not waited for in circles.
        return bool(poll.poll(min(int(seconds * 1000) + (seconds > 0), 2**31 - 1)))

    def _live(self) -> socket.socket:
        live = self._socket
        if live is None or live.fileno() < 0 or self._is_shut:
            raise Broken("the connection is closed")
        return live

    def shut(self) -> None:
        """Ends the connection, even if another process has the socket open, too, and wakes the thread that waits for it."""
        self._is_shut = True
        live = self._socket
        if live is not None:
            try:
                # Not that of an SSLSocket, which drops TLS first: another thread would then send in plain text.
                socket.socket.shutdown(live, socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self) -> None:
        live, self._socket = self._socket, None
        if live is not None:
            live.close()

    def in_child(self) -> None:
        # Not a shutdown, which would end the parent's connection.
        self.close()


def _targets(address: Address) -> List[Tuple[int, Any]]:
    if isinstance(address.target, str):
        return [(address.family, address.target)]
    host, port = address.target
    return [(found[0], found[4]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
