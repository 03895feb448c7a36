//! A second connection to a server, for reads that may be long: no command of a lock ever waits behind them. Opened when
//! it is first needed, and closed when it has been idle for a while.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use super::connection::{Link, Setup};
use super::node::Node;
use super::{RedisFailure, Status};

/// Longer than the pause between two pages of one reader.
const IDLE: Duration = Duration::from_secs(10);

/// The connection beside another one, where it is open.
#[derive(Default)]
pub(super) struct Beside(Arc<Mutex<Option<Open>>>);

struct Open {
    node: Arc<Node>,
    used: Instant,
    /// Dropped, it closes.
    _link: Link,
}

impl Open {
    /// Whether it stands, and the last command on it was answered.
    fn is_good(&self) -> bool {
        self.node.is_connected() && !self.node.status.is_suspect()
    }
}

impl Node {
    /// This server by a second connection. What fails there says nothing of this one.
    pub async fn beside(&self) -> Result<Arc<Node>, RedisFailure> {
        let mut open = self.beside.0.lock().await;
        if let Some(open) = open.as_mut().filter(|open| open.is_good()) {
            open.used = Instant::now();
            return Ok(Arc::clone(&open.node));
        }
        *open = None;
        let link = Link::open(&Setup::of(&self.config), self.config.timeout).await;
        // What is known of the connection that is always there says more.
        let link = link.map_err(|problem| RedisFailure::NotSent(self.status.ready().err().unwrap_or(problem.text)))?;
        let status = Arc::new(Status::beside(&self.status));
        let node = Arc::new(self.same_server_over(link.connection.clone(), status));
        *open = Some(Open { node: Arc::clone(&node), used: Instant::now(), _link: link });
        tokio::spawn(close_when_idle(Arc::downgrade(&self.beside.0), Arc::downgrade(&node)));
        Ok(node)
    }
}

/// Ends with the connection, whatever ends that.
async fn close_when_idle(beside: std::sync::Weak<Mutex<Option<Open>>>, node: std::sync::Weak<Node>) {
    loop {
        tokio::time::sleep(IDLE / 2).await;
        let Some(beside) = beside.upgrade() else { return };
        let mut open = beside.lock().await;
        let ours = open.as_ref().filter(|open| std::ptr::eq(Arc::as_ptr(&open.node), node.as_ptr()));
        match ours {
            None => return,
            // A command that is under way keeps the node, too.
            Some(ours) if ours.used.elapsed() >= IDLE && Arc::strong_count(&ours.node) == 1 => {
                *open = None;
                return;
            }
            Some(_) => {}
        }
    }
}
