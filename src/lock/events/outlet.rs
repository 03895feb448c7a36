//! The way of news from the task that watches to one stream: bounded, also in how much of it may be lists of states.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::mpsc;

use super::event::News;

/// News that may wait for a slow reader. Of what happens then it learns by the states that follow a gap.
const QUEUE: usize = 256;

/// The end at which news are told.
pub struct Outlet {
    news: mpsc::Sender<News>,
    /// Lists of states that wait: each may be all that is watched.
    lists: Arc<AtomicUsize>,
}

/// The end at which they are read.
pub struct Inlet {
    news: mpsc::Receiver<News>,
    lists: Arc<AtomicUsize>,
}

/// The two ends.
pub fn channel() -> (Outlet, Inlet) {
    let (give, news) = mpsc::channel(QUEUE);
    let lists = Arc::new(AtomicUsize::new(0));
    (Outlet { news: give, lists: Arc::clone(&lists) }, Inlet { news, lists })
}

impl Outlet {
    /// Tells it, unless the reader is too slow: too much waits, or the states that it was told before.
    pub fn tell(&self, news: News) -> bool {
        let is_list = matches!(news, News::States(_));
        if is_list && self.lists.fetch_add(1, Ordering::Relaxed) > 0 {
            self.lists.fetch_sub(1, Ordering::Relaxed);
            return false;
        }
        let is_told = self.news.try_send(news).is_ok();
        if is_list && !is_told {
            self.lists.fetch_sub(1, Ordering::Relaxed);
        }
        is_told
    }

    /// Whether all was read.
    pub fn is_empty(&self) -> bool {
        self.news.capacity() == QUEUE
    }
}

impl Inlet {
    pub async fn next(&mut self) -> Option<News> {
        let news = self.news.recv().await;
        if matches!(news, Some(News::States(_))) {
            self.lists.fetch_sub(1, Ordering::Relaxed);
        }
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_list_of_states_waits_and_no_more() {
        let states = || News::States(Arc::new(Vec::new()));
        let (outlet, mut inlet) = channel();
        assert!(outlet.tell(News::Gap) && outlet.tell(states()));
        assert!(!outlet.tell(states()), "the first is not read yet");
        assert!(outlet.tell(News::Gap), "other news still fit");
        assert!(matches!(inlet.next().await, Some(News::Gap)));
        assert!(matches!(inlet.next().await, Some(News::States(_))));
        assert!(outlet.tell(states()));
        while !outlet.is_empty() {
            inlet.next().await;
        }
        assert!((0..QUEUE).all(|_| outlet.tell(News::Gap)) && !outlet.tell(News::Gap) && !outlet.tell(states()));
        while !outlet.is_empty() {
            inlet.next().await;
        }
        assert!(outlet.tell(states()), "what was not told does not count");
    }
}
