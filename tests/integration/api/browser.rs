//! The browser's side: which hosts, origins, sites, credentials and methods are let in, row by row, in every dialect,
//! over loopback TCP and over a unix socket. Each request is a bad one, so that whoever is let in is told 400.

use crate::harness::{Scratch, Sidecar, TestRedis, Wire, jwt};

const API_TOKEN: &str = "browser-token";

/// Every operation: method, path, and whether it changes something.
const OPERATIONS: [(Dialect, &str, &str, bool); 16] = [
    (Dialect::Admin, "POST", "/admin/lock", true),
    (Dialect::Admin, "DELETE", "/api/admin/remove-lock", true),
    (Dialect::Leases, "GET", "/cmn/leasable-locks?limit=0", false),
    (Dialect::Leases, "POST", "/cmn/leasable-locks", true),
    (Dialect::Leases, "PUT", "/api/cmn/leasable-locks/x", true),
    (Dialect::Leases, "DELETE", "/cmn/leasable-locks/x", true),
    (Dialect::Leases, "DELETE", "/cmn/leasable-locks/custom/x", true),
    (Dialect::Native, "GET", "/v1/locks?limit=0", false),
    (Dialect::Native, "GET", "/v1/locks/%00", false),
    (Dialect::Native, "GET", "/v1/locks/a/fence", false),
    (Dialect::Native, "POST", "/v1/locks/a", true),
    (Dialect::Native, "PUT", "/v1/locks/a", true),
    (Dialect::Native, "DELETE", "/v1/locks/a", true),
    (Dialect::Native, "POST", "/v1/locks/a/hold", true),
    (Dialect::Dapr, "POST", "/v1.0-alpha1/lock/lockstore", true),
    (Dialect::Dapr, "POST", "/v1.0-alpha1/unlock/lockstore", true),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dialect {
    Admin,
    Leases,
    Native,
    Dapr,
}

/// A sidecar on each kind of listener, with and without an API token.
struct Place {
    wire: Wire,
    is_unix: bool,
    known: Known,
    _sidecar: Sidecar,
    _scratch: Scratch,
}

async fn places() -> Vec<Place> {
    let mut places = Vec::new();
    for is_unix in [false, true] {
        for known in [Known::Nothing, Known::Jwt, Known::JwtAndToken] {
            let scratch = Scratch::new();
            let token = scratch.file("token", API_TOKEN);
            let listen = if is_unix { format!("unix:{}", scratch.path("api")) } else { "127.0.0.1:0".to_owned() };
            let secret = scratch.file("secret", jwt::SECRET);
            let mut flags = vec!["--listen", &listen];
            flags.extend(["--allowed-hosts=locks.test", "--allowed-origins=https://admin.test"]);
            if known != Known::Nothing {
                flags.extend(["--jwt-secret-file", &secret]);
            }
            if known == Known::JwtAndToken {
                flags.extend(["--api-token-file", &token]);
            }
            let sidecar = Sidecar::start(TestRedis::shared(), &flags).await;
            let wire = Wire::new(sidecar.api_address());
            places.push(Place { wire, is_unix, known, _sidecar: sidecar, _scratch: scratch });
        }
    }
    places
}

/// What a sidecar can know its callers by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    Nothing,
    Jwt,
    JwtAndToken,
}

/// What a caller shows of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shown {
    Nothing,
    Cookie,
    BadCookie,
    Bearer,
    Token,
    TokenBesideCookie,
}

const SHOWN: [Shown; 6] =
    [Shown::Nothing, Shown::Cookie, Shown::BadCookie, Shown::Bearer, Shown::Token, Shown::TokenBesideCookie];

/// How a credential is met before anything else is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Met {
    /// Good, and shown on purpose: no page of another site can do that.
    Explicit,
    /// Good, and the browser's doing: counts for changes only when no other site's page is behind it.
    Ambient,
    /// Good, and of somebody who is not served.
    Barred,
    Refused,
}

impl Shown {
    fn lines(self) -> String {
        let cookie = format!("Cookie: refreshToken={}\r\n", jwt::editor("alice"));
        let bearer = |token: &str| format!("Authorization: Bearer {token}\r\n");
        match self {
            Shown::Nothing => String::new(),
            Shown::Cookie => cookie,
            Shown::BadCookie => "Cookie: refreshToken=a.b.c\r\n".to_owned(),
            Shown::Bearer => bearer(&jwt::editor("alice")),
            Shown::Token => bearer(API_TOKEN),
            Shown::TokenBesideCookie => bearer(API_TOKEN) + &cookie,
        }
    }

    #[rustfmt::skip]
    fn met(self, dialect: Dialect, known: Known) -> Met {
        use {Dialect::{Admin, Dapr, Leases, Native}, Known::{Jwt, JwtAndToken}, Met::{Ambient, Barred, Explicit, Refused}};
        match (self, dialect, known) {
            // where neither is known, a cookie is not for us, and an Authorization header is still no good
            (Shown::Nothing | Shown::Cookie | Shown::BadCookie, Leases | Native | Dapr, Known::Nothing) => Ambient,
            (_,                        _,               Known::Nothing) => Refused,
            // the owners of the Dapr dialect are system owners
            (Shown::Cookie | Shown::Bearer, Dapr,       _)              => Barred,
            (Shown::Cookie,            _,               _)              => Ambient,
            (Shown::BadCookie,         _,               _)              => Refused,
            // the admin dialect looks at the cookie alone
            (Shown::TokenBesideCookie, Admin,           _)              => Ambient,
            (_,                        Admin,           _)              => Refused,
            (Shown::Bearer,            _,               _)              => Explicit,
            (Shown::Token | Shown::TokenBesideCookie, _, JwtAndToken)   => Explicit,
            (Shown::Token | Shown::TokenBesideCookie, _, _)             => Refused,
            // on this machine these two ask nobody, until a token is set
            (Shown::Nothing,           Native | Dapr,   Jwt)            => Ambient,
            (Shown::Nothing,           _,               _)              => Refused,
        }
    }
}

const SITES: [&[&str]; 7] =
    [&[], &["same-origin"], &["none"], &["same-site"], &["cross-site"], &["Same-Origin"], &["none", "cross-site"]];

/// Which pages may change something by the browser's doing: a row an `Origin`, a column an entry of [`SITES`].
#[rustfmt::skip]
const PAGES: [(&[&str], &str); 11] = [
    //                                                       -  same-origin  none  same-site  cross-site  Same-Origin  two
    (&[],                                                   "+  +            +     -          -           -            -"),
    (&["http://localhost:7420"],                            "+  +            +     -          -           -            -"),
    (&["https://localhost:7420"],                           "+  +            +     -          -           -            -"),
    (&["https://admin.test"],                               "+  +            +     +          +           +            +"),
    (&["http://admin.test"],                                "-  -            -     -          -           -            -"),
    (&["null"],                                             "-  -            -     -          -           -            -"),
    (&["http://localhost"],                                 "-  -            -     -          -           -            -"),
    (&["http://localhost:7420.evil.test"],                  "-  -            -     -          -           -            -"),
    (&["https://evil.test"],                                "-  -            -     -          -           -            -"),
    (&["https://admin.test.evil.test"],                     "-  -            -     -          -           -            -"),
    (&["https://admin.test", "https://evil.test"],          "-  -            -     -          -           -            -"),
];

#[tokio::test]
async fn a_page_of_another_site_changes_nothing_by_the_browsers_doing() {
    let mut rows = 0;
    for mut place in places().await {
        for (dialect, method, path, changes) in OPERATIONS {
            for shown in SHOWN {
                let (met, credential) = (shown.met(dialect, place.known), shown.lines());
                for (origins, verdicts) in PAGES {
                    let verdicts: Vec<&str> = verdicts.split_whitespace().collect();
                    assert_eq!(verdicts.len(), SITES.len());
                    for (sites, verdict) in SITES.iter().zip(verdicts) {
                        let expected = match met {
                            Met::Refused => 401,
                            Met::Barred => 403,
                            Met::Ambient if changes && verdict == "-" => 403,
                            Met::Ambient | Met::Explicit => 400,
                        };
                        let lines = |name: &str, values: &[&str]| {
                            values.iter().map(|value| format!("{name}: {value}\r\n")).collect::<String>()
                        };
                        let head = lines("Origin", origins) + &lines("Sec-Fetch-Site", sites) + &credential;
                        let request = format!(
                            "{method} {path} HTTP/1.1\r\nHost: localhost:7420\r\n{head}Content-Length: 1\r\n\r\n{{"
                        );
                        let said = place.wire.ask(&request);
                        let row = (place.is_unix, place.known, method, path, shown, origins, sites);
                        assert_eq!(said.status, expected, "{row:?}: {}", said.body);
                        // No other page may read the answer.
                        let readers = (origins == ["https://admin.test"]).then_some("https://admin.test");
                        assert_eq!(said.header("access-control-allow-origin"), readers, "{row:?}");
                        rows += 1;
                    }
                }
            }
        }
    }
    println!("{rows} rows");
}

/// What becomes of a request by its target and its `Host` headers, on loopback TCP and on a unix socket, both with
/// `--allowed-hosts`. 400 is both
/// whoever is let in and whoever names no host or two, so that the reason tells them apart.
#[rustfmt::skip]
const HOSTS: [(&str, &[&str], &str, &str); 24] = [
    // before the path      Host                               loopback       unix
    ("",                    &["localhost"],                    "let in",          "let in"),
    ("",                    &["LocalHost:1"],                  "let in",          "let in"),
    ("",                    &["127.0.0.1:7420"],               "let in",          "let in"),
    ("",                    &["127.9.9.9"],                    "let in",          "let in"),
    ("",                    &["[::1]:7420"],                   "let in",          "let in"),
    ("",                    &["app.localhost"],                "let in",          "let in"),
    ("",                    &["Locks.Test:8"],                 "let in",          "let in"),
    ("",                    &["evil.test"],                    "foreign",     "foreign"),
    ("",                    &["localhost.evil.test"],          "foreign",     "foreign"),
    ("",                    &["127.0.0.1.evil.test"],          "foreign",     "foreign"),
    ("",                    &["a.locks.test"],                 "foreign",     "foreign"),
    ("",                    &["10.0.0.1"],                     "foreign",     "foreign"),
    ("",                    &["[fe80::1]"],                    "foreign",     "foreign"),
    ("",                    &[],                               "no Host",     "no Host"),
    ("",                    &["localhost", "localhost"],       "two Host",    "two Host"),
    ("",                    &["localhost", "evil.test"],       "two Host",    "two Host"),
    ("",                    &[""],                             "is no host",  "is no host"),
    ("",                    &["a b"],                          "is no host",  "is no host"),
    ("",                    &["evil.test@localhost"],          "is no host",  "is no host"),
    ("http://localhost",    &["localhost"],                    "let in",          "let in"),
    ("http://evil.test",    &["localhost"],                    "two hosts",   "two hosts"),
    ("http://localhost",    &["evil.test"],                    "two hosts",   "two hosts"),
    ("http://a@localhost",  &["localhost"],                    "two hosts",   "two hosts"),
    ("http://evil.test",    &["evil.test"],                    "foreign",     "foreign"),
];

#[tokio::test]
async fn a_request_names_one_host_and_on_loopback_one_of_ours() {
    for mut place in places().await {
        for (dialect, method, path, _) in OPERATIONS {
            for shown in [Shown::Nothing, Shown::Cookie, Shown::Bearer, Shown::Token] {
                for (before, hosts, on_loopback, on_unix) in HOSTS {
                    let verdict = if place.is_unix { on_unix } else { on_loopback };
                    let expected = match verdict {
                        "let in" if shown.met(dialect, place.known) == Met::Refused => 401,
                        "let in" if shown.met(dialect, place.known) == Met::Barred => 403,
                        "foreign" => 403,
                        _ => 400,
                    };
                    let hosts: String = hosts.iter().map(|host| format!("Host: {host}\r\n")).collect();
                    let lines = shown.lines();
                    let request =
                        format!("{method} {before}{path} HTTP/1.1\r\n{hosts}{lines}Content-Length: 1\r\n\r\n{{");
                    let said = place.wire.ask(&request);
                    assert_eq!(said.status, expected, "{} {shown:?} {request}{}", place.is_unix, said.body);
                    if expected == 400 && dialect == Dialect::Native {
                        assert_eq!(said.body.contains(verdict), verdict != "let in", "{request}{}", said.body);
                    }
                }
            }
        }
        let old = place.wire.ask("GET /v1/locks?limit=0 HTTP/1.0\r\nAuthorization: Bearer x\r\n\r\n");
        assert_eq!(old.status, 400, "a host is asked for also before HTTP/1.1: {}", old.body);
    }
}

#[tokio::test]
async fn every_other_method_is_405_with_the_right_ones() {
    const METHODS: [&str; 14] = [
        "GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "QUERY", "get",
        "X-Y", "M-SEARCH",
    ];
    let paths = [
        ("/admin/lock", "POST"),
        ("/api/admin/remove-lock", "DELETE"),
        ("/cmn/leasable-locks", "GET, HEAD, POST"),
        ("/cmn/leasable-locks/7", "PUT, DELETE"),
        ("/cmn/leasable-locks/custom/7", "DELETE"),
        ("/v1/locks", "GET, HEAD"),
        ("/v1/locks/a", "GET, HEAD, POST, PUT, DELETE"),
        ("/v1/locks/a/fence", "GET, HEAD"),
        ("/v1/locks/a/hold", "POST"),
        ("/v1.0-alpha1/lock/a", "POST"),
        ("/v1.0-alpha1/unlock/a", "POST"),
        ("/v1.0/metadata", "GET, HEAD"),
        ("/v1.0/healthz", "GET, HEAD"),
        ("/v1.0/healthz/outbound", "GET, HEAD"),
    ];
    for mut place in places().await {
        let mut refused = |method: &str, target: &str, allow: &str| {
            for shown in [Shown::Nothing, Shown::Cookie, Shown::Bearer] {
                let preflight = "Origin: https://evil.test\r\nAccess-Control-Request-Method: POST\r\n";
                for more in ["", preflight] {
                    let lines = shown.lines();
                    let request = format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\n{more}{lines}\r\n");
                    let said = place.wire.ask(&request);
                    // A page asks, and is told that its origin may not.
                    let is_preflight = method == "OPTIONS" && !more.is_empty();
                    // Dapr asks for the API token first, where there is one.
                    let has_token = place.known == Known::JwtAndToken && target.starts_with("/v1.0");
                    let is_unknown = has_token && !target.contains("healthz") && shown == Shown::Nothing;
                    let expected = match () {
                        () if is_preflight => (403, None),
                        () if is_unknown => (401, None),
                        () => (405, Some(allow)),
                    };
                    assert_eq!((said.status, said.header("allow")), expected, "{request}{}", said.body);
                    assert!(!said.head.to_lowercase().contains("access-control"), "{}", said.head);
                    assert!(!said.body.contains("refreshToken"), "TRACE would show the cookie: {}", said.body);
                }
            }
        };
        for (path, allow) in paths {
            for method in METHODS.iter().filter(|method| !allow.split(", ").any(|allowed| allowed == **method)) {
                refused(method, path, allow);
            }
        }
        refused("OPTIONS", "*", "GET, HEAD, POST, PUT, DELETE");
        refused("CONNECT", "localhost", "GET, HEAD, POST, PUT, DELETE");
        let elsewhere = place.wire.ask("CONNECT evil.test:443 HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert_eq!(elsewhere.status, 400, "{}", elsewhere.body);
    }
}
