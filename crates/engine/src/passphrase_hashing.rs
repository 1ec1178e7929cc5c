//! Turns at hashing passphrases: two at once, on threads that may block, with a bounded queue before them.
//!
//! One hash takes 19 MiB and tens of milliseconds, so that whoever asks for many could take the machine. Few may wait, of one network
//! fewer, and whoever comes then is told to come again. A turn that began is ended, whether its request still waits for it or not.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use keyward_core::address::CallerAddress;
use tokio::sync::Semaphore;

use crate::caller_network::Network;
use crate::error::EngineError;
use crate::loads::PATIENCE;

const AT_ONCE: usize = 2;
/// Most that wait or are being hashed.
const MAX_WAITING: usize = 32 + AT_ONCE;
/// Most of one IPv4 address or IPv6 /64.
const MAX_OF_NETWORK: usize = 4;
/// Most of one IPv6 /48.
const MAX_OF_WIDE: usize = 8;

/// The turns.
pub(crate) struct PassphraseHashing {
    turns: Arc<Semaphore>,
    waiting: Arc<Mutex<Waiting>>,
}

#[derive(Default)]
struct Waiting {
    all: usize,
    of_networks: HashMap<Network, usize>,
}

/// A place in the queue, until it is dropped.
struct Place {
    waiting: Arc<Mutex<Waiting>>,
    network: Network,
}

impl Default for PassphraseHashing {
    fn default() -> Self {
        Self {
            turns: Arc::new(Semaphore::new(AT_ONCE)),
            waiting: Arc::default(),
        }
    }
}

impl PassphraseHashing {
    /// Does `work` when it is this caller's turn.
    ///
    /// # Errors
    /// [`EngineError::Busy`] if too many wait.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        address: CallerAddress,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, EngineError> {
        let place = self.place(Network::of(address))?;
        let waiting = Arc::clone(&self.turns).acquire_owned();
        let turn = tokio::time::timeout(PATIENCE, waiting).await;
        // The semaphore is never closed.
        let turn = turn
            .map_err(|_| EngineError::Busy)?
            .map_err(|_| EngineError::Busy)?;
        let working = tokio::task::spawn_blocking(move || {
            // Both go with the work: a caller who went away must not make room while it is still done.
            let _held = (turn, place);
            work()
        });
        working.await.map_err(|_| EngineError::Busy)
    }

    fn place(&self, network: Network) -> Result<Place, EngineError> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let of = |network: Network| waiting.of_networks.get(&network).copied().unwrap_or(0);
        let is_full = waiting.all >= MAX_WAITING
            || of(network) >= MAX_OF_NETWORK
            || network.wider().is_some_and(|wider| of(wider) >= MAX_OF_WIDE);
        if is_full {
            return Err(EngineError::Busy);
        }
        waiting.all += 1;
        for network in [Some(network), network.wider()].into_iter().flatten() {
            *waiting.of_networks.entry(network).or_insert(0) += 1;
        }
        drop(waiting);
        Ok(Place {
            waiting: Arc::clone(&self.waiting),
            network,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.all = waiting.all.saturating_sub(1);
        for network in [Some(self.network), self.network.wider()].into_iter().flatten() {
            if let Some(count) = waiting.of_networks.get_mut(&network) {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    waiting.of_networks.remove(&network);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> Network {
        Network::of(CallerAddress::Known(text.parse().unwrap()))
    }

    #[test]
    fn few_wait_and_of_one_network_fewer() {
        let hashing = PassphraseHashing::default();
        let enter =
            |at: &str| -> Vec<Place> { (0..50).map_while(|_| hashing.place(network(at)).ok()).collect() };
        let first = enter("192.0.2.1");
        assert_eq!(first.len(), 4);
        let (one, two, three) = (
            enter("2001:db8:0:1::1"),
            enter("2001:db8:0:2::1"),
            enter("2001:db8:0:3::1"),
        );
        assert_eq!((one.len(), two.len(), three.len()), (4, 4, 0));
        let others: Vec<_> = (2..40).map(|last| enter(&format!("192.0.2.{last}"))).collect();
        assert_eq!(others.iter().map(Vec::len).sum::<usize>(), MAX_WAITING - 12);
        drop((first, one, two, others));
        assert_eq!(enter("192.0.2.1").len(), 4);
        let waiting = hashing.waiting.lock().unwrap();
        assert_eq!((waiting.all, waiting.of_networks.len()), (0, 0));
    }

    #[tokio::test]
    async fn two_are_hashed_at_once() {
        use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
        let (hashing, now, most) = (
            Arc::new(PassphraseHashing::default()),
            Arc::new(AtomicUsize::new(0)),
            Arc::new(AtomicUsize::new(0)),
        );
        let all: Vec<_> = (1..=8)
            .map(|last| {
                let (hashing, now, most) = (Arc::clone(&hashing), Arc::clone(&now), Arc::clone(&most));
                let at = CallerAddress::Known(std::net::Ipv4Addr::new(192, 0, 2, last).into());
                tokio::spawn(async move {
                    let work = move || {
                        most.fetch_max(now.fetch_add(1, SeqCst) + 1, SeqCst);
                        std::thread::yield_now();
                        now.fetch_sub(1, SeqCst);
                    };
                    hashing.run(at, work).await
                })
            })
            .collect();
        for one in all {
            assert!(one.await.unwrap().is_ok());
        }
        assert!((1..=AT_ONCE).contains(&most.load(SeqCst)));
    }
}
