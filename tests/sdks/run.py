#!/usr/bin/env python3
"""Plays the table of cases through the SDKs of Dapr, and the raw calls on daprd and on lockside."""

import argparse
import concurrent.futures
import shutil
import sys
import time
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import cases  # noqa: E402
import oracle  # noqa: E402
from sdks import SDKS  # noqa: E402
from stand import BINARY, DAPRD, Stand  # noqa: E402


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", metavar="TEXT", default="", help="those with this in their name: `java`, `tokens.`")
    parser.add_argument("--jobs", type=int, default=8, help="how many are played at once; most wait most of the time")
    parser.add_argument("--on", choices=("lockside", "daprd"), default="lockside", help="play the SDKs on this sidecar")
    parser.add_argument("--list", action="store_true", help="print the table, and play nothing")
    parser.add_argument("--keep", action="store_true", help="keep the directories of what failed")
    return parser.parse_args()


class Play:
    """One row: what failed, or None, and the seconds that it took."""

    def __init__(self, options):
        self.options, self.results = options, []

    def row(self, name: str, play, stand):
        """Plays it, and reports what it came to."""
        start, failure = time.monotonic(), None
        try:
            play()
        except Exception as error:  # whatever it is, it is a failure of this row alone
            frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "/sdks/" in frame.filename]
            frames = [frame for frame in frames if "/cases/" in frame.filename] or frames[-1:]
            where = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}: " if frames else ""
            failure = f"{where}{type(error).__name__}: {error}" + (logs_of(stand) if stand else "")
        took = time.monotonic() - start
        print(f"{'FAILED' if failure else 'ok':6} {took:5.1f} s  {name}", flush=True)
        self.results.append((name, failure))

    def alone(self, name: str, play):
        """A row on a stand of its own."""
        made = []

        def whole():
            made.append(Stand(self.options.on))
            play(made[0])

        failed_before = self.failed()
        try:
            self.row(name, whole, None)
        finally:
            for stand in made:
                stand.close(keep=self.options.keep and self.failed() > failed_before)

    def apart(self, sdk, case):
        """A case of an SDK that has a sidecar of its own."""
        self.alone(f"{sdk.name} {case.name}", lambda stand: case.play(stand, sdk))

    def together(self, sdk, rows):
        """The cases of an SDK that share a sidecar and an app."""
        stand, app = None, []

        def begin():
            app.append(stand.serve().connect(sdk).ready())

        try:
            stand = Stand(self.options.on)
            self.row(f"{sdk.name} connects", begin, stand)
            for case in rows if app else ():
                self.row(f"{sdk.name} {case.name}", lambda case=case: case.play(stand, app[0]), stand)
        finally:
            if stand:
                stand.close(keep=self.options.keep)

    def failed(self) -> int:
        return sum(1 for _, failure in self.results if failure)


def logs_of(stand) -> str:
    text = ""
    for log in sorted(stand.directory.glob("*.log")):
        lines = log.read_text(errors="replace").splitlines()
        if log.name != "redis.log" and lines:
            text += f"\n    {log.name}:" + "".join(f"\n      {line[:300]}" for line in lines[-8:])
    return text


def games(play: Play, options) -> list:
    """What is played side by side."""
    rows = [case for case in cases.load() if options.on == "lockside" or not case.unlike_dapr]
    found = []
    for sdk in SDKS:
        mine = [case for case in rows if case.when(sdk) and options.only in f"{sdk.name} {case.name}"]
        if mine and sdk.missing():
            lacks = f"this machine lacks {', '.join(sdk.missing())}: make test-sdks installs and builds it"
            found.append(lambda sdk=sdk, lacks=lacks: play.row(f"{sdk.name} is not played", lambda: fail(lacks), None))
            continue
        for case in mine:
            if case.alone:
                found.append(lambda case=case, sdk=sdk: play.apart(sdk, case))
        if together := [case for case in mine if not case.alone]:
            found.append(lambda sdk=sdk, together=together: play.together(sdk, together))
    for name, game in oracle.GAMES.items() if options.on == "lockside" else ():
        if options.only in name:
            found.append(lambda name=name, game=game: play.alone(name, game))
    return found


def fail(why: str):
    raise AssertionError(why)


def main() -> int:
    options = arguments()
    if options.list:
        for case in cases.load():
            print(f"{case.name:24} {case.promise}")
        for name, game in oracle.GAMES.items():
            print(f"{name:24} {' '.join(game.__doc__.split())}")
        return 0
    for program in ("redis-server", BINARY, str(DAPRD)):
        if not shutil.which(program):
            print(f"{program} is not there: make test-sdks installs and builds it", file=sys.stderr)
            return 2
    play = Play(options)
    start, found = time.monotonic(), games(play, options)
    if not found:
        print(f"nothing has `{options.only}` in its name; see --list", file=sys.stderr)
        return 2
    for sdk in SDKS:
        print(f"{sdk.name:16} {sdk.version}")
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        for game in [pool.submit(game) for game in found]:
            game.result()
    for name, failure in play.results:
        if failure:
            print(f"\n{name}\n  {failure}")
    print(f"\n{len(play.results) - play.failed()} of {len(play.results)} in {time.monotonic() - start:.0f} s")
    return 1 if play.failed() else 0


if __name__ == "__main__":
    sys.exit(main())
