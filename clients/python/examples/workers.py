"""Workers in one event loop that share some jobs: each job is done by one of them at a time."""

import asyncio
import random
from typing import List

from lockside import LockHeld, alock


async def worker(name: str, jobs: List[str], done: List[str]) -> None:
    for job in random.sample(jobs, len(jobs)):
        try:
            async with alock(f"examples/job/{job}", ttl=10, owner=name):
                if job not in done:
                    await asyncio.sleep(0.01)
                    done.append(job)
                    print(f"{name} did {job}")
        except LockHeld as error:
            print(f"{name} leaves {job} to {error.holder.owner if error.holder else 'another'}")


async def main() -> None:
    jobs = [f"j{number}" for number in range(8)]
    done: List[str] = []
    await asyncio.gather(*(worker(f"worker-{number}", jobs, done) for number in range(3)))
    assert sorted(done) == jobs, done


if __name__ == "__main__":
    asyncio.run(main())
