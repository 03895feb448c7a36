//! How the wrapper and the supervisor talk: messages with descriptors over a socket pair. Each sees at once when the other is
//! gone, however it ended.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream as StdUnixStream;

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::Interest;
use tokio::net::UnixStream;

/// Longest message, bytes.
const LONGEST: usize = 256;

/// What the wrapper says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FromWrapper {
    /// Acquire the lock. Comes with standard input.
    Begin,
    /// The terminal is the command's; let it run.
    Run,
    /// Pass a signal on to the command's group.
    Signal(i32),
    /// The job goes on after a stop.
    Continue,
}

/// What the supervisor says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FromSupervisor {
    /// The lock is held, and the command waits in this process group to be run. Comes with the socket of the hold.
    Ready(i32),
    /// A signal stopped the command.
    Stopped(i32),
}

/// One end. To tokio it is a stream socket; only this module reads and writes it, a whole message at a time.
pub struct Channel(UnixStream);

impl Channel {
    /// Our end, and the one to hand to a child. Messages keep their bounds.
    pub fn pair() -> io::Result<(Channel, OwnedFd)> {
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        Ok((Channel::of(ours)?, theirs))
    }

    pub fn of(end: OwnedFd) -> io::Result<Channel> {
        let socket = StdUnixStream::from(end);
        socket.set_nonblocking(true)?;
        UnixStream::from_std(socket).map(Channel)
    }

    /// Sends a message, with a descriptor if need be. Never waits: who does not listen is frozen or gone, and the other
    /// end notices that by itself.
    pub fn send(&self, message: &impl Serialize, descriptor: Option<BorrowedFd<'_>>) {
        let message = serde_json::to_vec(message).expect("a message is always JSON");
        let descriptors: Vec<BorrowedFd<'_>> = descriptor.into_iter().collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() {
            control.push(SendAncillaryMessage::ScmRights(&descriptors));
        }
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        let _ = sendmsg(&self.0, &[IoSlice::new(&message)], &mut control, flags);
    }

    /// The next message, with the descriptor that it brought; `None` once the other end is gone.
    pub async fn receive<T: DeserializeOwned>(&self) -> Option<(T, Option<OwnedFd>)> {
        let received = self.0.async_io(Interest::READABLE, || receive_now(self.0.as_fd())).await;
        let (bytes, descriptor) = received.ok()?;
        Some((serde_json::from_slice(&bytes).ok()?, descriptor))
    }
}

fn receive_now(socket: BorrowedFd<'_>) -> io::Result<(Vec<u8>, Option<OwnedFd>)> {
    let mut bytes = [0; LONGEST];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    let received = recvmsg(socket, &mut [IoSliceMut::new(&mut bytes)], &mut control, flags)?;
    let descriptor = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    Ok((bytes[..received.bytes].to_vec(), descriptor))
}
