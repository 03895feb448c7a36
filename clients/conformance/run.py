#!/usr/bin/env python3
"""Plays the table of behaviours against a client's driver: run.py [--only TEXT] [--jobs N] [--list] -- DRIVER COMMAND"""

import argparse
import concurrent.futures
import shutil
import sys
import time
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import table  # noqa: E402
import world as worlds  # noqa: E402


def arguments():
    own, command = sys.argv[1:], []
    if "--" in own:
        split = own.index("--")
        own, command = own[:split], own[split + 1 :]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", metavar="TEXT", help="the behaviours whose name has this in it")
    parser.add_argument("--jobs", type=int, default=8, help="how many are played at once; most wait most of the time")
    parser.add_argument("--list", action="store_true", help="print the table, and play nothing")
    parser.add_argument("--keep", action="store_true", help="keep the logs of what failed")
    options = parser.parse_args(own)
    if not command and not options.list:
        parser.error("name the driver's command after --")
    return options, command


def play(name, behaviour, command, keep):
    """Plays one behaviour; what failed, or None, and the seconds that it took."""
    start = time.monotonic()
    world, failure = None, None
    try:
        world = worlds.World(command)
        behaviour(world)
    except Exception as error:  # whatever it is, it is a failure of this row alone
        where = traceback.extract_tb(error.__traceback__)
        frames = [frame for frame in where if "/table/" in frame.filename] or where
        failure = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}: {type(error).__name__}: {error}"
        if world:
            failure += logs_of(world) + (f"\n    kept: {world.directory}" if keep else "")
    finally:
        if world:
            world.close(keep=bool(keep and failure))
    return name, failure, time.monotonic() - start


def logs_of(world) -> str:
    text = ""
    for log in sorted(world.directory.glob("*.log")):
        lines = log.read_text(errors="replace").splitlines()
        if log.name != "redis.log" and lines:
            text += f"\n    {log.name}:" + "".join(f"\n      {line[:300]}" for line in lines[-12:])
    return text


def main() -> int:
    options, command = arguments()
    behaviours = [row for row in table.load() if not options.only or options.only in row[0]]
    if options.list:
        for name, behaviour in behaviours:
            print(f"{name:40} {' '.join(behaviour.__doc__.split())}")
        return 0
    if not behaviours:
        print(f"no behaviour has `{options.only}` in its name; see --list", file=sys.stderr)
        return 2
    for program in ("redis-server", worlds.BINARY, command[0]):
        if not shutil.which(program):
            print(f"{program} is not there; install or build it, or set LOCKSIDE_BINARY", file=sys.stderr)
            return 2
    start, failures = time.monotonic(), []
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        games = [pool.submit(play, *row, command, options.keep) for row in behaviours]
        for game in concurrent.futures.as_completed(games):
            name, failure, took = game.result()
            print(f"{'FAILED' if failure else 'ok':6} {took:5.1f} s  {name}", flush=True)
            if failure:
                failures.append(f"{name}\n  {failure}")
    for failure in failures:
        print(f"\n{failure}")
    print(f"\n{len(behaviours) - len(failures)} of {len(behaviours)} behaviours in {time.monotonic() - start:.0f} s")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
