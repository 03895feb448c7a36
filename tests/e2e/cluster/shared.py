"""The node that all test modules of one run share: it starts in seconds, but not in none."""

import atexit
import functools
import time

from cluster import images
from cluster.node import Node
from podman import Podman


@functools.cache
def node():
    """The running node with its images; it ends with this process."""
    begun = time.monotonic()
    started = Node()
    atexit.register(started.close)
    print(f"the node is ready after {time.monotonic() - begun:.1f} s", flush=True)
    podman = Podman()
    try:
        images.bring(podman, started)
    finally:
        podman.close()
    return started
