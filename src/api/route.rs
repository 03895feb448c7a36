//! Every path, and what it means. The only place where a path is spelled.

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
    /// Whether the sidecar is there, and what it offers.
    Probe,
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
    Fence(String),
    Hold(String),
    DaprTryLock(String),
    DaprUnlock(String),
    DaprMetadata,
    DaprHealth,
    Document,
    Errors,
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
            Operation::Acquire(_) => "acquire",
            Operation::Renew(_) => "renew",
            Operation::Release(_) => "release",
            Operation::Show(_) => "show",
            Operation::Fence(_) => "fence",
            Operation::Hold(_) => "hold",
            Operation::DaprTryLock(_) => "try_lock",
            Operation::DaprUnlock(_) => "unlock",
            Operation::DaprMetadata => "metadata",
            Operation::DaprHealth => "health",
            Operation::Document => "openapi",
            Operation::Errors => "errors",
        }
    }
}

/// Where a request leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    Found(Operation),
    /// The path exists, but not with this method; the text is for `Allow`.
    WrongMethod(String),
    Nowhere,
}

/// The methods of all paths, for requests that name no path: `CONNECT host:port` and `OPTIONS *`.
const ANY_METHOD: &str = "GET, POST, PUT, DELETE";

/// The methods of a path, in the order of `Allow`, and what each asks for, given the part of the path that varies.
type Methods = &'static [(&'static str, fn(String) -> Operation)];

/// Finds the route of a request. A leading `/api` is accepted before every path of the admin and the leases API, because
/// clients of the latter know it from there.
pub fn resolve(method: &Method, path: &str) -> (Dialect, Route) {
    use Operation::{
        Acquire, AdminLock, AdminRemove, DaprHealth, DaprMetadata, DaprTryLock, DaprUnlock, Document, Errors, Fence,
        Hold, LeaseCreate, LeaseList, LeaseRelease, LeaseRemove, LeaseRenew, List, Release, Renew, Show,
    };
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
        ["v1", "locks", key, "fence"] => (Dialect::Native, key, &[("GET", Fence)]),
        ["v1", "locks", key, "hold"] => (Dialect::Native, key, &[("POST", Hold)]),
        ["v1.0-alpha1", "lock", store] => (Dialect::Dapr(DaprCall::TryLock), store, &[("POST", DaprTryLock)]),
        ["v1.0-alpha1", "unlock", store] => (Dialect::Dapr(DaprCall::Unlock), store, &[("POST", DaprUnlock)]),
        ["v1.0", "metadata"] => (Dialect::Dapr(DaprCall::Probe), "", &[("GET", |_| DaprMetadata)]),
        ["v1.0", "healthz"] | ["v1.0", "healthz", "outbound"] => {
            (Dialect::Dapr(DaprCall::Probe), "", &[("GET", |_| DaprHealth)])
        }
        ["openapi.json"] => (Dialect::None, "", &[("GET", |_| Document)]),
        ["errors"] => (Dialect::None, "", &[("GET", |_| Errors)]),
        _ if (method == Method::CONNECT && path.is_empty()) || (method == Method::OPTIONS && path == "*") => {
            return (Dialect::None, Route::WrongMethod(ANY_METHOD.to_owned()));
        }
        _ => return (Dialect::None, Route::Nowhere),
    };
    if stripped.is_some() && !matches!(dialect, Dialect::Admin | Dialect::Leases) {
        return (Dialect::None, Route::Nowhere);
    }
    let route = match methods.iter().find(|(allowed, _)| method == allowed) {
        Some((_, operation)) => Route::Found(operation(name.to_owned())),
        None => Route::WrongMethod(methods.iter().map(|(allowed, _)| *allowed).collect::<Vec<_>>().join(", ")),
    };
    (dialect, route)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_is_found_with_and_without_api() {
        let renew = (Dialect::Leases, Route::Found(Operation::LeaseRenew("7".to_owned())));
        assert_eq!(resolve(&Method::PUT, "/cmn/leasable-locks/7"), renew);
        assert_eq!(resolve(&Method::PUT, "/api/cmn/leasable-locks/7"), renew);
        let lock = (Dialect::Admin, Route::Found(Operation::AdminLock));
        assert_eq!(resolve(&Method::POST, "/admin/lock"), lock);
        assert_eq!(resolve(&Method::POST, "/api/admin/lock"), lock);
    }

    #[test]
    fn other_paths_lead_nowhere() {
        for path in [
            "/api/v1/locks",
            "/api/v1.0/metadata",
            "/v1.0-alpha1/lock",
            "/v1.0-alpha1/lock/a/b",
            "/v1.0/lock/a",
            "/v1/locks/a/b",
            "/v1/locks/a/fence/",
            "/",
            "",
            "*",
            "/api",
            "/apiadmin/lock",
            "/api/api/admin/lock",
            "/admin/lock/",
            "//admin/lock",
        ] {
            assert_eq!(resolve(&Method::POST, path), (Dialect::None, Route::Nowhere), "{path}");
        }
    }

    #[test]
    fn other_methods_are_told_which_ones_are_allowed() {
        let allowed = |(_, route): (Dialect, Route)| match route {
            Route::WrongMethod(allow) => allow,
            other => panic!("{other:?}"),
        };
        assert_eq!(allowed(resolve(&Method::HEAD, "/cmn/leasable-locks")), "GET, POST");
        assert_eq!(allowed(resolve(&Method::TRACE, "/cmn/leasable-locks/7")), "PUT, DELETE");
        assert_eq!(allowed(resolve(&Method::GET, "/cmn/leasable-locks/custom/7")), "DELETE");
        assert_eq!(allowed(resolve(&Method::OPTIONS, "/admin/remove-lock")), "DELETE");
        assert_eq!(allowed(resolve(&Method::HEAD, "/v1.0/healthz")), "GET");
        assert_eq!(allowed(resolve(&Method::GET, "/v1.0-alpha1/lock/a")), "POST");
        assert_eq!(allowed(resolve(&Method::OPTIONS, "*")), ANY_METHOD);
        assert_eq!(allowed(resolve(&Method::CONNECT, "")), ANY_METHOD);
    }
}
