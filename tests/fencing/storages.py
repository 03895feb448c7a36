"""Storages with the check of docs/fencing.md. A storage keeps one text for each volume:

write(volume, text, token) and edit(volume, change, token) return whether it was accepted, text(volume) what is there.
"""

import contextlib
import http.client
import http.server
import json
import os
import re
import sqlite3
import tempfile
import threading
import urllib.error
import urllib.request

import servers
from page import PAGE, blocks, function

WHOLE = "Several rows, inserts, deletes"
SHARED = "Shared holders"


class Sql:
    """The check in a column of the row: the statements as they are printed, bound by the driver."""

    section: str
    server = None
    begin = "BEGIN"
    # What is read in it is of one moment.
    begin_to_read = "BEGIN"

    def __init__(self):
        self.started = self.server() if self.server else None
        create, self.update = blocks(self.section, "sql")
        fences, self.add_fence, self.raise_fence = blocks(WHOLE, "sql")
        self.compare, self.compare_to_write = blocks(SHARED, "sql")
        with self.connection() as connection:
            for statement in create, fences:
                self.execute(connection, statement)

    def close(self):
        self.started.close()

    def connection(self):
        return contextlib.closing(self.started.connect())

    def execute(self, connection, statement: str, **values):
        cursor = connection.cursor()
        cursor.execute(re.sub(r":(\w+)", r"%(\1)s", statement), values)
        return cursor

    def add(self, volume: int):
        with self.connection() as connection:
            insert = "INSERT INTO volumes (id, text, token) VALUES (:id, '', 0)"
            self.execute(connection, insert, id=volume)
            self.execute(connection, self.add_fence, resource=f"volume/{volume}")

    def write(self, volume: int, text: str, token: int) -> bool:
        with self.connection() as connection:
            return self.execute(connection, self.update, id=volume, text=text, token=token).rowcount == 1

    def edit(self, volume: int, change, token: int) -> bool:
        """By the table of tokens, in a transaction that deletes the row and inserts it again."""
        with self.connection() as connection:
            self.execute(connection, self.begin)
            raised = self.execute(connection, self.raise_fence, resource=f"volume/{volume}", token=token).rowcount
            if raised == 1:
                old = self.text(volume, connection)
                self.execute(connection, "DELETE FROM volumes WHERE id = :id", id=volume)
                insert = "INSERT INTO volumes (id, text, token) VALUES (:id, :text, :token)"
                self.execute(connection, insert, id=volume, text=change(old), token=token)
            self.execute(connection, "COMMIT" if raised == 1 else "ROLLBACK")
            return raised == 1

    def read_shared(self, volume: int, token: int, meanwhile=lambda: None):
        """By one who shares the lock; None where it is refused. `meanwhile` is called before it reads the text."""
        with self.connection() as connection:
            self.execute(connection, self.begin_to_read)
            found = self.execute(connection, self.compare, resource=f"volume/{volume}", token=token).fetchone()
            meanwhile()
            text = self.text(volume, connection) if found else None
            self.execute(connection, "COMMIT")
            return text

    def write_shared(self, volume: int, text: str, token: int) -> bool:
        with self.connection() as connection:
            self.execute(connection, self.begin)
            compared = self.execute(connection, self.compare_to_write, resource=f"volume/{volume}", token=token).rowcount
            if compared == 1:
                self.execute(connection, "UPDATE volumes SET text = :text WHERE id = :id", id=volume, text=text)
            self.execute(connection, "COMMIT" if compared == 1 else "ROLLBACK")
            return compared == 1

    def text(self, volume: int, connection=None) -> str:
        with contextlib.nullcontext(connection) if connection else self.connection() as connection:
            return self.execute(connection, "SELECT text FROM volumes WHERE id = :id", id=volume).fetchone()[0]


class PostgreSQL(Sql):
    section = "PostgreSQL"
    server = servers.PostgreSQL
    (begin_to_read,) = re.findall("`(BEGIN ISOLATION LEVEL [A-Z ]+)`", PAGE.read_text())


class MariaDB(Sql):
    section = "MariaDB and MySQL"
    server = servers.MariaDB


class Sqlite(Sql):
    section = "SQLite"
    begin = "BEGIN IMMEDIATE"

    def __init__(self):
        self.directory = tempfile.TemporaryDirectory(prefix="lockside-fencing-")
        super().__init__()

    def close(self):
        self.directory.cleanup()

    def connection(self):
        file = f"{self.directory.name}/volumes.db"
        return contextlib.closing(sqlite3.connect(file, timeout=60, isolation_level=None))

    def execute(self, connection, statement: str, **values):
        return connection.execute(statement, values)


class Redis:
    server = servers.Redis

    def __init__(self):
        self.started = self.server()
        self.client = self.started.connect()
        (script,) = blocks("Redis and Valkey", "lua")
        self.script = self.client.register_script(script)

    def close(self):
        self.client.close()
        self.started.close()

    def add(self, volume: int):
        pass

    def write(self, volume: int, text: str, token: int) -> bool:
        return self.script(keys=[f"volume:{volume}"], args=[token, "text", text]) == 1

    def edit(self, volume: int, change, token: int) -> bool:
        """Raises the token before it reads."""
        return self.script(keys=[f"volume:{volume}"], args=[token]) == 1 and self.write(
            volume, change(self.text(volume)), token
        )

    def text(self, volume: int) -> str:
        return self.client.hget(f"volume:{volume}", "text") or ""


class Valkey(Redis):
    server = servers.Valkey


class Redis8(Redis):
    server = servers.Redis8


class Changed:
    """One whose check is a function write(name, change, token)."""

    def add(self, volume: int):
        pass

    def write(self, volume: int, text: str, token: int) -> bool:
        return self.edit(volume, lambda _: text, token)

    def edit(self, volume: int, change, token: int) -> bool:
        try:
            self.change(self.name(volume), change, token)
        except PermissionError:
            return False
        return True


class File(Changed):
    def __init__(self):
        self.directory = tempfile.TemporaryDirectory(prefix="lockside-fencing-")
        self.change = function("A file", "write")

    def close(self):
        self.directory.cleanup()

    def name(self, volume: int) -> str:
        return f"{self.directory.name}/{volume}"

    def text(self, volume: int) -> str:
        with open(self.name(volume)) as file:
            return file.read()


class ObjectStore(Changed):
    def __init__(self):
        self.started = servers.ObjectStore()
        self.change = function("An object store", "write")

    def close(self):
        self.started.close()

    def name(self, volume: int) -> str:
        return self.started.url(str(volume))

    def text(self, volume: int) -> str:
        with urllib.request.urlopen(self.name(volume)) as found:
            return json.load(found)["text"]


class HttpService:
    """The service of the page, in this process, with the table of SQLite."""

    def __init__(self):
        self.directory = tempfile.TemporaryDirectory(prefix="lockside-fencing-")
        # It opens volumes.db where it is started.
        self.before = os.getcwd()
        os.chdir(self.directory.name)
        with self.database() as database:
            database.execute(blocks("SQLite", "sql")[0])
        handler = function("An HTTP service", "Volumes")
        handler.log_message = lambda *_: None
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()
        os.chdir(self.before)
        self.directory.cleanup()

    def database(self):
        return contextlib.closing(sqlite3.connect("volumes.db", isolation_level=None))

    def add(self, volume: int):
        with self.database() as database:
            database.execute("INSERT INTO volumes (id, text, token) VALUES (?, '', 0)", [volume])

    def put(self, volume: int, text: str, headers: dict) -> int:
        connection = http.client.HTTPConnection(*self.server.server_address, timeout=60)
        with contextlib.closing(connection):
            connection.request("PUT", f"/volumes/{volume}", text.encode(), headers)
            return connection.getresponse().status

    def write(self, volume: int, text: str, token: int) -> bool:
        status = self.put(volume, text, {"Fencing-Token": str(token)})
        assert status in (204, 412), status
        return status == 204

    def text(self, volume: int) -> str:
        with self.database() as database:
            return database.execute("SELECT text FROM volumes WHERE id = ?", [volume]).fetchone()[0]
