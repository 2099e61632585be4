//! A bounded queue between the machine's thread and a writer that may block.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};

/// Bytes that wait at the most: minutes of a serial line at full speed.
const CAPACITY: usize = 4 << 20;

/// The machine's end of the queue.
#[derive(Debug)]
pub(super) struct Queue {
    sender: Sender<Vec<u8>>,
    waiting: Arc<AtomicUsize>,
    dropped: u64,
    finished: Receiver<()>,
}

impl Queue {
    /// Queues bytes, or drops them if too many wait.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        let full = self.waiting.load(Ordering::Relaxed) + bytes.len() > CAPACITY;
        if full || self.sender.send(bytes.to_vec()).is_err() {
            self.dropped += bytes.len() as u64;
        } else {
            self.waiting.fetch_add(bytes.len(), Ordering::Relaxed);
        }
    }

    /// Waits until everything is written, but not longer than `patience`. Returns the bytes that were dropped.
    pub(super) fn close(self, patience: Duration) -> u64 {
        let Queue { sender, waiting, dropped, finished } = self;
        drop(sender);
        match finished.recv_timeout(patience) {
            Err(crossbeam_channel::RecvTimeoutError::Timeout) => dropped + waiting.load(Ordering::Relaxed) as u64,
            _ => dropped,
        }
    }
}

/// A queue whose thread hands each piece to `write`, until `write` says that there is no use any more.
pub(super) fn queue(mut write: impl FnMut(&[u8]) -> bool + Send + 'static) -> Queue {
    let (sender, receiver) = unbounded::<Vec<u8>>();
    let (done, finished) = bounded(1);
    let waiting = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&waiting);
    std::thread::spawn(move || {
        for piece in receiver {
            let useful = write(&piece);
            count.fetch_sub(piece.len().min(count.load(Ordering::Relaxed)), Ordering::Relaxed);
            if !useful {
                break;
            }
        }
        let _ = done.send(());
    });
    Queue { sender, waiting, dropped: 0, finished }
}

/// A queue into `out`; it ends when `out` fails.
pub(super) fn writer(mut out: impl Write + Send + 'static) -> Queue {
    queue(move |bytes| out.write_all(bytes).and_then(|()| out.flush()).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_writer_that_blocks_costs_bytes_and_not_time() {
        let (release, blocked) = bounded::<()>(0);
        let mut q = queue(move |_| blocked.recv().is_ok());
        for _ in 0..6 {
            q.push(&vec![0; 1 << 20]);
        }
        let dropped = q.close(Duration::from_millis(10));
        assert!(dropped >= 2 << 20, "{dropped}");
        drop(release);
    }
}
