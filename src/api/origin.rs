//! The browser's side: which host names are answered, and which origins' pages may change locks with what the browser adds.

use std::sync::OnceLock;
use std::time::Instant;

use hyper::header::{HOST, HeaderName, HeaderValue, ORIGIN};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, Version};

use super::cors;
use super::failure::{Denial, Failure};
use super::hosts::{Hosts, one_host};
use super::settings::ListenConfig;
use crate::headers::values;
use crate::log::Reminders;
use crate::server::{Address, Response};

static SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Guards one listener.
#[derive(Debug)]
pub struct Gate {
    /// Which host names are answered; `None`: all.
    hosts: Option<Hosts>,
    allowed_origins: Vec<String>,
    /// A Host header that was admitted: nearly all requests have one and the same.
    admitted: OnceLock<HeaderValue>,
    /// Bounds the log lines of what is refused.
    reminders: Reminders,
}

impl Gate {
    pub fn new(config: &ListenConfig, listener: &Address) -> Gate {
        let own = listener.socket().map(|address| address.ip());
        let is_guarded = own.is_some_and(|ip| ip.is_loopback()) || !config.allowed_hosts.is_empty();
        Gate {
            hosts: is_guarded.then(|| Hosts { own, allowed: config.allowed_hosts.clone() }),
            allowed_origins: config.allowed_origins.clone(),
            admitted: OnceLock::new(),
            reminders: Reminders::default(),
        }
    }

    /// Refuses a request without exactly one host, or for a host that is not allowed.
    pub fn admit(&self, parts: &Parts) -> Result<(), Failure> {
        self.told(self.judge_host(parts), &parts.method, &parts.headers)
    }

    fn judge_host(&self, parts: &Parts) -> Result<(), Failure> {
        let mut hosts = values(&parts.headers, HOST);
        let (first, has_more) = (hosts.next(), hosts.next().is_some());
        if first.is_some() && first == self.admitted.get() && !has_more && parts.uri.authority().is_none() {
            return Ok(());
        }
        let host = match one_host(&parts.headers)? {
            Some(host) => host,
            None if parts.version < Version::HTTP_11 && self.hosts.is_none() => return Ok(()),
            None => return Err(Failure::BadRequest("no Host header".to_owned())),
        };
        if let Some(authority) = parts.uri.authority()
            && !authority.as_str().eq_ignore_ascii_case(host.as_str())
        {
            return Err(Failure::BadRequest("the request's target and its Host header name two hosts".to_owned()));
        }
        if self.hosts.as_ref().is_some_and(|hosts| !hosts.admit(host.host())) {
            return Err(Failure::Forbidden(Denial::Host));
        }
        if let Some(host) = first {
            let _ = self.admitted.set(host.clone());
        }
        Ok(())
    }

    /// Refuses a change by a cross-origin page, for callers whose right comes from the browser alone: from the cookie that it
    /// adds, or from its place on a network where callers need not authenticate.
    pub fn admit_page(&self, method: &Method, headers: &HeaderMap) -> Result<(), Failure> {
        self.told(self.judge_page(method, headers), method, headers)
    }

    fn judge_page(&self, method: &Method, headers: &HeaderMap) -> Result<(), Failure> {
        const FOREIGN: Failure = Failure::Forbidden(Denial::Origin);
        if method.is_safe() {
            return Ok(());
        }
        if self.allowed_origin(headers).is_some() {
            return Ok(());
        }
        let mut origins = values(headers, ORIGIN);
        let origin = origins.next().map(|origin| origin.to_str().unwrap_or("null"));
        if origins.next().is_some() {
            return Err(FOREIGN);
        }
        if is_of_another_site(headers) {
            return Err(FOREIGN);
        }
        let Some(origin) = origin else { return Ok(()) };
        match one_host(headers)? {
            Some(host) if is_same(origin, host.as_str()) => Ok(()),
            _ => Err(FOREIGN),
        }
    }

    /// The origin of a request, where it is one of `--allowed-origins`.
    pub fn allowed_origin<'a>(&self, headers: &'a HeaderMap) -> Option<&'a HeaderValue> {
        cors::origin(&self.allowed_origins, headers)
    }

    /// The answer to a browser that asks whether a page may send a request; see [`cors::preflight`].
    pub fn preflight(&self, parts: &Parts) -> Option<Result<Response, Failure>> {
        let answer = cors::preflight(&self.allowed_origins, parts)?;
        Some(self.told(answer, &parts.method, &parts.headers))
    }

    /// Whether any origin is allowed beside the listener's own.
    pub fn has_allowed_origins(&self) -> bool {
        !self.allowed_origins.is_empty()
    }

    /// Refuses a caller without a credential whose request came through a proxy: it may come from anywhere, also on a
    /// loopback listener.
    pub fn admit_direct(&self, method: &Method, headers: &HeaderMap) -> Result<(), Failure> {
        let by_proxy = |name: &str| matches!(name, "forwarded" | "via") || name.starts_with("x-forwarded");
        match headers.keys().any(|name| by_proxy(name.as_str())) {
            true => self.told(Err(Failure::Proxied), method, headers),
            false => Ok(()),
        }
    }

    /// Warns, once a minute for each reason, of what is refused here: a setting is wrong, or a proxy in between.
    fn told<T>(&self, verdict: Result<T, Failure>, method: &Method, headers: &HeaderMap) -> Result<T, Failure> {
        verdict.inspect_err(|failure| {
            if let Some(denial) = failure.denied_for()
                && self.reminders.admit(denial, Instant::now())
            {
                let [host, page] = [HOST, ORIGIN].map(|name| headers.get(name).and_then(|value| value.to_str().ok()));
                tracing::warn!(%method, host, page, "requests are refused: {}", failure.reason());
            }
        })
    }
}

/// Whether an origin is the host that was asked. Its scheme is ignored, because a proxy may terminate TLS.
fn is_same(origin: &str, host: &str) -> bool {
    let bare = |authority: &str, port: &str| authority.strip_suffix(port).unwrap_or(authority).to_ascii_lowercase();
    [("http://", ":80"), ("https://", ":443")].into_iter().any(|(scheme, port)| {
        origin.strip_prefix(scheme).is_some_and(|authority| bare(authority, port) == bare(host, port))
    })
}

/// Whether a browser says that a page of another site, or of another origin, sent a request.
pub fn is_of_another_site(headers: &HeaderMap) -> bool {
    let mut sites = values(headers, &SEC_FETCH_SITE).map(HeaderValue::as_bytes);
    sites.any(|site| !matches!(site, b"same-origin" | b"none"))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use hyper::Request;

    fn gate() -> Gate {
        Gate {
            hosts: Some(Hosts { own: Some(Ipv4Addr::LOCALHOST.into()), allowed: vec!["locks.test".to_owned()] }),
            allowed_origins: vec!["https://admin.test".to_owned()],
            admitted: OnceLock::new(),
            reminders: Reminders::default(),
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
            gate().admit_direct(&Method::GET, request.headers()).is_ok()
        };
        for name in ["Forwarded", "Via", "X-Forwarded-For", "x-forwarded-host", "X-Forwarded-Anything", "X-FORWARDED"] {
            assert!(!is_direct(name), "{name}");
        }
        for name in ["Accept", "X-Request-Id", "X-Forward", "Viable", "Traceparent"] {
            assert!(is_direct(name), "{name}");
        }
    }
}
