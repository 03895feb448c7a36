"""A network for pods that podman gave none: a bridge in a namespace of the tests' own, where the node would be.

Each pod has an address and a DNS at its own loopback, which knows the names that it was told. The machine's own
network is not touched, and the kernel removes all of it with the namespace.
"""

import os
import pathlib
import socket
import struct
import subprocess
import sys


def _run(*command):
    done = subprocess.run(["timeout", "10", *map(str, command)], capture_output=True, text=True)
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout


class Network:
    def __init__(self):
        self.name = f"lockside-e2e-{os.getpid()}"
        self.pods = 0
        self.servers = []
        _run("ip", "netns", "add", self.name)
        self._node("ip", "link", "set", "lo", "up")
        self._node("ip", "link", "add", "bridge", "type", "bridge")
        self._node("ip", "address", "add", "10.99.0.1/24", "dev", "bridge")
        self._node("ip", "link", "set", "bridge", "up")

    def _node(self, *command):
        return _run("ip", "netns", "exec", self.name, *command)

    def join(self, pid, names):
        """Gives the pod of the process `pid` an address, and returns it; `names` is what its DNS knows."""
        self.pods += 1
        address, link = f"10.99.0.{self.pods + 1}", f"pod{self.pods}"
        self._node("ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", pid)
        self._node("ip", "link", "set", link, "master", "bridge", "up")
        inside = ["nsenter", "--target", pid, "--net"]
        _run(*inside, "ip", "address", "add", f"{address}/24", "dev", "eth0")
        _run(*inside, "ip", "link", "set", "eth0", "up")
        pairs = [f"{name}={where}" for name, where in names.items()]
        server = [*map(str, inside), sys.executable, "-B", __file__, *pairs]
        self.servers.append(subprocess.Popen(server))
        return address

    def get(self, address, port, path):
        """What the node, where the kubelet is, gets from a pod: a status, 0 when nothing answers, and a text."""
        command = ["curl", "-sS", "--max-time", "2", "-w", "\n%{http_code}", f"http://{address}:{port}{path}"]
        command = ["timeout", "5", "ip", "netns", "exec", self.name, *command]
        done = subprocess.run(command, capture_output=True, text=True)
        text, _, status = done.stdout.rpartition("\n")
        return int(status or 0), text

    def close(self):
        for server in self.servers:
            server.kill()
            server.wait()
        _run("ip", "netns", "delete", self.name)


def serve_dns(names):
    """Answers A questions for `names`, and that there is nothing else."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 53))
    while True:
        question, caller = server.recvfrom(512)
        end = question.index(b"\0", 12)
        labels, at = [], 12
        while at < end:
            labels.append(question[at + 1 : at + 1 + question[at]].decode())
            at += 1 + question[at]
        address = names.get(".".join(labels))
        (kind,) = struct.unpack(">H", question[end + 1 : end + 3])
        answers = [b"\xc0\x0c\0\1\0\1\0\0\0\5\0\4" + socket.inet_aton(address)] if address and kind == 1 else []
        flags = b"\x81\x80" if address else b"\x81\x83"
        head = question[:2] + flags + struct.pack(">HHHH", 1, len(answers), 0, 0)
        server.sendto(head + question[12 : end + 5] + b"".join(answers), caller)


if __name__ == "__main__":
    serve_dns(dict(pair.split("=") for pair in sys.argv[1:]))
