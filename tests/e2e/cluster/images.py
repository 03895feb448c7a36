"""The images that the pods of the tests are made of, brought to a node without a registry, by the names of deploy/."""

import shutil

from cluster.node import PROGRAMS

REDIS = "docker.io/library/redis:7.4-alpine"
BUSYBOX = "docker.io/library/busybox:1.37"
PAUSE = "localhost/pause:1"


def bring(podman, node):
    """Makes the images with podman, and loads them into the node."""
    made = podman.make_image()
    name = made.removeprefix("localhost/")
    # As the manifests name it, and as the quick start does.
    lockside = [f"docker.io/library/{name}", f"registry.example.com/{name}"]
    podman.run("tag", made, *lockside)
    podman.redis_image(REDIS)
    podman.busybox_image(BUSYBOX)
    _pause_image(podman)
    archive = podman.home / "images.tar"
    podman.run("save", "--multi-image-archive", "--output", archive, *lockside, REDIS, BUSYBOX, PAUSE, seconds=120)
    node.load(archive)
    archive.unlink()


def _pause_image(podman):
    context = podman.home / "pause"
    context.mkdir()
    shutil.copy(PROGRAMS / "pause", context)
    (context / "Dockerfile").write_text('FROM scratch\nCOPY pause /\nENTRYPOINT ["/pause"]\n')
    podman.run("build", "--tag", PAUSE, context)
