//! Every path, and what it means. The only place where a path is spelled.

use hyper::Method;

/// An HTTP surface over the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    Admin,
    Leases,
    Native,
    /// Its errors name what was asked for.
    Dapr(DaprCall),
    /// No dialect: a path that leads nowhere.
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
    /// The dialect as a metric label.
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
    /// The path is ours, the method is not; the text is for `Allow`.
    WrongMethod(&'static str),
    Nowhere,
}

/// What some path or other takes, for requests that name none: `CONNECT host:port` and `OPTIONS *`.
const ANY_METHOD: &str = "GET, POST, PUT, DELETE";

/// Finds the route of a request. A leading `/api` is accepted before every path of the admin and leases dialects, since
/// one of them is served from there elsewhere.
pub fn resolve(method: &Method, path: &str) -> (Dialect, Route) {
    use Operation::{
        Acquire, AdminLock, AdminRemove, DaprHealth, DaprMetadata, DaprTryLock, DaprUnlock, Document, Errors, Fence,
        Hold, LeaseCreate, LeaseList, LeaseRelease, LeaseRemove, LeaseRenew, List, Release, Renew, Show,
    };
    use Route::{Found, WrongMethod};

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
    let (dialect, route) = match &segments[..count] {
        ["admin", "lock"] => (
            Dialect::Admin,
            match *method {
                Method::POST => Found(AdminLock),
                _ => WrongMethod("POST"),
            },
        ),
        ["admin", "remove-lock"] => (
            Dialect::Admin,
            match *method {
                Method::DELETE => Found(AdminRemove),
                _ => WrongMethod("DELETE"),
            },
        ),
        ["cmn", "leasable-locks"] => (
            Dialect::Leases,
            match *method {
                Method::GET => Found(LeaseList),
                Method::POST => Found(LeaseCreate),
                _ => WrongMethod("GET, POST"),
            },
        ),
        ["cmn", "leasable-locks", "custom", token] => (
            Dialect::Leases,
            match *method {
                Method::DELETE => Found(LeaseRemove((*token).to_owned())),
                _ => WrongMethod("DELETE"),
            },
        ),
        ["cmn", "leasable-locks", token] => (
            Dialect::Leases,
            match *method {
                Method::PUT => Found(LeaseRenew((*token).to_owned())),
                Method::DELETE => Found(LeaseRelease((*token).to_owned())),
                _ => WrongMethod("PUT, DELETE"),
            },
        ),
        ["v1", "locks"] => (
            Dialect::Native,
            match *method {
                Method::GET => Found(List),
                _ => WrongMethod("GET"),
            },
        ),
        ["v1", "locks", key] => (
            Dialect::Native,
            match *method {
                Method::POST => Found(Acquire((*key).to_owned())),
                Method::PUT => Found(Renew((*key).to_owned())),
                Method::DELETE => Found(Release((*key).to_owned())),
                Method::GET => Found(Show((*key).to_owned())),
                _ => WrongMethod("GET, POST, PUT, DELETE"),
            },
        ),
        ["v1", "locks", key, "fence"] => (
            Dialect::Native,
            match *method {
                Method::GET => Found(Fence((*key).to_owned())),
                _ => WrongMethod("GET"),
            },
        ),
        ["v1", "locks", key, "hold"] => (
            Dialect::Native,
            match *method {
                Method::POST => Found(Hold((*key).to_owned())),
                _ => WrongMethod("POST"),
            },
        ),
        ["v1.0-alpha1", "lock", store] => (
            Dialect::Dapr(DaprCall::TryLock),
            match *method {
                Method::POST => Found(DaprTryLock((*store).to_owned())),
                _ => WrongMethod("POST"),
            },
        ),
        ["v1.0-alpha1", "unlock", store] => (
            Dialect::Dapr(DaprCall::Unlock),
            match *method {
                Method::POST => Found(DaprUnlock((*store).to_owned())),
                _ => WrongMethod("POST"),
            },
        ),
        ["v1.0", "metadata"] => (
            Dialect::Dapr(DaprCall::Probe),
            match *method {
                Method::GET => Found(DaprMetadata),
                _ => WrongMethod("GET"),
            },
        ),
        ["v1.0", "healthz"] | ["v1.0", "healthz", "outbound"] => (
            Dialect::Dapr(DaprCall::Probe),
            match *method {
                Method::GET => Found(DaprHealth),
                _ => WrongMethod("GET"),
            },
        ),
        ["openapi.json"] => (
            Dialect::None,
            match *method {
                Method::GET => Found(Document),
                _ => WrongMethod("GET"),
            },
        ),
        ["errors"] => (
            Dialect::None,
            match *method {
                Method::GET => Found(Errors),
                _ => WrongMethod("GET"),
            },
        ),
        _ if (method == Method::CONNECT && path.is_empty()) || (method == Method::OPTIONS && path == "*") => {
            (Dialect::None, WrongMethod(ANY_METHOD))
        }
        _ => (Dialect::None, Route::Nowhere),
    };
    match dialect {
        Dialect::Native | Dialect::Dapr(_) | Dialect::None if stripped.is_some() => (Dialect::None, Route::Nowhere),
        dialect => (dialect, route),
    }
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
        assert_eq!(resolve(&Method::HEAD, "/cmn/leasable-locks").1, Route::WrongMethod("GET, POST"));
        assert_eq!(resolve(&Method::TRACE, "/cmn/leasable-locks/7").1, Route::WrongMethod("PUT, DELETE"));
        assert_eq!(resolve(&Method::GET, "/cmn/leasable-locks/custom/7").1, Route::WrongMethod("DELETE"));
        assert_eq!(resolve(&Method::OPTIONS, "/admin/remove-lock").1, Route::WrongMethod("DELETE"));
        assert_eq!(resolve(&Method::HEAD, "/v1.0/healthz").1, Route::WrongMethod("GET"));
        assert_eq!(resolve(&Method::GET, "/v1.0-alpha1/lock/a").1, Route::WrongMethod("POST"));
        assert_eq!(resolve(&Method::OPTIONS, "*").1, Route::WrongMethod(ANY_METHOD));
        assert_eq!(resolve(&Method::CONNECT, "").1, Route::WrongMethod(ANY_METHOD));
    }
}
