"""The client that openapi-generator makes for Python, used as its users use it."""

import lockside_generated as made
from lockside_generated.rest import ApiException
from uses import Refused


def called(call, *args, **kwargs):
    try:
        return call(*args, **kwargs)
    except ApiException as error:
        raise Refused(error.status, error.data) from error


def named(leases):
    return [made.NamedLease(key=key, token=token) for key, token in leases]


class OpenApiGenerator:
    """The methods of uses.Uses."""

    def __init__(self, url: str, api_token: str):
        self.url = url
        service = made.ApiClient(made.Configuration(host=url, access_token=api_token))
        self.native = made.NativeApi(service)
        self.leases_api = made.LeasableLockApi(service)
        # The API token where Dapr's clients send it.
        self.dapr = made.DaprApi(made.ApiClient(made.Configuration(host=url, api_key={"daprApiToken": api_token})))

    def close(self):
        for api in (self.native, self.dapr):
            api.api_client.rest_client.pool_manager.clear()

    def admin(self, jwt: str):
        return made.AdminApi(made.ApiClient(made.Configuration(host=self.url, api_key={"refreshToken": jwt})))

    def acquire(self, key, **fields):
        return called(self.native.acquire_lock, key, acquire_body=made.AcquireBody(**fields))

    def acquire_without_body(self, key):
        return called(self.native.acquire_lock, key)

    def renew(self, key, token, ttl_ms):
        return called(self.native.renew_lock, key, token, made.RenewBody(ttl_ms=ttl_ms))

    def release(self, key, token):
        called(self.native.release_lock, key, token)

    def force_release(self, key):
        called(self.native.release_lock, key, force=True)

    def bundle(self, keys, **fields):
        body = made.BundleBody(keys=[made.BundleKey(**key) for key in keys], **fields)
        return called(self.native.acquire_bundle, body)

    def renew_bundle(self, leases, ttl_ms):
        return called(self.native.renew_bundle, made.RenewBundleBody(leases=named(leases), ttl_ms=ttl_ms))

    def release_bundle(self, leases):
        called(self.native.release_bundle_by_post, made.NamedLeases(leases=named(leases)))

    def show(self, key):
        return called(self.native.show_lock, key)

    def fence(self, key, token):
        return called(self.native.fence_lock, key, token)

    def page(self, prefix, limit, cursor=None):
        page = called(self.native.list_locks, prefix, limit, cursor)
        return page.locks, page.next

    def type_of(self, problem):
        return problem.type

    def admin_lock(self, jwt, route, id, token=None):
        target = made.AdminTarget(route=route, id=id)
        answer = called(self.admin(jwt).admin_lock_with_http_info, target, token)
        return answer.data, {name.lower(): value for name, value in answer.headers.items()}

    def admin_remove(self, jwt, route, id):
        return called(self.admin(jwt).admin_remove_lock, admin_target=made.AdminTarget(route=route, id=id))

    def create_lease(self, key, period):
        return called(self.leases_api.create_leasable_lock, made.LeasableLockCreation(key=key, lease_period=period))

    def renew_lease(self, token, period):
        return called(self.leases_api.refresh_leasable_lock3, token, period)

    def release_lease(self, token):
        return called(self.leases_api.remove_lock, token)

    def force_release_lease(self, token):
        return called(self.leases_api.custom_remove_lock, token)

    def leases(self, prefix):
        return called(self.leases_api.get_all_active_locks, prefix)

    def try_lock(self, resource, owner, seconds):
        body = made.DaprLockBody(resource_id=resource, lock_owner=owner, expiry_in_seconds=seconds)
        return called(self.dapr.try_lock, "lockstore", body).success

    def unlock(self, resource, owner):
        return called(self.dapr.unlock, "lockstore", made.DaprUnlockBody(resource_id=resource, lock_owner=owner)).status

    def stores(self):
        return [store.name for store in called(self.dapr.get_dapr_metadata).components]

    def events(self, key, **fields):
        """The lines of a hold, each as the made class for it."""
        body = made.HoldBody(**fields)
        answer = self.native.hold_lock_without_preload_content(key, hold_body=body)
        try:
            for line in answer:
                yield made.HoldEvent.from_json(line.decode()).actual_instance
        finally:
            answer.close()
