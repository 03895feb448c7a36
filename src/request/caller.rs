//! Who asks, and from where.

use std::fmt::{self, Display, Formatter};
use std::net::SocketAddr;

/// Where a request came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remote {
    Tcp(SocketAddr),
    /// A process of this machine, over a unix socket.
    Unix,
}

impl Display for Remote {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Remote::Tcp(address) => address.fmt(f),
            Remote::Unix => f.write_str("unix"),
        }
    }
}

/// Who asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Caller {
    /// A user whose token was verified, and how it was sent.
    User(Box<str>, Sender),
    /// A caller with the API token.
    System,
    /// A caller with an API token of its own, by its name.
    Token(Box<str>),
    /// A caller without a credential, or whose credential is not valid.
    #[default]
    Anonymous,
}

/// By what a user's token was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    Header,
    Cookie,
}

impl Caller {
    pub fn kind(&self) -> &'static str {
        match self {
            Caller::User(..) => "user",
            Caller::System | Caller::Token(_) => "system",
            Caller::Anonymous => "anonymous",
        }
    }

    pub fn id(&self) -> &str {
        match self {
            Caller::User(id, _) | Caller::Token(id) => id,
            other => other.kind(),
        }
    }
}
