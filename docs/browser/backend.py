#!/usr/bin/env python3
"""The backend of the edit page: backend.py [PORT]. It keeps texts in volumes.db, in the directory where it is started.

Each text has the highest fencing token that was used for it. A lower one is refused with 412, and none with 428. The sign-in
of the app is left out.

    GET  /volumes/ID                  the text
    POST /volumes/ID  Fencing-Token   begins to edit: raises the token, and responds with the text
    PUT  /volumes/ID  Fencing-Token   saves
"""

import contextlib
import http.server
import sqlite3
import sys

TABLE = "CREATE TABLE IF NOT EXISTS volumes (id TEXT PRIMARY KEY, text TEXT NOT NULL, token INTEGER NOT NULL)"
READ = "SELECT text FROM volumes WHERE id = :id"
# Compared and written in one statement, which returns no row where the token is lower.
FENCED = """
INSERT INTO volumes (id, text, token) VALUES (:id, coalesce(:text, ''), :token)
ON CONFLICT (id) DO UPDATE SET text = coalesce(:text, text), token = :token WHERE token <= :token
RETURNING text
"""


class Volumes(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        rows = self.database(READ)
        self.answer(200, rows[0][0] if rows else "")

    def do_POST(self):
        self.fenced(None)

    def do_PUT(self):
        self.fenced(self.rfile.read(int(self.headers["Content-Length"])).decode())

    def fenced(self, text):
        token = self.headers.get("Fencing-Token", "")
        if not token.isdecimal():
            self.answer(428, "no Fencing-Token")
        elif rows := self.database(FENCED, text=text, token=int(token)):
            self.answer(200, rows[0][0])
        else:
            self.answer(412, "a newer lock has been used")

    def database(self, statement, **values):
        values["id"] = self.path.rpartition("/")[2]
        with contextlib.closing(sqlite3.connect("volumes.db", isolation_level=None)) as database:
            database.execute(TABLE)
            return database.execute(statement, values).fetchall()

    def answer(self, status, text):
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(text.encode())


if __name__ == "__main__":
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8000
    http.server.ThreadingHTTPServer(("127.0.0.1", port), Volumes).serve_forever()
