"""The client that openapi-python-client makes, used as its users use it."""

from http import HTTPStatus

from lockside_client import AuthenticatedClient, Client
from lockside_client.api.admin import admin_lock, admin_remove_lock
from lockside_client.api.dapr import get_dapr_metadata, try_lock, unlock
from lockside_client.api.leasable_lock import (
    create_leasable_lock,
    custom_remove_lock,
    get_all_active_locks,
    refresh_leasable_lock_3,
    remove_lock,
)
from lockside_client.api.native import (
    acquire_bundle,
    acquire_lock,
    fence_lock,
    list_locks,
    release_bundle_by_post,
    release_lock,
    renew_bundle,
    renew_lock,
    show_lock,
)
from lockside_client.models import (
    AcquireBody,
    AdminTarget,
    BundleBody,
    BundleKey,
    DaprLockBody,
    DaprUnlockBody,
    LeasableLockCreation,
    Mode,
    NamedLease,
    NamedLeases,
    RenewBody,
    RenewBundleBody,
    TryLockStore,
    UnlockStore,
)
from lockside_client.types import UNSET, Response
from uses import Refused


def parsed(response: Response):
    if response.status_code >= HTTPStatus.BAD_REQUEST:
        raise Refused(response.status_code, response.parsed)
    return response.parsed


def named(leases):
    return [NamedLease(key=key, token=token) for key, token in leases]


def typed(fields: dict) -> dict:
    """With the mode as the class that is made for it."""
    return {name: Mode(value) if name == "mode" else value for name, value in fields.items()}


class OpenApiPythonClient:
    """The methods of uses.Uses."""

    def __init__(self, url: str, api_token: str):
        self.url = url
        self.service = AuthenticatedClient(base_url=url, token=api_token)
        # The API token where Dapr's clients send it.
        self.dapr = AuthenticatedClient(base_url=url, token=api_token, prefix="", auth_header_name="dapr-api-token")

    def close(self):
        for client in (self.service, self.dapr):
            client.get_httpx_client().close()

    def user(self, jwt: str) -> Client:
        return Client(base_url=self.url, cookies={"refreshToken": jwt})

    def acquire(self, key, **fields):
        return parsed(acquire_lock.sync_detailed(key, client=self.service, body=AcquireBody(**typed(fields))))

    def acquire_without_body(self, key):
        return parsed(acquire_lock.sync_detailed(key, client=self.service))

    def renew(self, key, token, ttl_ms):
        body = RenewBody(ttl_ms=ttl_ms)
        return parsed(renew_lock.sync_detailed(key, client=self.service, token=token, body=body))

    def release(self, key, token):
        parsed(release_lock.sync_detailed(key, client=self.service, token=token))

    def force_release(self, key):
        parsed(release_lock.sync_detailed(key, client=self.service, force=True))

    def bundle(self, keys, **fields):
        body = BundleBody(keys=[BundleKey(**typed(key)) for key in keys], **fields)
        return parsed(acquire_bundle.sync_detailed(client=self.service, body=body))

    def renew_bundle(self, leases, ttl_ms):
        body = RenewBundleBody(leases=named(leases), ttl_ms=ttl_ms)
        return parsed(renew_bundle.sync_detailed(client=self.service, body=body))

    def release_bundle(self, leases):
        parsed(release_bundle_by_post.sync_detailed(client=self.service, body=NamedLeases(leases=named(leases))))

    def show(self, key):
        return parsed(show_lock.sync_detailed(key, client=self.service))

    def fence(self, key, token):
        return parsed(fence_lock.sync_detailed(key, client=self.service, token=token))

    def page(self, prefix, limit, cursor=None):
        page = parsed(
            list_locks.sync_detailed(client=self.service, prefix=prefix, limit=limit, cursor=cursor or UNSET)
        )
        return page.locks, page.next_

    def type_of(self, problem):
        return problem.type_

    def admin_lock(self, jwt, route, id, token=None):
        target = AdminTarget(route=route, id=id)
        with self.user(jwt) as client:
            response = admin_lock.sync_detailed(client=client, body=target, token=token or UNSET)
        return parsed(response), response.headers

    def admin_remove(self, jwt, route, id):
        with self.user(jwt) as client:
            return parsed(admin_remove_lock.sync_detailed(client=client, body=AdminTarget(route=route, id=id)))

    def create_lease(self, key, period):
        body = LeasableLockCreation(key=key, lease_period=period)
        return parsed(create_leasable_lock.sync_detailed(client=self.service, body=body))

    def renew_lease(self, token, period):
        return parsed(refresh_leasable_lock_3.sync_detailed(token, client=self.service, lease_period=period))

    def release_lease(self, token):
        return parsed(remove_lock.sync_detailed(token, client=self.service))

    def force_release_lease(self, token):
        return parsed(custom_remove_lock.sync_detailed(token, client=self.service))

    def leases(self, prefix):
        return parsed(get_all_active_locks.sync_detailed(client=self.service, prefix=prefix))

    def try_lock(self, resource, owner, seconds):
        body = DaprLockBody(resource_id=resource, lock_owner=owner, expiry_in_seconds=seconds)
        return parsed(try_lock.sync_detailed(TryLockStore.LOCKSTORE, client=self.dapr, body=body)).success

    def unlock(self, resource, owner):
        body = DaprUnlockBody(resource_id=resource, lock_owner=owner)
        return parsed(unlock.sync_detailed(UnlockStore.LOCKSTORE, client=self.dapr, body=body)).status

    def stores(self):
        return [store.name for store in parsed(get_dapr_metadata.sync_detailed(client=self.dapr)).components]
