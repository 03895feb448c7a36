"""Where the sidecar is, and who asks."""

import os
import socket
from dataclasses import dataclass
from typing import Dict, Optional, Tuple, Union
from urllib.parse import urlsplit

from ._tls import Tls

_DEFAULT = "http://127.0.0.1:7420"
_EXPECTED = "expected http://127.0.0.1:7420, https://host:7420 or unix:/path"


@dataclass(frozen=True)
class Address:
    """A TCP or a unix socket. Never reached through a proxy: proxy settings are for the internet."""

    family: int
    target: Union[str, Tuple[str, int]]
    host: str
    tls: Optional[Tls] = None

    @staticmethod
    def parse(url: str, tls: Optional[Tls] = None) -> "Address":
        """Takes what the command line takes in LOCKSIDE_URL. An error does not repeat the URL: it may hold a password."""
        url = url or _DEFAULT
        if url.startswith("unix:"):
            path = url[len("unix:") :]
            path = path[2:] if path.startswith("//") else path
            if not path.startswith("/"):
                raise ValueError(f"lockside URL: the path is not absolute; {_EXPECTED}")
            return Address(socket.AF_UNIX, path, "localhost")
        parts = urlsplit(url)
        is_plain = parts.path in ("", "/") and not parts.query and not parts.fragment and parts.username is None
        if parts.scheme not in ("http", "https") or not parts.hostname or not is_plain:
            raise ValueError(f"lockside URL: {_EXPECTED}")
        if parts.scheme == "http":
            return Address(socket.AF_INET, (parts.hostname, parts.port or 80), parts.netloc)
        tls = tls or Tls.of(None, None, None)
        if (tls.cert_file is None) != (tls.key_file is None):
            raise ValueError("cert_file and key_file: expected both or neither")
        return Address(socket.AF_INET, (parts.hostname, parts.port or 443), parts.netloc, tls)

    @property
    def server_name(self) -> Optional[str]:
        """Which name the sidecar's certificate must have."""
        return None if isinstance(self.target, str) else self.target[0]

    def __str__(self) -> str:
        if isinstance(self.target, str):
            return f"unix:{self.target}"
        return f"http{'s' if self.tls else ''}://{self.host}"


@dataclass(frozen=True)
class Sidecar:
    """A sidecar, how to authenticate there, and how long it may be silent."""

    address: Address
    token_file: Optional[str]
    timeout: float

    @staticmethod
    def of(url: Optional[str], token_file: Optional[str], timeout: float, tls: Optional[Tls] = None) -> "Sidecar":
        if not timeout > 0:
            raise ValueError("timeout: expected seconds above 0")
        address = Address.parse(os.environ.get("LOCKSIDE_URL", "") if url is None else url, tls)
        file = os.environ.get("LOCKSIDE_TOKEN_FILE") if token_file is None else token_file
        return Sidecar(address, file or None, timeout)

    def headers(self) -> Dict[str, str]:
        """The credential is read for each request, because files are rotated."""
        if self.token_file is None:
            return {}
        with open(self.token_file, encoding="utf-8") as file:
            token = file.read().strip()
        if not token or not token.isprintable() or not token.isascii():
            raise ValueError(f"`{self.token_file}` holds no token on one line")
        return {"Authorization": f"Bearer {token}"}


def default_owner() -> str:
    """HOST/PID. Asked for at each acquire, because a fork changes it."""
    host = "".join(character for character in socket.gethostname() if character.isprintable())
    return f"{host[:200]}/{os.getpid()}"
