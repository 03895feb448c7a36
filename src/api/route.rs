//! Every path, and what it means. The only place where a path is spelled.

#[cfg(test)]
mod tests;

use hyper::Method;

/// An API: an HTTP surface over the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    Admin,
    Leases,
    Native,
    /// Its errors name the call.
    Dapr(DaprCall),
    /// No API: a path that leads nowhere.
    None,
}

/// What a Dapr client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DaprCall {
    TryLock,
    Unlock,
    /// What the sidecar offers.
    Probe,
    /// Whether the sidecar is there. Needs no credential.
    Health,
}

impl Dialect {
    /// The API as a metric label.
    pub fn label(self) -> &'static str {
        match self {
            Dialect::Admin => "admin",
            Dialect::Leases => "leases",
            Dialect::Native => "native",
            Dialect::Dapr(_) => "dapr",
            Dialect::None => "none",
        }
    }
}

/// What a request asks for. A token, a key or a store is as it stands in the path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    AdminLock,
    AdminRemove,
    LeaseList,
    LeaseCreate,
    LeaseRenew(String),
    LeaseRelease(String),
    LeaseRemove(String),
    List,
    Acquire(String),
    Renew(String),
    Release(String),
    Show(String),
    /// Who waits for a key.
    Queue(String),
    Status,
    Fence(String),
    Hold(String),
    /// Several keys.
    AcquireAll,
    RenewAll,
    ReleaseAll,
    HoldAll,
    /// The only election.
    Leader,
    Election(String),
    ElectionEvents(String),
    Resign(String),
    Events(String),
    EventsAll,
    DaprTryLock(String),
    DaprUnlock(String),
    DaprMetadata,
    DaprHealth,
    Document,
    Errors,
    /// The page, and what it loads.
    Page,
    PageFile(String),
    /// To the page, from its path without the slash at its end.
    PageRedirect,
}

impl Operation {
    /// The operation as a metric label.
    pub fn label(&self) -> &'static str {
        match self {
            Operation::AdminLock => "lock",
            Operation::AdminRemove => "remove",
            Operation::LeaseList => "list",
            Operation::LeaseCreate => "create",
            Operation::LeaseRenew(_) => "renew",
            Operation::LeaseRelease(_) => "release",
            Operation::LeaseRemove(_) => "custom_remove",
            Operation::List => "list",
            Operation::Queue(_) => "queue",
            Operation::Status => "status",
            Operation::Acquire(_) => "acquire",
            Operation::Renew(_) => "renew",
            Operation::Release(_) => "release",
            Operation::Show(_) => "show",
            Operation::Fence(_) => "fence",
            Operation::Hold(_) => "hold",
            Operation::AcquireAll => "bundle_acquire",
            Operation::RenewAll => "bundle_renew",
            Operation::ReleaseAll => "bundle_release",
            Operation::HoldAll => "bundle_hold",
            Operation::Leader | Operation::Election(_) => "election",
            Operation::ElectionEvents(_) => "election_events",
            Operation::Resign(_) => "resign",
            Operation::Events(_) | Operation::EventsAll => "events",
            Operation::DaprTryLock(_) => "try_lock",
            Operation::DaprUnlock(_) => "unlock",
            Operation::DaprMetadata => "metadata",
            Operation::DaprHealth => "health",
            Operation::Document => "openapi",
            Operation::Errors => "errors",
            Operation::Page | Operation::PageRedirect => "page",
            Operation::PageFile(_) => "page_file",
        }
    }
}

/// Where a request leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    Found(Operation),
    /// The path exists, but not with this method; the text is for `Allow`.
    WrongMethod(String),
    /// A path of the native API with more segments than it has: a key with a bare slash in it.
    SlashInKey,
    Nowhere,
}

/// The methods of all paths, for requests that name no path: `CONNECT host:port` and `OPTIONS *`.
const ANY_METHOD: &str = "GET, HEAD, POST, PUT, DELETE";

/// The methods of a path, in the order of `Allow`, and what each asks for, given the part of the path that varies.
type Methods = &'static [(&'static str, fn(String) -> Operation)];

/// How every path of the Dapr API begins, but for the slash.
const DAPR: &str = "v1.0";

/// Finds the route of a request. A `HEAD` is a `GET` whose body is not sent. In a path of the Dapr API slashes at its
/// beginning and its end do not count, as with Dapr. A leading `/api` is accepted before every path of the admin and the leases API, because
/// clients of the latter know it from there.
pub fn resolve(method: &Method, path: &str) -> (Dialect, Route) {
    use Operation::{
        Acquire, AcquireAll, AdminLock, AdminRemove, DaprHealth, DaprMetadata, DaprTryLock, DaprUnlock, Document,
        Election, ElectionEvents, Errors, Events, EventsAll, Fence, Hold, HoldAll, Leader, LeaseCreate, LeaseList,
        LeaseRelease, LeaseRemove, LeaseRenew, List, Page, PageFile, PageRedirect, Queue, Release, ReleaseAll, Renew,
        RenewAll, Resign, Show, Status,
    };
    let bare = path.trim_start_matches('/');
    let is_dapr = bare.starts_with(DAPR) && path.starts_with('/');
    // With the one slash that a path begins with.
    let path = if is_dapr { path[path.len() - bare.len() - 1..].trim_end_matches('/') } else { path };
    let stripped = path.strip_prefix("/api").filter(|rest| rest.starts_with('/'));
    // One more than any path of ours has.
    let (mut segments, mut count) = ([""; 5], 0);
    let slash = |text: &str| text.bytes().position(|byte| byte == b'/');
    let mut rest = stripped.unwrap_or(path);
    while let (Some(at), true) = (slash(rest), count < segments.len()) {
        rest = &rest[at + 1..];
        segments[count] = &rest[..slash(rest).unwrap_or(rest.len())];
        count += 1;
    }
    let (dialect, name, methods): (Dialect, &str, Methods) = match &segments[..count] {
        ["admin", "lock"] => (Dialect::Admin, "", &[("POST", |_| AdminLock)]),
        ["admin", "remove-lock"] => (Dialect::Admin, "", &[("DELETE", |_| AdminRemove)]),
        ["cmn", "leasable-locks"] => (Dialect::Leases, "", &[("GET", |_| LeaseList), ("POST", |_| LeaseCreate)]),
        ["cmn", "leasable-locks", "custom", token] => (Dialect::Leases, token, &[("DELETE", LeaseRemove)]),
        ["cmn", "leasable-locks", token] => (Dialect::Leases, token, &[("PUT", LeaseRenew), ("DELETE", LeaseRelease)]),
        ["v1", "locks"] => (Dialect::Native, "", &[("GET", |_| List)]),
        ["v1", "locks", key] => {
            (Dialect::Native, key, &[("GET", Show), ("POST", Acquire), ("PUT", Renew), ("DELETE", Release)])
        }
        ["v1", "locks", key, "queue"] => (Dialect::Native, key, &[("GET", Queue)]),
        ["v1", "status"] => (Dialect::Native, "", &[("GET", |_| Status)]),
        ["v1", "locks", key, "fence"] => (Dialect::Native, key, &[("GET", Fence)]),
        ["v1", "locks", key, "hold"] => (Dialect::Native, key, &[("POST", Hold)]),
        ["v1", "bundles"] => {
            (Dialect::Native, "", &[("POST", |_| AcquireAll), ("PUT", |_| RenewAll), ("DELETE", |_| ReleaseAll)])
        }
        ["v1", "bundles", "hold"] => (Dialect::Native, "", &[("POST", |_| HoldAll)]),
        // Proxies drop the body of a DELETE.
        ["v1", "bundles", "release"] => (Dialect::Native, "", &[("POST", |_| ReleaseAll)]),
        ["v1", "elections", name] => (Dialect::Native, name, &[("GET", Election), ("DELETE", Resign)]),
        ["v1", "elections", name, "events"] => (Dialect::Native, name, &[("GET", ElectionEvents)]),
        // Where clients of other leader electors ask.
        [""] => (Dialect::Native, "", &[("GET", |_| Leader)]),
        ["v1", "locks", key, "events"] => (Dialect::Native, key, &[("GET", Events)]),
        ["v1", "events"] => (Dialect::Native, "", &[("GET", |_| EventsAll)]),
        ["v1.0-alpha1", "lock", store] => (Dialect::Dapr(DaprCall::TryLock), store, &[("POST", DaprTryLock)]),
        ["v1.0-alpha1", "unlock", store] => (Dialect::Dapr(DaprCall::Unlock), store, &[("POST", DaprUnlock)]),
        ["v1.0", "metadata"] => (Dialect::Dapr(DaprCall::Probe), "", &[("GET", |_| DaprMetadata)]),
        ["v1.0", "healthz"] | ["v1.0", "healthz", "outbound"] => {
            (Dialect::Dapr(DaprCall::Health), "", &[("GET", |_| DaprHealth)])
        }
        ["openapi.json"] => (Dialect::None, "", &[("GET", |_| Document)]),
        ["ui"] => (Dialect::None, "", &[("GET", |_| PageRedirect)]),
        ["ui", ""] => (Dialect::None, "", &[("GET", |_| Page)]),
        ["ui", file] => (Dialect::None, file, &[("GET", PageFile)]),
        ["errors"] => (Dialect::None, "", &[("GET", |_| Errors)]),
        _ if (method == Method::CONNECT && path.is_empty()) || (method == Method::OPTIONS && path == "*") => {
            return (Dialect::None, Route::WrongMethod(ANY_METHOD.to_owned()));
        }
        ["v1", "locks", _, _, ..] if stripped.is_none() => return (Dialect::Native, Route::SlashInKey),
        _ if is_dapr => return (Dialect::Dapr(DaprCall::Probe), Route::Nowhere),
        _ => return (Dialect::None, Route::Nowhere),
    };
    if stripped.is_some() && !matches!(dialect, Dialect::Admin | Dialect::Leases) {
        return (Dialect::None, Route::Nowhere);
    }
    let asked = if method == Method::HEAD { "GET" } else { method.as_str() };
    let route = match methods.iter().find(|(allowed, _)| asked == *allowed) {
        Some((_, operation)) => Route::Found(operation(name.to_owned())),
        None => {
            let allowed = methods.iter().map(|(allowed, _)| if *allowed == "GET" { "GET, HEAD" } else { allowed });
            Route::WrongMethod(allowed.collect::<Vec<_>>().join(", "))
        }
    };
    (dialect, route)
}
