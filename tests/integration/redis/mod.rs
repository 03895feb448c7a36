//! Redis in all its forms and states: clusters, TLS, outages, and what readiness says of them.

mod cluster;
mod credentials;
mod noscript;
mod outages;
mod readiness;
mod tls;

pub use readiness::ahead;
