"""Certificates of the suite's own, by openssl: a CA, and what it issues."""

import subprocess
from pathlib import Path

# Without the machine's own configuration, which has extensions of its own.
_CONFIG = "[req]\ndistinguished_name = name\n[name]\n"
_EC = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
_RSA = ["-newkey", "rsa:2048", "-nodes"]
# The ways in which tools write keys down: how such a key is made, and how openssl then converts it from PKCS#8.
KEY_FORMS = {
    "BEGIN PRIVATE KEY": (_EC, None),
    "BEGIN EC PRIVATE KEY": (_EC, ["ec"]),
    "BEGIN RSA PRIVATE KEY": (_RSA, ["rsa", "-traditional"]),
}


class Authority:
    """A CA; its own certificate is `file`."""

    def __init__(self, directory: Path, name: str = "ca"):
        self.directory, self.file, self._key = directory, directory / f"{name}.pem", directory / f"{name}.key"
        _openssl("req", "-x509", *_EC, "-subj", f"/CN={name}", "-days", "2", "-addext",
                 "basicConstraints=critical,CA:TRUE", "-keyout", self._key, "-out", self.file)

    def issue(self, name: str, names: str, form: str = "BEGIN PRIVATE KEY"):
        """The files of a certificate for `names`, such as `DNS:localhost,URI:spiffe://test/job`, and of its key."""
        certificate, key = self.directory / f"{name}.pem", self.directory / f"{name}.key"
        made, converted = KEY_FORMS[form]
        _openssl(
            "req", "-x509", *made, "-subj", f"/CN={name}", "-days", "2", "-addext", f"subjectAltName={names}",
            "-addext", "basicConstraints=critical,CA:FALSE", "-CA", self.file, "-CAkey", self._key,
            "-keyout", key, "-out", certificate,
        )
        if converted:
            _run(*converted, "-in", key, "-out", key)
        assert form in key.read_text()
        return certificate, key


def _openssl(*args):
    config = Path(args[args.index("-out") + 1]).with_suffix(".cnf")
    config.write_text(_CONFIG)
    _run(*args, "-config", config)


def _run(*args):
    done = subprocess.run(["openssl", *map(str, args)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
