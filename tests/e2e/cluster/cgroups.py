"""The cgroups of pods, which a kubelet makes in the machine's own tree, whatever namespaces it runs in."""

import os
import pathlib

from patience import eventually

TREE = pathlib.Path("/sys/fs/cgroup")
NAME = "kubepods"


def _roots():
    """One for each controller where cgroups are v1 or hybrid, and one in all where they are v2."""
    return [root for root in (TREE / NAME, *TREE.glob(f"*/{NAME}")) if root.is_dir()]


def _inside(root):
    """The cgroup and those below it, the lowest first."""
    return [pathlib.Path(directory) for directory, _, _ in os.walk(root, topdown=False)]


def _processes():
    return [pid for root in _roots() for group in _inside(root) for pid in (group / "cgroup.procs").read_text().split()]


def refuse_another_kubelet():
    """A kubelet kills what it does not know in these cgroups: beside it there must be no other one's pods."""
    if _processes() or list(TREE.glob(f"{NAME}.slice")) or list(TREE.glob(f"*/{NAME}.slice")):
        raise RuntimeError(f"a kubelet already has pods on this machine ({TREE}/**/{NAME}): they would be killed")
    # What an earlier run could not remove.
    remove()


def remove():
    """Removes the cgroups, once the processes in them have ended."""
    eventually("the processes of pods have ended", 30, lambda: not _processes())
    for root in _roots():
        for group in _inside(root):
            group.rmdir()
