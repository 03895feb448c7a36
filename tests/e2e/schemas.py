"""The schemas of three Kubernetes versions, and a check against them that knows no further field."""

import kubernetes_validate

# The first that has native sidecars without a switch, one between, the newest that the schemas know.
VERSIONS = ["1.29", "1.33", "1.37"]


def validate(document, version):
    kubernetes_validate.validate(document, version, strict=True)
