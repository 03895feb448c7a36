"""Whether a lock has its key alone, or shares it: with how many others is a condition of each request."""

from dataclasses import dataclass
from typing import Dict, Optional, Union

EXCLUSIVE = "exclusive"
SHARED = "shared"

#: How many may share a key where no limit is named.
MOST = 10_000


@dataclass(frozen=True)
class Sharing:
    """`limit`: how many may share the key when the lock is granted, this one included; None: as many as the sidecar allows."""

    is_shared: bool = False
    limit: Optional[int] = None

    @staticmethod
    def of(shared: bool, limit: Optional[int]) -> "Sharing":
        if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int)):
            raise TypeError("limit: expected an integer, or None")
        if limit is not None and not 1 <= limit <= MOST:
            raise ValueError(f"limit: expected an integer from 1 to {MOST}")
        return Sharing(bool(shared) or limit is not None, limit)

    @property
    def mode(self) -> str:
        return SHARED if self.is_shared else EXCLUSIVE

    def fields(self) -> Dict[str, Union[str, int]]:
        """What an acquire says of it."""
        fields: Dict[str, Union[str, int]] = {"mode": SHARED} if self.is_shared else {}
        if self.limit is not None:
            fields["limit"] = self.limit
        return fields
