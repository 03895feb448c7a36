"""What an app signs its users in with: a JWT of the secret that the sidecars of the tests have."""

import base64
import hashlib
import hmac
import json
import time

SECRET = "0123456789abcdef0123456789abcdef"


def jwt(user: str, permissions=("manage-locks",), **claims) -> str:
    """What the app's sign-in puts into the cookie refreshToken."""
    claims = {"sub": user, "permissions": list(permissions), "exp": int(time.time()) + 3600, **claims}
    parts = [json.dumps(part).encode() for part in ({"alg": "HS256", "typ": "JWT"}, claims)]
    signed = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts)
    signature = hmac.digest(SECRET.encode(), signed, hashlib.sha256)
    return (signed + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")).decode()
