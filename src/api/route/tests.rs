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
        "/api/",
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
fn a_key_with_a_slash_is_told_from_a_path_that_leads_nowhere() {
    for path in ["/v1/locks/a/b", "/v1/locks/a/fence/", "/v1/locks/a/b/hold", "/v1/locks/a/b/c/d/e"] {
        assert_eq!(resolve(&Method::POST, path), (Dialect::Native, Route::SlashInKey), "{path}");
    }
}

#[test]
fn a_path_of_dapr_is_read_as_dapr_reads_it() {
    let lock = (Dialect::Dapr(DaprCall::TryLock), Route::Found(Operation::DaprTryLock("s".to_owned())));
    for path in ["/v1.0-alpha1/lock/s", "//v1.0-alpha1/lock/s", "/v1.0-alpha1/lock/s/", "///v1.0-alpha1/lock/s//"] {
        assert_eq!(resolve(&Method::POST, path), lock, "{path}");
    }
    for path in ["/v1.0-alpha1/lock", "/v1.0-alpha1/lock/", "/v1.0-alpha1/lock/a/b", "/v1.0/lock/a", "//v1.0", "/v1.0"]
    {
        assert_eq!(resolve(&Method::POST, path), (Dialect::Dapr(DaprCall::Probe), Route::Nowhere), "{path}");
    }
}

#[test]
fn a_head_is_a_get() {
    for path in ["/v1/locks", "/v1/locks/a", "/cmn/leasable-locks", "/v1.0/healthz", "/openapi.json", "/errors"] {
        assert_eq!(resolve(&Method::HEAD, path), resolve(&Method::GET, path), "{path}");
    }
}

#[test]
fn other_methods_are_told_which_ones_are_allowed() {
    let allowed = |(_, route): (Dialect, Route)| match route {
        Route::WrongMethod(allow) => allow,
        other => panic!("{other:?}"),
    };
    assert_eq!(allowed(resolve(&Method::PUT, "/cmn/leasable-locks")), "GET, HEAD, POST");
    assert_eq!(allowed(resolve(&Method::TRACE, "/cmn/leasable-locks/7")), "PUT, DELETE");
    assert_eq!(allowed(resolve(&Method::GET, "/cmn/leasable-locks/custom/7")), "DELETE");
    assert_eq!(allowed(resolve(&Method::OPTIONS, "/admin/remove-lock")), "DELETE");
    assert_eq!(allowed(resolve(&Method::POST, "/v1.0/healthz")), "GET, HEAD");
    assert_eq!(allowed(resolve(&Method::HEAD, "/admin/lock")), "POST");
    assert_eq!(allowed(resolve(&Method::GET, "/v1.0-alpha1/lock/a")), "POST");
    assert_eq!(allowed(resolve(&Method::OPTIONS, "*")), ANY_METHOD);
    assert_eq!(allowed(resolve(&Method::CONNECT, "")), ANY_METHOD);
}
