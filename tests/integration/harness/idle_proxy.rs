//! A proxy before a sidecar, as they stand before every web server: it cuts a connection whose server says nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Runs as long as the runtime that started it.
pub struct IdleProxy {
    address: String,
    cuts: Arc<AtomicUsize>,
}

impl IdleProxy {
    /// Cuts a connection through which no byte has come from `server` for so long.
    pub async fn start(server: &str, idle: Duration) -> IdleProxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let cuts = Arc::new(AtomicUsize::new(0));
        let (server, counted) = (server.to_owned(), Arc::clone(&cuts));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(&server).await.expect("the server listens");
                tokio::spawn(pass(client, server, idle, Arc::clone(&counted)));
            }
        });
        IdleProxy { address, cuts }
    }

    /// `ip:port` of it.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Connections that it has cut.
    pub fn cuts(&self) -> usize {
        self.cuts.load(Ordering::SeqCst)
    }
}

async fn pass(client: TcpStream, server: TcpStream, idle: Duration, cuts: Arc<AtomicUsize>) {
    let ((mut asks, mut told), (mut answers, mut asked)) = (client.into_split(), server.into_split());
    let answering = async {
        let mut buffer = vec![0; 16_384];
        loop {
            match tokio::time::timeout(idle, answers.read(&mut buffer)).await {
                Ok(Ok(count @ 1..)) if told.write_all(&buffer[..count]).await.is_ok() => {}
                Ok(_) => return,
                Err(_) => {
                    cuts.fetch_add(1, Ordering::SeqCst);
                    return;
                }
            }
        }
    };
    tokio::select! {
        _ = tokio::io::copy(&mut asks, &mut asked) => {}
        () = answering => {}
    }
}
