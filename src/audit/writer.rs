//! The thread that writes the lines, and follows its path when the file there is rotated.

use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use super::file::{self, Destination};
use super::{Count, Message};

/// Between two looks at the path.
const LOOK: Duration = Duration::from_secs(1);
/// Bytes that are written at once at most, but for the last line of them.
const BATCH: usize = 64 * 1024;

pub struct Writer {
    path: Option<PathBuf>,
    /// `None` where there is none to write to.
    file: Option<Arc<File>>,
    /// Whether the file ends within a line.
    is_torn: bool,
    looked: Instant,
    count: Arc<Count>,
}

impl Writer {
    pub fn new(destination: Destination, count: Arc<Count>) -> Writer {
        let Destination { path, file } = destination;
        let is_torn = path.as_ref().is_some_and(|path| file::is_torn(path, &file));
        Writer { path, file: Some(file), is_torn, looked: Instant::now(), count }
    }

    /// Writes until the process is being stopped and nothing is left.
    pub fn run(mut self, queue: &Receiver<Message>) {
        let mut batch = Vec::new();
        loop {
            match queue.recv_timeout(LOOK.saturating_sub(self.looked.elapsed())) {
                Ok(Message::Line(line)) => batch.extend_from_slice(line.as_bytes()),
                Ok(Message::Look) => self.follow(),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if self.looked.elapsed() >= LOOK {
                self.follow();
            }
            while batch.len() < BATCH {
                match queue.try_recv() {
                    Ok(Message::Line(line)) => batch.extend_from_slice(line.as_bytes()),
                    Ok(Message::Look) => self.follow(),
                    Err(_) => break,
                }
            }
            let is_all = batch.len() < BATCH;
            self.write(&mut batch);
            if is_all && self.count.is_last.load(Ordering::Acquire) && self.count.pending.load(Ordering::Relaxed) == 0 {
                return;
            }
        }
    }

    /// Opens the path again where it does not lead to the file any more. Where that fails, the lines go on into the file
    /// that was rotated, as long as it has a name.
    fn follow(&mut self) {
        self.looked = Instant::now();
        let Some(path) = &self.path else { return };
        if self.file.as_ref().is_some_and(|file| file::is_at(path, file)) {
            return;
        }
        match file::open(path) {
            Ok(file) => {
                self.is_torn = file::is_torn(path, &file);
                self.file = Some(Arc::new(file));
            }
            Err(_) => {
                if self.file.as_ref().is_some_and(|file| file::is_gone(file)) {
                    self.file = None;
                }
            }
        }
    }

    /// What was written of a line that is lost is a line of its own.
    fn end_torn_line(&mut self, mut file: &File) -> io::Result<()> {
        if self.is_torn {
            file.write_all(b"\n")?;
            self.is_torn = false;
        }
        Ok(())
    }

    /// Writes the lines, and leaves the batch empty.
    fn write(&mut self, batch: &mut Vec<u8>) {
        if batch.is_empty() {
            return;
        }
        // One that was removed since the last look, as by a program that rotates and compresses at once.
        if self.file.as_ref().is_none_or(|file| file::is_gone(file)) {
            self.follow();
        }
        let (written, error) = match self.file.clone() {
            Some(file) => match self.end_torn_line(&file) {
                Ok(()) => write(&file, batch),
                Err(error) => (0, Some(error)),
            },
            None => (0, Some(io::ErrorKind::NotFound.into())),
        };
        if written > 0 {
            self.is_torn = batch[written - 1] != b'\n';
        }
        let (whole, lost) = (lines(&batch[..written]), lines(&batch[written..]));
        self.count.pending.fetch_sub(whole, Ordering::Relaxed);
        if lost > 0 {
            self.count.lose(lost, "a write failed", error.as_ref());
        }
        batch.clear();
    }
}

/// Writes lines; how many bytes of them were written, and why no more.
fn write(mut file: &File, lines: &[u8]) -> (usize, Option<io::Error>) {
    let mut written = 0;
    while written < lines.len() {
        match file.write(&lines[written..]) {
            Ok(0) => return (written, Some(io::ErrorKind::WriteZero.into())),
            Ok(count) => written += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (written, Some(error)),
        }
    }
    (written, None)
}

fn lines(text: &[u8]) -> u64 {
    text.iter().filter(|byte| **byte == b'\n').count() as u64
}
