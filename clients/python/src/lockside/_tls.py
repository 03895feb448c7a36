"""TLS towards the sidecar: whom the client trusts, and who it is there."""

import os
import ssl
from dataclasses import dataclass
from typing import Optional


@dataclass(frozen=True)
class Tls:
    """The files, by default those of the environment. They are read for each connection, because they are renewed."""

    ca_file: Optional[str]
    cert_file: Optional[str]
    key_file: Optional[str]

    @staticmethod
    def of(ca_file: Optional[str], cert_file: Optional[str], key_file: Optional[str]) -> "Tls":
        def given(file: Optional[str], variable: str) -> Optional[str]:
            return (os.environ.get(variable) if file is None else file) or None

        return Tls(
            given(ca_file, "LOCKSIDE_CA_FILE"),
            given(cert_file, "LOCKSIDE_CERT_FILE"),
            given(key_file, "LOCKSIDE_KEY_FILE"),
        )

    def context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self.ca_file)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self.cert_file is not None:
            context.load_cert_chain(self.cert_file, self.key_file, _no_password)
        return context


def _no_password() -> str:
    # Without it OpenSSL asks the terminal, and the call blocks.
    raise ValueError("key_file: the key is encrypted; expected one without a password")
