"""What the containers of a namespace say, read from the files in which the kubelet keeps it.

A thread keeps each file open, so that what a pod said is known although the kubelet removes its files with it.
"""

import contextlib
import datetime
import glob
import threading
import time
import typing


class Line(typing.NamedTuple):
    """One line: when (in seconds), by which pod and container, and its text."""

    when: float
    pod: str
    container: str
    text: str


class Logs:
    """The logs of all pods of a namespace whose names begin so, from now on."""

    def __init__(self, node, namespace, pods=""):
        self.pattern = f"{node.directory}/logs/{namespace}_{pods}*/*/*.log"
        self.open, self.found = {}, []
        self.lock = threading.Lock()
        threading.Thread(target=self._follow, daemon=True).start()

    def _follow(self):
        while True:
            self._look()
            time.sleep(0.02)

    def _look(self):
        with self.lock:
            for path in set(glob.glob(self.pattern)) - set(self.open):
                # It may have gone since, with a pod whose file was never seen to have a line.
                with contextlib.suppress(FileNotFoundError):
                    self.open[path] = open(path)
            for path, file in self.open.items():
                *_, directory, container, _ = path.split("/")
                pod = directory.split("_")[1]
                for line in _whole_lines(file):
                    when, _, _, text = line.split(" ", 3)
                    self.found.append(Line(_seconds(when), pod, container, text))

    def lines(self, container=None):
        """All lines until now, or those of one container, in the order of time."""
        self._look()
        with self.lock:
            return sorted(line for line in self.found if container in (None, line.container))


def _whole_lines(file):
    while True:
        at = file.tell()
        line = file.readline()
        if not line.endswith("\n"):
            file.seek(at)
            return
        yield line.rstrip("\n")


def _seconds(when):
    """The kubelet writes nanoseconds, and UTC."""
    moment, _, fraction = when.rstrip("Z").partition(".")
    whole = datetime.datetime.fromisoformat(moment).replace(tzinfo=datetime.timezone.utc)
    return whole.timestamp() + float(f"0.{fraction or 0}")
