"""A node to play with, until Ctrl-C: `make cluster`."""

import signal
import sys

from cluster import images
from cluster.node import Node
from podman import Podman

GUIDE = """
A Kubernetes node is running, with the images of deploy/kubernetes/example. In another terminal:

  alias kubectl={directory}/kubectl
  kubectl get pods --all-namespaces
  kubectl apply --filename deploy/kubernetes/example/namespace.yaml
  kubectl --namespace lockside-example create secret generic lockside --from-literal=redis-password=redis \\
    --from-literal=jwt-secret=$(openssl rand -hex 32) --from-literal=api-token=token
  kubectl apply --kustomize deploy/kubernetes/example
  kubectl --namespace lockside-example logs --selector=app=report --container=report --follow

Nothing is pulled. An image of yours comes in with:

  podman save IMAGE | {directory}/load        or: docker save IMAGE | {directory}/load

Logs of the node are in {directory}. Ctrl-C ends it with its pods, and leaves nothing behind.
"""


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    node = Node()
    try:
        podman = Podman()
        try:
            images.bring(podman, node)
        finally:
            podman.close()
        print(GUIDE.format(directory=node.directory), flush=True)
        # Ctrl-C reaches the programs of the node, too: then its first process has ended.
        node.first.wait()
    except KeyboardInterrupt:
        print("\nending …", flush=True)
    finally:
        node.close()


if __name__ == "__main__":
    main()
