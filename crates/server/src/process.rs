//! What a server asks of the operating system for itself: room for connections, no core dumps, signals heard from the start.

use anyhow::{Context as _, Result};
use rustix::process::{DumpableBehavior, Resource, getrlimit, set_dumpable_behavior, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// File descriptors that connections of strangers must leave free: the database, the socket of the local command line, the
/// admin listener, files.
const RESERVED: u64 = 256;

/// The orders to stop.
pub(crate) struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    /// From here on a signal is an order to stop in good order, however early it comes.
    pub(crate) fn listen() -> Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate()).context("could not wait for signals")?,
            interrupt: signal(SignalKind::interrupt()).context("could not wait for signals")?,
        })
    }

    /// Waits for the next one; its name.
    pub(crate) async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "Ctrl-C",
        }
    }
}

/// Keeps keys and the keyring out of core dumps, and the process's memory from others of the same user.
pub(crate) fn keep_memory_private() {
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        tracing::warn!(%error, "core dumps of this process can't be ruled out");
    }
}

/// Raises the limit of open files as far as it goes, and says how many connections strangers may have at a time, of at most
/// `wanted`.
pub(crate) fn room_for_connections(wanted: usize) -> usize {
    let mut limit = getrlimit(Resource::Nofile);
    let before = limit.current;
    limit.current = limit.maximum;
    let raised = setrlimit(Resource::Nofile, limit).map_or(before, |()| limit.maximum);
    room_within(raised, wanted)
}

/// Without a limit there is all the room that is wanted; with a very low one at least a little.
fn room_within(limit: Option<u64>, wanted: usize) -> usize {
    let Some(limit) = limit else { return wanted };
    let room = limit.saturating_sub(RESERVED).max(limit / 4);
    usize::try_from(room).unwrap_or(wanted).min(wanted)
}

/// What this machine calls itself.
pub(crate) fn machine_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_room_for_what_ends_keys() {
        assert_eq!(room_within(None, 10_000), 10_000);
        assert_eq!(room_within(Some(1_048_576), 10_000), 10_000);
        assert_eq!(room_within(Some(1_024), 10_000), 768);
        assert_eq!(room_within(Some(128), 10_000), 32);
    }
}
