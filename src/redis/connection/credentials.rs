//! The credentials of the next connection: the password may have been rotated since the last one.

use std::pin::Pin;
use std::sync::Arc;

use fred::error::Error;
use fred::types::config::{CredentialProvider, Server};

use crate::redis::settings::RedisConfig;
use crate::secret::{Reloaded, Secret};

/// Asked by the client for each connection that it makes.
#[derive(Debug)]
pub struct Credentials {
    username: Option<String>,
    password: Reloaded<Secret>,
}

type Pair = (Option<String>, Option<String>);

impl Credentials {
    /// `None` without a password: then the client greets Redis in another way, and hears that one is needed.
    pub fn of(config: &RedisConfig) -> Option<Arc<dyn CredentialProvider>> {
        let password = config.password.clone()?;
        Some(Arc::new(Credentials { username: config.username.clone(), password }))
    }

    /// Who we are at the sentinels.
    pub fn of_sentinels(config: &RedisConfig) -> Option<Arc<dyn CredentialProvider>> {
        let password = config.sentinel_password.clone()?;
        Some(Arc::new(Credentials { username: config.sentinel_username.clone(), password }))
    }
}

impl CredentialProvider for Credentials {
    // As the client's macro would write it.
    fn fetch<'a, 'b, 'c>(
        &'a self,
        _server: Option<&'b Server>,
    ) -> Pin<Box<dyn Future<Output = Result<Pair, Error>> + Send + 'c>>
    where
        'a: 'c,
        'b: 'c,
        Self: 'c,
    {
        let password = self.password.now().expose().to_owned();
        Box::pin(std::future::ready(Ok((self.username.clone(), Some(password)))))
    }
}
