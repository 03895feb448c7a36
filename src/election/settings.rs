//! Which elections this sidecar is a candidate of, and when it may stand.

use std::time::Duration;

use url::Url;

use crate::lock::{Key, Ttl};
use crate::tls::Tls;

#[derive(Clone, Debug)]
pub struct ElectionConfig {
    pub elections: Vec<ElectionSettings>,
    /// By which name it stands.
    pub candidate: String,
    /// For how long a leader leads unless it is renewed.
    pub ttl: Ttl,
    pub condition: Condition,
}

/// An election: its name, and the lock that the leader holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ElectionSettings {
    pub name: String,
    pub key: Key,
}

/// When this sidecar may stand.
#[derive(Clone, Debug)]
pub enum Condition {
    Always,
    /// While the app answers this URL, http or https, with a success.
    Healthy {
        url: Url,
        tls: Option<Tls>,
    },
    /// While the app asks who leads, or listens, at least so often.
    Asked(Duration),
}
