//! A lens between a sidecar and its Redis: the same answers, but for some bytes.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

use super::{Scratch, TestRedis};

type Look = dyn Fn(&mut [u8]) + Send + Sync;

/// Runs as long as the runtime that started it.
pub struct Lens {
    scratch: Scratch,
    look: Arc<Mutex<Arc<Look>>>,
}

impl Lens {
    /// Shows each chunk of `redis`'s replies as `look` leaves it.
    pub fn before(redis: &TestRedis, look: impl Fn(&mut [u8]) + Send + Sync + 'static) -> Lens {
        let look: Arc<Look> = Arc::new(look);
        let lens = Lens { scratch: Scratch::new(), look: Arc::new(Mutex::new(look)) };
        let listener = UnixListener::bind(lens.scratch.path("lens.sock")).expect("a socket of the test's own");
        let (redis, look) = (redis.socket(), Arc::clone(&lens.look));
        tokio::spawn(async move {
            while let Ok((sidecar, _)) = listener.accept().await {
                let Ok(redis) = UnixStream::connect(&redis).await else { continue };
                tokio::spawn(connection(sidecar, redis, Arc::clone(&look)));
            }
        });
        lens
    }

    /// From now on shows them as `look` leaves them.
    pub fn turn(&self, look: impl Fn(&mut [u8]) + Send + Sync + 'static) {
        *self.look.lock().expect("no panic while held") = Arc::new(look);
    }

    /// `--redis-url` of what is seen through it.
    pub fn url(&self) -> String {
        format!("redis+unix://{}", self.scratch.path("lens.sock"))
    }
}

async fn connection(sidecar: UnixStream, redis: UnixStream, look: Arc<Mutex<Arc<Look>>>) {
    let ((mut from_sidecar, mut to_sidecar), (mut from_redis, mut to_redis)) =
        (sidecar.into_split(), redis.into_split());
    let replies = async {
        let mut buffer = vec![0; 65_536];
        while let Ok(count @ 1..) = from_redis.read(&mut buffer).await {
            let look = Arc::clone(&look.lock().expect("no panic while held"));
            look(&mut buffer[..count]);
            if to_sidecar.write_all(&buffer[..count]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = replies => {}
        _ = tokio::io::copy(&mut from_sidecar, &mut to_redis) => {}
    }
}
