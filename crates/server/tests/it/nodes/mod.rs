//! Several real nodes over one PostgreSQL, each behind a network that can fail.
//!
//! The promise: no verify that begins after a deletion, pause, narrowing or rotation was answered is accepted, on any node, whatever
//! fails; and nothing that was acknowledged is lost. [`healthy`] says what users see while nothing fails, [`shown`] what operators do. [`clocks`], [`slow`], [`edges`] and [`rates`] look at one thing each. [`faults`] lets everything
//! fail in turn under a random workload, records what was asked and answered ([`history`]), and has the whole of it judged
//! ([`checker`]). Nothing here looks inside a node.

mod chance;
mod checker;
mod clocks;
mod cluster;
mod edges;
mod faults;
mod healthy;
mod history;
mod latency;
mod rates;
mod shown;
mod slow;
mod workload;

use crate::support::tell;
