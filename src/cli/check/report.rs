//! What the checks are called, how each ended, and how that is written.

use std::fmt::Display;

use serde::Serialize;

use crate::cli::view::printable;
use crate::readiness::{Finding, Warning};

/// The checks, in their order, and what each is called.
macro_rules! names {
    ($($name:ident $label:literal),+ $(,)?) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Name {
            $($name),+
        }

        impl Name {
            pub fn label(self) -> &'static str {
                match self {
                    $(Name::$name => $label),+
                }
            }
        }
    };
}

names! {
    Dns "dns",
    Tcp "tcp",
    Tls "tls",
    Auth "auth",
    Rights "rights",
    Version "version",
    Persistence "persistence",
    Eviction "eviction",
    Policy "policy",
    Replicas "replicas",
    Clock "clock",
    Listeners "listeners",
    Proxies "proxies",
}

/// How a check ended, from the best to the worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    Ok,
    Skipped,
    Warn,
    Fail,
}

impl Status {
    /// At the beginning of a line.
    fn word(self) -> &'static str {
        match self {
            Status::Ok => "ok",
            Status::Skipped => "skipped",
            Status::Warn => "warn",
            Status::Fail => "FAIL",
        }
    }

    fn label(self) -> &'static str {
        match self {
            Status::Fail => "fail",
            other => other.word(),
        }
    }
}

/// A check that has ended.
#[derive(Clone, Debug)]
pub struct Check {
    pub name: Name,
    pub status: Status,
    detail: String,
    /// What to change, where something should be.
    change: Option<String>,
    /// From the root of the repository.
    page: String,
}

/// A check as `--json` writes it.
#[derive(Serialize)]
pub struct Row<'a> {
    name: &'static str,
    status: &'static str,
    detail: &'a str,
    change: Option<&'a str>,
    page: String,
}

/// What `--json` writes.
#[derive(Serialize)]
pub struct Report<'a> {
    pub checks: Vec<Row<'a>>,
}

impl Check {
    fn new(name: Name, status: Status, detail: String, change: Option<String>) -> Check {
        Check { name, status, detail, change, page: format!("docs/operations/check.md#{}", name.label()) }
    }

    pub fn ok(name: Name, detail: impl Into<String>) -> Check {
        Check::new(name, Status::Ok, detail.into(), None)
    }

    pub fn skipped(name: Name, why: impl Into<String>) -> Check {
        Check::new(name, Status::Skipped, why.into(), None)
    }

    pub fn warn(name: Name, detail: impl Into<String>, change: impl Into<String>) -> Check {
        Check::new(name, Status::Warn, detail.into(), Some(change.into()))
    }

    pub fn fail(name: Name, detail: impl Into<String>, change: impl Into<String>) -> Check {
        Check::new(name, Status::Fail, detail.into(), Some(change.into()))
    }

    /// A sentence of the sidecar, which says what to change behind its last semicolon, or else `change`.
    pub fn said(name: Name, status: Status, text: &str, change: &str) -> Check {
        let (detail, change) = text.rsplit_once("; ").unwrap_or((text, change));
        Check::new(name, status, detail.to_owned(), Some(change.to_owned()))
    }

    /// What readiness would say; `None` where it says nothing. Of several findings the worst says what to change.
    pub fn found(name: Name, findings: &[&Finding]) -> Option<Check> {
        let status = |finding: &Finding| match finding {
            Finding { blocks: true, .. } | Finding { warning: Warning::Eviction, .. } => Status::Fail,
            _ => Status::Warn,
        };
        let worst = findings.iter().rev().max_by_key(|finding| status(finding))?;
        let mut check = Check::said(name, status(worst), &worst.text, change(worst.warning));
        for other in findings.iter().filter(|other| other.warning != worst.warning) {
            check.detail.push_str(&format!("; also: {}", other.text));
        }
        Some(Check { page: format!("docs/operations/redis.md#{}", worst.warning.code()), ..check })
    }

    /// Says, too, that the check left something behind: a warning at least.
    pub fn with(self, leftover: &str) -> Check {
        let change = || "look into the log of Redis, and delete the keys there".to_owned();
        let detail = format!("{}; {leftover}", self.detail);
        let (status, change) = (self.status.max(Status::Warn), self.change.unwrap_or_else(change));
        Check { status, detail, change: Some(change), ..self }
    }

    /// For machines; its page is absolute where the documents are at `docs_url`.
    pub fn row(&self, docs_url: Option<&str>) -> Row<'_> {
        let Check { name, status, detail, change, .. } = self;
        let (name, status, change) = (name.label(), status.label(), change.as_deref());
        Row { name, status, detail, change, page: self.page(docs_url) }
    }

    fn page(&self, docs_url: Option<&str>) -> String {
        docs_url.map_or_else(|| self.page.clone(), |url| format!("{url}/{}", self.page))
    }

    /// For people: what to change, and where more is said, stand on lines of their own.
    pub fn lines(&self, docs_url: Option<&str>) -> String {
        let Check { name, status, detail, change, .. } = self;
        let mut lines = format!("{:<8} {:<12} {}", status.word(), name.label(), printable(detail));
        if let Some(change) = change {
            let page = self.page(docs_url);
            lines.push_str(&format!("\n{:22}change: {}\n{:22}see: {page}", "", printable(change), ""));
        }
        lines
    }
}

/// What to change where the sentence of a warning does not say it.
fn change(warning: Warning) -> &'static str {
    match warning {
        Warning::Rights => "give the user of Redis the rights of deploy/redis/lockside.acl",
        Warning::Version => "install Redis 7.0 or later",
        Warning::Persistence => "set appendonly to yes",
        Warning::Eviction => "set maxmemory-policy to noeviction",
        Warning::Memory => "raise maxmemory, or delete data that is not a lock",
        Warning::Cluster | Warning::Replica => "correct --redis-url",
        Warning::NoGoodReplica | Warning::MinReplicas | Warning::NoReplica => {
            "restore the replicas, or ask for fewer with --min-replicas"
        }
        _ => "look into the log of Redis",
    }
}

/// Sentences as one.
pub fn joined(sentences: impl IntoIterator<Item = impl Display>) -> String {
    sentences.into_iter().map(|sentence| sentence.to_string()).collect::<Vec<_>>().join(", ")
}
