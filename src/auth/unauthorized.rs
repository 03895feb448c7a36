//! Why a credential is not accepted.

/// A credential that is not accepted. The text is for the log: it says why, and shows nothing of the credential.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unauthorized {
    /// It is no good.
    #[error("{0}")]
    Refused(String),
    /// A token names a key, and there is none of this name.
    #[error("{0}")]
    UnknownKey(String),
    /// The client certificate of the connection has expired, or is not trusted any more.
    #[error("the client certificate: {0}")]
    Certificate(String),
    /// The keys that would tell were not fetched yet: why.
    #[error("{0}")]
    NoKeys(String),
}

pub fn refused(why: impl Into<String>) -> Unauthorized {
    Unauthorized::Refused(why.into())
}
