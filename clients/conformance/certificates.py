"""Certificates of the suite's own, by openssl: a CA, and what it issues."""

import subprocess
from pathlib import Path

# Without the machine's own configuration, which has extensions of its own.
_CONFIG = "[req]\ndistinguished_name = name\n[name]\n"
_EC = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]


class Authority:
    """A CA; its own certificate is `file`."""

    def __init__(self, directory: Path, name: str = "ca"):
        self.directory, self.file, self._key = directory, directory / f"{name}.pem", directory / f"{name}.key"
        _openssl("req", "-x509", *_EC, "-subj", f"/CN={name}", "-days", "2", "-addext",
                 "basicConstraints=critical,CA:TRUE", "-keyout", self._key, "-out", self.file)

    def issue(self, name: str, names: str):
        """The files of a certificate for `names`, such as `DNS:localhost,URI:spiffe://test/job`, and of its key."""
        certificate, key = self.directory / f"{name}.pem", self.directory / f"{name}.key"
        _openssl(
            "req", "-x509", *_EC, "-subj", f"/CN={name}", "-days", "2", "-addext", f"subjectAltName={names}",
            "-addext", "basicConstraints=critical,CA:FALSE", "-CA", self.file, "-CAkey", self._key,
            "-keyout", key, "-out", certificate,
        )
        return certificate, key


def _openssl(*args):
    config = Path(args[args.index("-out") + 1]).with_suffix(".cnf")
    config.write_text(_CONFIG)
    done = subprocess.run(["openssl", *map(str, args), "-config", str(config)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
