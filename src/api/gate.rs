//! The browser's side: which host names we answer to, and whose pages may change locks where the browser lends them the right.

use hyper::header::{HOST, HeaderValue, ORIGIN};
use hyper::http::request::Parts;
use hyper::http::uri::Authority;
use hyper::{HeaderMap, Method, Version};

use super::failure::Failure;
use crate::config::{Address, ListenConfig};

/// Guards one listener.
#[derive(Debug)]
pub struct Gate {
    /// Whether only loopback names (and those allowed) are answered: against DNS rebinding.
    loopback_only: bool,
    allowed_hosts: Vec<String>,
    allowed_origins: Vec<String>,
}

impl Gate {
    pub fn new(config: &ListenConfig) -> Gate {
        Gate {
            loopback_only: matches!(&config.api, Address::Tcp(address) if address.ip().is_loopback()),
            allowed_hosts: config.allowed_hosts.clone(),
            allowed_origins: config.allowed_origins.clone(),
        }
    }

    /// Refuses a request without exactly one host, or for a host that is not ours.
    pub fn admit(&self, parts: &Parts) -> Result<(), Failure> {
        let host = match one_host(&parts.headers)? {
            Some(host) => host,
            None if parts.version < Version::HTTP_11 && !self.loopback_only => return Ok(()),
            None => return Err(Failure::BadRequest("no Host header".to_owned())),
        };
        if let Some(authority) = parts.uri.authority()
            && !authority.as_str().eq_ignore_ascii_case(host.as_str())
        {
            return Err(Failure::BadRequest("the request's target and its Host header name two hosts".to_owned()));
        }
        if self.loopback_only && !self.is_ours(host.host()) {
            return Err(Failure::Forbidden("a foreign host name; see --allowed-hosts"));
        }
        Ok(())
    }

    /// Refuses a change that a page of another site makes, where the browser alone lends it the right: by the user's
    /// cookie, or by standing where callers need not say who they are.
    pub fn admit_page(&self, method: &Method, headers: &HeaderMap) -> Result<(), Failure> {
        const FOREIGN: Failure = Failure::Forbidden("a foreign origin; see --allowed-origins");
        if method.is_safe() {
            return Ok(());
        }
        let mut origins = headers.get_all(ORIGIN).iter();
        let origin = origins.next().map(|origin| origin.to_str().unwrap_or("null"));
        if origins.next().is_some() {
            return Err(FOREIGN);
        }
        if origin.is_some_and(|origin| self.allowed_origins.iter().any(|allowed| allowed == origin)) {
            return Ok(());
        }
        let mut sites = headers.get_all("sec-fetch-site").iter().map(HeaderValue::as_bytes);
        if sites.any(|site| !matches!(site, b"same-origin" | b"none")) {
            return Err(FOREIGN);
        }
        let Some(origin) = origin else { return Ok(()) };
        match one_host(headers)? {
            Some(host) if is_same(origin, host.as_str()) => Ok(()),
            _ => Err(FOREIGN),
        }
    }

    /// Refuses a caller without a credential whose request came through a proxy: it may be anybody's, whatever the
    /// listener's address says.
    pub fn admit_direct(&self, headers: &HeaderMap) -> Result<(), Failure> {
        let by_proxy = |name: &str| matches!(name, "forwarded" | "via") || name.starts_with("x-forwarded");
        match headers.keys().any(|name| by_proxy(name.as_str())) {
            true => Err(Failure::Proxied),
            false => Ok(()),
        }
    }

    fn is_ours(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        let name = host.trim_start_matches('[').trim_end_matches(']');
        let is_loopback = name == "localhost"
            || name.ends_with(".localhost")
            || name.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
        is_loopback || self.allowed_hosts.contains(&host)
    }
}

fn one_host(headers: &HeaderMap) -> Result<Option<Authority>, Failure> {
    let bad = || Failure::BadRequest("the Host header is no host".to_owned());
    let mut hosts = headers.get_all(HOST).iter();
    let Some(host) = hosts.next() else { return Ok(None) };
    if hosts.next().is_some() {
        return Err(Failure::BadRequest("two Host headers".to_owned()));
    }
    let authority = Authority::try_from(host.as_bytes()).map_err(|_| bad())?;
    if authority.as_str().contains('@') {
        return Err(bad());
    }
    Ok(Some(authority))
}

/// Whether an origin is the host that was asked. Its scheme says nothing here: TLS may end before us.
fn is_same(origin: &str, host: &str) -> bool {
    let bare = |authority: &str, port: &str| authority.strip_suffix(port).unwrap_or(authority).to_ascii_lowercase();
    [("http://", ":80"), ("https://", ":443")].into_iter().any(|(scheme, port)| {
        origin.strip_prefix(scheme).is_some_and(|authority| bare(authority, port) == bare(host, port))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::Request;

    fn gate() -> Gate {
        Gate {
            loopback_only: true,
            allowed_hosts: vec!["locks.test".to_owned()],
            allowed_origins: vec!["https://admin.test".to_owned()],
        }
    }

    fn admits(uri: &str, hosts: &[&str]) -> bool {
        let mut request = Request::builder().uri(uri);
        for host in hosts {
            request = request.header(HOST, *host);
        }
        gate().admit(&request.body(()).expect("a request").into_parts().0).is_ok()
    }

    #[test]
    fn a_loopback_listener_answers_to_loopback_names_and_those_allowed() {
        for host in [
            "localhost",
            "localhost:7420",
            "LOCALHOST",
            "127.0.0.1:1",
            "127.9.9.9",
            "[::1]:7420",
            "a.localhost",
            "locks.test",
        ] {
            assert!(admits("/", &[host]), "{host}");
        }
        for host in
            ["evil.test", "localhost.evil.test", "10.0.0.1", "", "a@localhost", "notlocalhost", "127.0.0.1.evil.test"]
        {
            assert!(!admits("/", &[host]), "{host}");
        }
        assert!(!admits("/", &[]), "no host");
        assert!(!admits("/", &["localhost", "localhost"]), "two hosts");
        assert!(admits("http://localhost/x", &["localhost"]));
        assert!(!admits("http://evil.test/x", &["localhost"]));
        assert!(!admits("http://evil.test/x", &["evil.test"]));
    }

    #[test]
    fn another_sites_page_changes_nothing() {
        let admits = |method: Method, headers: &[(&str, &str)]| {
            let mut request = Request::builder().header(HOST, "localhost:7420");
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            gate().admit_page(&method, request.body(()).expect("a request").headers()).is_ok()
        };
        let post = || Method::POST;
        assert!(admits(post(), &[]));
        assert!(admits(post(), &[("origin", "http://localhost:7420")]));
        assert!(admits(post(), &[("sec-fetch-site", "same-origin"), ("origin", "http://localhost:7420")]));
        assert!(admits(post(), &[("sec-fetch-site", "none")]));
        assert!(admits(post(), &[("sec-fetch-site", "cross-site"), ("origin", "https://admin.test")]));
        assert!(!admits(post(), &[("sec-fetch-site", "cross-site")]));
        assert!(!admits(post(), &[("sec-fetch-site", "same-site")]));
        assert!(!admits(post(), &[("sec-fetch-site", "none"), ("sec-fetch-site", "cross-site")]));
        assert!(!admits(post(), &[("origin", "null")]));
        assert!(!admits(post(), &[("origin", "http://localhost:9999")]));
        assert!(!admits(post(), &[("origin", "http://evil.test")]));
        assert!(!admits(post(), &[("origin", "https://admin.test"), ("origin", "http://evil.test")]));
        assert!(admits(Method::GET, &[("sec-fetch-site", "cross-site")]), "reading changes nothing");
    }

    #[test]
    fn a_request_through_a_proxy_is_told_from_one_that_came_directly() {
        let is_direct = |name: &str| {
            let request = Request::builder().header(HOST, "localhost").header(name, "").body(()).expect("a request");
            gate().admit_direct(request.headers()).is_ok()
        };
        for name in ["Forwarded", "Via", "X-Forwarded-For", "x-forwarded-host", "X-Forwarded-Anything", "X-FORWARDED"] {
            assert!(!is_direct(name), "{name}");
        }
        for name in ["Accept", "X-Request-Id", "X-Forward", "Viable", "Traceparent"] {
            assert!(is_direct(name), "{name}");
        }
    }
}
