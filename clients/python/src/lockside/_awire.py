"""One GET on a connection of its own, and its answer, for coroutines. The sockets of the loop, because a stream of asyncio
reads ahead."""

import asyncio
import socket
import ssl
from typing import Any, Dict, List, Optional, Tuple

from . import _fork
from ._address import Address
from ._clock import now
from ._http import Body, parse_head, request
from ._thread import in_thread
from ._wire import Broken

_AT_ONCE = 65536


class AsyncConnection:
    """A socket, and the answer that comes from it."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._socket: Optional[socket.socket] = None
        self._is_shut = False
        # Over TLS: what is decrypted, and the bytes on their way in and out.
        self._tls: Optional[ssl.SSLObject] = None
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._text = b""
        self._body: Optional[Body] = None
        _fork.enter(self)

    async def open(self) -> None:
        loop, error = asyncio.get_running_loop(), OSError("no address")
        for family, target in await self._targets(loop):
            with _fork.guard:
                live = self._socket = socket.socket(family, socket.SOCK_STREAM)
            live.setblocking(False)
            try:
                await loop.sock_connect(live, target)
                if family != socket.AF_UNIX and live.getsockname() == live.getpeername():
                    raise ConnectionRefusedError("nothing listens there; the socket met itself")
                await self._secure()
                return
            except OSError as failure:
                error = failure
                self._close()
        raise error

    async def _targets(self, loop: asyncio.AbstractEventLoop) -> List[Tuple[int, Any]]:
        target = self._address.target
        if isinstance(target, str):
            return [(self._address.family, target)]
        found = await loop.getaddrinfo(*target, type=socket.SOCK_STREAM)
        return [(each[0], each[4]) for each in found]

    async def send(self, path: str, headers: Dict[str, str], until: float) -> None:
        text = request("GET", path, self._address.host, headers)
        if self._tls is not None:
            self._tls.write(text)
            text = self._outgoing.read()
        sending = asyncio.get_running_loop().sock_sendall(self._live(), text)
        await asyncio.wait_for(sending, max(until - now(), 0))

    async def _secure(self) -> None:
        address = self._address
        if address.tls is None:
            return
        context = await in_thread(address.tls.context)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=address.server_name)
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                await self._flush()
                self._feed(await asyncio.get_running_loop().sock_recv(self._live(), _AT_ONCE))
            except ssl.SSLError:
                # The sidecar is told why.
                await self._flush()
                raise
        await self._flush()
        self._tls = tls

    async def _flush(self) -> None:
        await asyncio.get_running_loop().sock_sendall(self._live(), self._outgoing.read())

    def _feed(self, part: bytes) -> None:
        if part:
            self._incoming.write(part)
        else:
            self._incoming.write_eof()

    async def _read(self) -> bytes:
        loop = asyncio.get_running_loop()
        if self._tls is None:
            return await loop.sock_recv(self._live(), _AT_ONCE)
        while True:
            try:
                return self._tls.read(_AT_ONCE)
            except ssl.SSLWantReadError:
                self._feed(await loop.sock_recv(self._live(), _AT_ONCE))
            except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
                return b""

    async def head(self, until: float) -> Tuple[int, Dict[str, str]]:
        while b"\r\n\r\n" not in self._text:
            if len(self._text) > _AT_ONCE:
                raise Broken("the head of the answer is too long")
            self._text += await self._receive(until - now())
        head, _, first = self._text.partition(b"\r\n\r\n")
        status, headers = parse_head(head)
        self._body = Body(headers)
        self._text = self._body.feed(first)
        return status, headers

    async def rest(self, until: float) -> bytes:
        assert self._body is not None
        text, self._text = self._text, b""
        while not self._body.is_complete:
            text += self._body.feed(await self._receive(until - now()))
        return text

    async def part(self, seconds: float) -> bytes:
        """The part of the body that comes next, within `seconds`. It is empty where only framing has come."""
        assert self._body is not None
        part, self._text = self._text, b""
        if part:
            return part
        if self._body.is_complete:
            raise Broken("the sidecar closed the connection")
        return self._body.feed(await self._receive(seconds))

    async def _receive(self, seconds: float) -> bytes:
        try:
            part = await asyncio.wait_for(self._read(), max(seconds, 0))
        except asyncio.TimeoutError:
            raise Broken("no answer in time") from None
        if not part:
            raise Broken("the sidecar closed the connection")
        return part

    def _live(self) -> socket.socket:
        if self._socket is None or self._is_shut:
            raise Broken("the connection is closed")
        return self._socket

    def shut(self) -> None:
        """Ends the connection, even if another process has the socket open, too, and wakes the task that waits for it."""
        self._is_shut = True
        if self._socket is not None:
            try:
                self._socket.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self) -> None:
        self.shut()
        self._close()

    def in_child(self) -> None:
        # Not a shutdown, which would end the parent's connection.
        self._close()

    def _close(self) -> None:
        live, self._socket = self._socket, None
        if live is not None:
            live.close()

    def __del__(self) -> None:
        self.close()
