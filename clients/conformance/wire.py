"""A TCP proxy between a client and its sidecar, which sees requests and does to connections what networks do."""

import socket
import threading
import time

# How many seconds a late answer lies on the way.
LATE = 1.5


class Wire:
    """`fault(number, request)` says for each connection what becomes of it: None, "drop", "stuck", "swallow", "late" or
    "dribble". `edit` changes what the sidecar says, to as many bytes; `port` may change: later connections go there."""

    def __init__(self, port: int, fault=lambda number, head: None, edit=None):
        self.port, self.fault, self.edit = port, fault, edit
        self.heads: list = []
        self.open: list = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = "http://127.0.0.1:%d" % self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        number = 0
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            number += 1
            threading.Thread(target=self._serve, args=(client, number), daemon=True).start()

    def _serve(self, client, number):
        head = b""
        while b"\r\n\r\n" not in head:
            part = client.recv(65536)
            if not part:
                client.close()
                return
            head += part
        self.heads.append(head.decode())
        fault = self.fault(number, head.decode())
        if fault == "drop":
            # The request is lost on its way.
            reset(client)
            return
        if fault == "stuck":
            # The request lies on its way.
            time.sleep(LATE)
        try:
            server = socket.create_connection(("127.0.0.1", self.port))
        except OSError:
            client.close()
            return
        self.open.append((client, server))
        server.sendall(head)
        threading.Thread(target=pump, args=(client, server), daemon=True).start()
        if fault == "swallow":
            # The request was answered, and the answer is lost.
            server.recv(1)
            reset(client)
            time.sleep(0.3)
            reset(server)
            return
        if fault == "late":
            server.recv(1, socket.MSG_PEEK)
            time.sleep(LATE)
        pump(server, client, slowly=fault == "dribble", edit=self.edit)

    def cut(self):
        """Ends all connections of this moment at both ends, as a network does that resets them."""
        before, self.open = self.open, []
        for client, server in before:
            reset(client)
            reset(server)

    def close(self):
        self.listener.close()
        self.cut()

    def headers(self, name: str, path: str) -> list:
        """The values of a header in the requests for a path, in the order in which they came."""
        values = []
        for head in self.heads:
            first, *lines = head.split("\r\n")
            if path in first:
                found = [line.split(":", 1)[1].strip() for line in lines if line.lower().startswith(name.lower() + ":")]
                values.append(found[0] if found else None)
        return values


def pump(source, sink, slowly: bool = False, edit=None):
    try:
        while True:
            data = source.recv(1 if slowly else 65536)
            if not data:
                break
            sink.sendall(edit(data) if edit else data)
            if slowly:
                time.sleep(0.001)
    except OSError:
        pass
    for end in (source, sink):
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


def reset(end):
    try:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        # A thread that reads it goes on only then.
        end.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    end.close()
