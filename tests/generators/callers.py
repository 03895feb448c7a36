"""A sidecar that asks for credentials, and the credentials: an API token, and JWTs of users who may manage locks."""

import base64
import hashlib
import hmac
import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "clients/conformance"))

from world import Sidecar, World  # noqa: E402

API_TOKEN = "the api token of a service caller"
SECRET = b"a secret of at least 32 bytes, for tests"


def start(world: World) -> Sidecar:
    files = {"--api-token-file": API_TOKEN.encode(), "--jwt-secret-file": SECRET}
    flags = []
    for flag, content in files.items():
        path = world.directory / flag.strip("-")
        path.touch(mode=0o600)
        path.write_bytes(content)
        flags += [flag, str(path)]
    world.credentials = {"Authorization": f"Bearer {API_TOKEN}"}
    return world.sidecar(*flags)


def jwt(user: str) -> str:
    """HS256, for an hour."""
    claims = {"sub": user, "permissions": ["manage-locks"], "exp": int(time.time()) + 3600}
    parts = [encoded(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "JWT"}, claims)]
    signature = hmac.new(SECRET, ".".join(parts).encode(), hashlib.sha256).digest()
    return ".".join([*parts, encoded(signature)])


def encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")
