// The types that openapi-typescript makes, used with openapi-fetch.

import createClient from "openapi-fetch";

import type { components, paths } from "./lockside";
import { type Client, type ErrorBody, Refused, lines, playUses, setting } from "./uses";

const baseUrl = setting("LOCKSIDE_URL");
const service = createClient<paths>({ baseUrl, headers: { authorization: `Bearer ${setting("API_TOKEN")}` } });
// The API token where Dapr's clients send it.
const dapr = createClient<paths>({ baseUrl, headers: { "dapr-api-token": setting("API_TOKEN") } });
const user = (jwt: string) => createClient<paths>({ baseUrl, headers: { cookie: `refreshToken=${jwt}` } });

interface Answer<T> {
  data?: T;
  error?: ErrorBody;
  response: Response;
}

async function ok<T>(call: Promise<Answer<T>>): Promise<T> {
  const { data, error, response } = await call;
  if (error !== undefined || data === undefined) {
    throw new Refused(response.status, error ?? {});
  }
  return data;
}

async function done(call: Promise<Answer<unknown>>): Promise<void> {
  const { error, response } = await call;
  if (error !== undefined) {
    throw new Refused(response.status, error);
  }
}

const client: Client = {
  acquire: (key, body) => ok(service.POST("/v1/locks/{key}", { params: { path: { key } }, body })),
  renew: (key, token, ttlMs) =>
    ok(service.PUT("/v1/locks/{key}", { params: { path: { key }, query: { token } }, body: { ttlMs } })),
  release: (key, token) => done(service.DELETE("/v1/locks/{key}", { params: { path: { key }, query: { token } } })),
  forceRelease: (key) => done(service.DELETE("/v1/locks/{key}", { params: { path: { key }, query: { force: true } } })),
  bundle: (body) => ok(service.POST("/v1/bundles", { body })),
  renewBundle: (leases, ttlMs) => ok(service.PUT("/v1/bundles", { body: { leases, ttlMs } })),
  releaseBundle: (leases) => done(service.POST("/v1/bundles/release", { body: { leases } })),
  show: (key) => ok(service.GET("/v1/locks/{key}", { params: { path: { key } } })),
  fence: (key, token) => ok(service.GET("/v1/locks/{key}/fence", { params: { path: { key }, query: { token } } })),
  page: (prefix, limit, cursor) => ok(service.GET("/v1/locks", { params: { query: { prefix, limit, cursor } } })),
  async *hold(key, ttlMs) {
    const params = { path: { key } };
    const body = { ttlMs, owner: "web-3" };
    const stream = await ok(service.POST("/v1/locks/{key}/hold", { params, body, parseAs: "stream" }));
    for await (const line of lines(stream)) {
      yield line as components["schemas"]["HoldEvent"];
    }
  },
  async adminLock(jwt, route, id, token) {
    const answer = await user(jwt).POST("/admin/lock", { params: { query: { token } }, body: { route, id } });
    return { ...(await ok(Promise.resolve(answer))), headers: answer.response.headers };
  },
  adminRemove: (jwt, route, id) => ok(user(jwt).DELETE("/admin/remove-lock", { body: { route, id } })),
  createLease: (key, leasePeriod) => ok(service.POST("/cmn/leasable-locks", { body: { key, leasePeriod } })),
  renewLease: (token, leasePeriod) =>
    ok(service.PUT("/cmn/leasable-locks/{token}", { params: { path: { token }, query: { leasePeriod } } })),
  releaseLease: (token) => ok(service.DELETE("/cmn/leasable-locks/{token}", { params: { path: { token } } })),
  forceReleaseLease: (token) =>
    ok(service.DELETE("/cmn/leasable-locks/custom/{token}", { params: { path: { token } } })),
  leases: (prefix) => ok(service.GET("/cmn/leasable-locks", { params: { query: { prefix } } })),
  async tryLock(resourceId, lockOwner, expiryInSeconds) {
    const params = { path: { store: "lockstore" as const } };
    const body = { resourceId, lockOwner, expiryInSeconds };
    return (await ok(dapr.POST("/v1.0-alpha1/lock/{store}", { params, body }))).success;
  },
  async unlock(resourceId, lockOwner) {
    const params = { path: { store: "lockstore" as const } };
    return (await ok(dapr.POST("/v1.0-alpha1/unlock/{store}", { params, body: { resourceId, lockOwner } }))).status;
  },
  async stores() {
    return (await ok(dapr.GET("/v1.0/metadata"))).components.map((store) => store.name);
  },
};

playUses("openapi-typescript", client);
