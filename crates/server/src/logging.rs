//! The log: structured lines on standard error, with anything key-shaped masked, whoever wrote it.
//!
//! The mask is the last net: nothing should put a key into a line. It works on whole lines, so that a key that a library
//! quotes in an error is caught as well. A panic is a line like any other.

use std::io;

use anyhow::{Context as _, Result};
use keyward_core::mask::mask_keys;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::configuration::LogFormat;

/// The prefix that keys have unless the first start chose another; none does so far.
const KEY_PREFIX: &str = "dtvi";

/// Starts the log.
///
/// # Errors
/// A filter that can't be read.
pub(crate) fn start(filter: &str, format: LogFormat) -> Result<()> {
    let filter =
        EnvFilter::try_new(filter).context("the log filter can't be read; a level such as `info` is one")?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(io::IsTerminal::is_terminal(&io::stderr()))
        .with_writer(MaskedStderr);
    match format {
        LogFormat::Text => lines.init(),
        LogFormat::Json => lines.json().flatten_event(true).init(),
    }
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(
            place,
            "a panic, which is a defect: {}",
            panic.payload_as_str().unwrap_or_default()
        );
    }));
    Ok(())
}

#[derive(Debug, Clone, Copy)]
struct MaskedStderr;

impl<'a> MakeWriter<'a> for MaskedStderr {
    type Writer = Self;
    fn make_writer(&'a self) -> Self {
        *self
    }
}

impl io::Write for MaskedStderr {
    /// Is given whole lines by the formatter.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        io::stderr()
            .lock()
            .write_all(mask_keys(&text, KEY_PREFIX).as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().lock().flush()
    }
}
