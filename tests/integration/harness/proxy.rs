//! A proxy between sidecars and a Redis server, and all that can go wrong on the way.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::{Place, Scratch, TestRedis};

/// What happens to what passes through, on every connection that faults befall.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    None,
    /// Each reply takes this much longer.
    DelayReplies(Duration),
    /// Replies wait until another fault is set, and then go on.
    HoldReplies,
    /// Requests wait until another fault is set, and then reach Redis, even if their sidecar has closed the connection.
    HoldRequests,
    /// Redis does what it is asked, and nobody hears of it.
    SwallowReplies,
    /// Redis hears nothing.
    SwallowRequests,
    /// Every third message of a channel is lost.
    LoseMessages,
    /// The first request with this text reaches Redis; from then on nothing passes, either way.
    LoseReplyTo(String),
}

/// Runs as long as the runtime that started it.
pub struct Proxy {
    scratch: Scratch,
    faults: Faults,
}

/// What befalls the connections of a proxy.
#[derive(Clone)]
struct Faults {
    fault: watch::Sender<Fault>,
    cuts: watch::Sender<u64>,
    /// Which connections are half open, by when they were made.
    ghosts: watch::Sender<Range<u64>>,
    /// Connections made before this are closed towards their sidecars.
    stranded: watch::Sender<u64>,
    /// They befall the connections of this Redis user alone; where there is none, all.
    user: Option<&'static str>,
}

impl Faults {
    fn of(user: Option<&'static str>) -> Faults {
        Faults {
            fault: watch::Sender::new(Fault::None),
            cuts: watch::Sender::new(0),
            ghosts: watch::Sender::new(0..0),
            stranded: watch::Sender::new(0),
            user,
        }
    }
}

impl Proxy {
    /// Before the unix socket of `redis`, for sidecars that are told its own.
    pub fn start(redis: &TestRedis) -> Proxy {
        let proxy = Proxy { scratch: Scratch::new(), faults: Faults::of(None) };
        let listener = UnixListener::bind(proxy.socket()).expect("a socket of the test's own");
        let (redis, faults) = (redis.socket(), proxy.faults.clone());
        tokio::spawn(async move {
            while let Ok((sidecar, _)) = listener.accept().await {
                let Ok(redis) = UnixStream::connect(&redis).await else { continue };
                let link = Link::of(&faults);
                tokio::spawn(link.serve(of_unix(sidecar), of_unix(redis)));
            }
        });
        proxy
    }

    /// Before a server that says that it listens here. Faults befall those who log in as `user`, and no server of Redis.
    pub fn before(place: Place, user: &'static str) -> Proxy {
        let proxy = Proxy { scratch: Scratch::new(), faults: Faults::of(Some(user)) };
        let listener = std::net::TcpListener::bind(("127.0.0.1", place.announced)).expect("a port of the test's own");
        listener.set_nonblocking(true).expect("a socket that does not block");
        let (listener, faults) = (TcpListener::from_std(listener).expect("a listener"), proxy.faults.clone());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(redis) = TcpStream::connect(("127.0.0.1", place.listens)).await else { continue };
                let link = Link::of(&faults);
                tokio::spawn(link.serve(of_tcp(client), of_tcp(redis)));
            }
        });
        proxy
    }

    /// `--redis-url` of a proxy that [`Proxy::start`] made.
    pub fn url(&self) -> String {
        format!("redis+unix://{}", self.socket())
    }

    fn socket(&self) -> String {
        self.scratch.path("proxy.sock")
    }

    pub fn set(&self, fault: Fault) {
        self.faults.fault.send_replace(fault);
    }

    /// Ends every connection that faults befall.
    pub fn cut(&self) {
        self.faults.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Leaves each of them half open: it looks alive, and nothing passes any more. New ones work.
    pub fn half_open(&self) {
        self.faults.ghosts.send_modify(|ghosts| ghosts.end += 1);
    }

    /// The same, but that the sidecars see at once that they are closed.
    pub fn strand(&self) {
        self.half_open();
        self.faults.stranded.send_replace(self.faults.ghosts.borrow().end);
    }

    /// What was sent on connections while they were half open reaches Redis after all.
    pub fn deliver_late(&self) {
        self.faults.ghosts.send_modify(|ghosts| ghosts.start = ghosts.end);
    }

    /// Ends every fault, and the connections with it where something was lost: no TCP goes on behind a gap.
    pub fn mend(&self) {
        let before = self.faults.fault.send_replace(Fault::None);
        if matches!(before, Fault::SwallowReplies | Fault::SwallowRequests | Fault::LoseReplyTo(_)) {
            self.cut();
        }
    }
}

/// What was read, and when it is due on the other side.
type Parcels = mpsc::UnboundedReceiver<(Instant, Vec<u8>)>;
type Give = mpsc::UnboundedSender<(Instant, Vec<u8>)>;

/// The two directions of a connection. The writing one, dropped, ends what it says.
type Halves = (Box<dyn AsyncRead + Send + Unpin>, Box<dyn AsyncWrite + Send + Unpin>);

fn of_unix(stream: UnixStream) -> Halves {
    let (from, to) = stream.into_split();
    (Box::new(from), Box::new(to))
}

fn of_tcp(stream: TcpStream) -> Halves {
    stream.set_nodelay(true).expect("a connection");
    let (from, to) = stream.into_split();
    (Box::new(from), Box::new(to))
}

/// One connection through the proxy.
struct Link {
    faults: Faults,
    born: u64,
    cuts: watch::Receiver<u64>,
    /// Whether faults befall it.
    is_struck: AtomicBool,
    /// Whether requests, and replies, were lost on it. Then no further one passes until it is cut: behind a gap, each
    /// reply would be taken for that to another request.
    lost_requests: AtomicBool,
    lost_replies: AtomicBool,
    /// How many messages came on it.
    messages: AtomicUsize,
}

/// The length of the message that a text begins with: of `begin`, and two strings with their lengths before them.
fn message(text: &[u8], begin: &[u8]) -> Option<usize> {
    let mut at = text.starts_with(begin).then_some(begin.len())?;
    for _ in 0..2 {
        let line = text[at..].windows(2).position(|two| two == b"\r\n")?;
        let length: usize = std::str::from_utf8(text.get(at + 1..at + line)?).ok()?.parse().ok()?;
        at += line + 2 + length + 2;
    }
    (at <= text.len()).then_some(at)
}

impl Link {
    fn of(faults: &Faults) -> Link {
        Link {
            faults: faults.clone(),
            born: faults.ghosts.borrow().end,
            cuts: faults.cuts.subscribe(),
            is_struck: AtomicBool::new(faults.user.is_none()),
            lost_requests: AtomicBool::new(false),
            lost_replies: AtomicBool::new(false),
            messages: AtomicUsize::new(0),
        }
    }

    async fn serve(self, (from_sidecar, to_sidecar): Halves, (from_redis, to_redis): Halves) {
        let (give_requests, requests) = mpsc::unbounded_channel();
        let (give_replies, replies) = mpsc::unbounded_channel();
        let (mut cuts, mut stranded) = (self.cuts.clone(), self.faults.stranded.subscribe());
        let asking = async {
            tokio::join!(
                self.requests(from_sidecar, give_requests),
                self.deliver(requests, to_redis, Fault::HoldRequests),
            )
        };
        let answering = async {
            // Dropped, its half of the connection closes.
            tokio::select! {
                () = self.deliver(replies, to_sidecar, Fault::HoldReplies) => {}
                _ = stranded.wait_for(|before| self.is_struck() && self.born < *before) => {}
            }
        };
        tokio::select! {
            // Also when the sidecar has closed: what it had sent, and is held, still arrives.
            _ = asking => {}
            () = async { tokio::join!(self.replies(from_redis, give_replies), answering); } => {}
            () = async {
                while cuts.changed().await.is_ok() && !self.is_struck() {}
            } => {}
        }
    }

    fn is_struck(&self) -> bool {
        self.is_struck.load(Ordering::SeqCst)
    }

    fn fault(&self) -> Fault {
        if self.is_struck() { self.faults.fault.borrow().clone() } else { Fault::None }
    }

    fn is_ghost(&self) -> bool {
        self.is_struck() && self.faults.ghosts.borrow().contains(&self.born)
    }

    /// Who logs in says so first.
    fn see_who(&self, chunk: &[u8]) {
        let is_user = |user: &str| chunk.windows(user.len()).any(|part| part == user.as_bytes());
        if self.faults.user.is_some_and(is_user) {
            self.is_struck.store(true, Ordering::SeqCst);
        }
    }

    async fn requests(&self, mut from: impl AsyncRead + Unpin, give: Give) {
        let mut buffer = vec![0; 65_536];
        let mut is_first = true;
        while let Ok(count @ 1..) = from.read(&mut buffer).await {
            let chunk = &buffer[..count];
            if std::mem::take(&mut is_first) {
                self.see_who(chunk);
            }
            let passes = match self.fault() {
                Fault::LoseReplyTo(text) if chunk.windows(text.len()).any(|part| part == text.as_bytes()) => {
                    // Before the request goes on, so that no reply is faster.
                    self.faults.fault.send_replace(Fault::SwallowRequests);
                    true
                }
                Fault::SwallowRequests => false,
                _ => !self.lost_requests.load(Ordering::SeqCst),
            };
            if passes {
                let _ = give.send((Instant::now(), chunk.to_vec()));
            } else {
                self.lost_requests.store(true, Ordering::SeqCst);
                self.lost_replies.store(true, Ordering::SeqCst);
            }
        }
    }

    async fn replies(&self, mut from: impl AsyncRead + Unpin, give: Give) {
        let mut buffer = vec![0; 65_536];
        while let Ok(count @ 1..) = from.read(&mut buffer).await {
            let now = self.fault();
            if matches!(now, Fault::SwallowReplies | Fault::SwallowRequests) || self.is_ghost() {
                self.lost_replies.store(true, Ordering::SeqCst);
            }
            if self.lost_replies.load(Ordering::SeqCst) {
                continue;
            }
            let mut chunk = buffer[..count].to_vec();
            if now == Fault::LoseMessages {
                chunk = self.without_every_third_message(&chunk);
            }
            let delay = if let Fault::DelayReplies(delay) = now { delay } else { Duration::ZERO };
            let due = Instant::now() + delay;
            let _ = give.send((due, chunk));
        }
    }

    /// What is no message stays as it is, and so does a message that has come in part.
    fn without_every_third_message(&self, chunk: &[u8]) -> Vec<u8> {
        const BEGIN: &[u8] = b"*3\r\n$8\r\nsmessage\r\n";
        let mut kept = Vec::new();
        let mut rest = chunk;
        while let Some(length) = message(rest, BEGIN) {
            if self.messages.fetch_add(1, Ordering::SeqCst) % 3 != 2 {
                kept.extend_from_slice(&rest[..length]);
            }
            rest = &rest[length..];
        }
        kept.extend_from_slice(rest);
        kept
    }

    /// Writes what comes when it is due, but nothing while `hold` is set or the connection is half open: requests wait, and
    /// replies are lost, so that a sidecar still sees that Redis closes it. What cannot be written is lost, too.
    async fn deliver(&self, mut parcels: Parcels, mut to: impl AsyncWrite + Unpin, hold: Fault) {
        let (mut fault, mut ghosts) = (self.faults.fault.subscribe(), self.faults.ghosts.subscribe());
        while let Some((due, chunk)) = parcels.recv().await {
            tokio::time::sleep_until(due).await;
            let _ = fault.wait_for(|fault| *fault != hold || !self.is_struck()).await;
            if hold == Fault::HoldReplies && self.is_ghost() {
                self.lost_replies.store(true, Ordering::SeqCst);
                continue;
            }
            let _ = ghosts.wait_for(|ghosts| !ghosts.contains(&self.born) || !self.is_struck()).await;
            let _ = to.write_all(&chunk).await;
        }
    }
}
