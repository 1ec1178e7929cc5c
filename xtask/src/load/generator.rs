//! The load generator: Debian's `wrk`, with a script that sends the keys of a file in turn.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::system;

const THREADS: usize = 2;
const CONNECTIONS: usize = 32;

/// Every request is made before the first is sent. The threads begin at different keys, and each goes round.
const SCRIPT: &str = r#"
local threads = 0

function setup(thread)
  thread:set("number", threads)
  threads = threads + 1
end

function init(args)
  requests = {}
  for key in io.lines(args[2]) do
    requests[#requests + 1] = wrk.format("GET", args[1], { ["Authorization"] = "Bearer " .. key })
  end
  at = math.floor(#requests * number / tonumber(args[3]))
end

function request()
  at = at % #requests + 1
  return requests[at]
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format("figures %d %d %d %d %d %d\n", summary.requests, summary.duration,
    latency:percentile(50), latency:percentile(99), errors.status,
    errors.connect + errors.read + errors.write + errors.timeout))
end
"#;

/// The program, found.
pub(super) struct Generator {
    program: PathBuf,
}

/// What one run gave.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Run {
    pub(super) requests: u64,
    pub(super) seconds: f64,
    pub(super) p50_microseconds: u64,
    pub(super) p99_microseconds: u64,
    /// Answers with a status of 400 or more.
    pub(super) refused: u64,
    /// Requests without an answer.
    pub(super) failed: u64,
}

impl Generator {
    /// Finds `wrk`, and installs it where we may.
    pub(super) fn find_or_install() -> Result<Self> {
        let program = system::find_or_install("wrk")?;
        Ok(Self { program })
    }

    /// Asks for `path` with the keys in `texts` for a time.
    pub(super) fn run(&self, address: SocketAddr, path: &str, texts: &Path, time: Duration) -> Result<Run> {
        let script = texts.with_extension("lua");
        fs::write(&script, SCRIPT).context("could not write the generator's script")?;
        let mut command = Command::new(&self.program);
        command
            .args([
                "--threads",
                &THREADS.to_string(),
                "--connections",
                &CONNECTIONS.to_string(),
            ])
            .args(["--duration", &format!("{}s", time.as_secs().max(1))])
            .arg("--script")
            .arg(&script)
            .arg(format!("http://{address}{path}"))
            .args(["--", path])
            .arg(texts)
            .arg(THREADS.to_string())
            .stdin(Stdio::null());
        let output = command.output().context("could not start `wrk`")?;
        let stdout = String::from_utf8_lossy(&output.stdout);
        ensure!(
            output.status.success(),
            "`wrk` ended with {}\n{stdout}{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        match parse(&stdout) {
            Some(run) => Ok(run),
            None => bail!("`wrk` printed no figures:\n{stdout}"),
        }
    }
}

fn parse(output: &str) -> Option<Run> {
    let line = output.lines().find_map(|line| line.strip_prefix("figures "))?;
    let mut numbers = line.split(' ').map(|number| number.parse::<u64>().ok());
    let mut next = || numbers.next().flatten();
    Some(Run {
        requests: next()?,
        seconds: next()? as f64 / 1e6,
        p50_microseconds: next()?,
        p99_microseconds: next()?,
        refused: next()?,
        failed: next()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_figures_are_found_among_what_wrk_prints() {
        let run = parse("Running 10s test\nfigures 1000 2000000 80 900 3 1\nTransfer/sec: 1MB\n");
        let expected = Run {
            requests: 1_000,
            seconds: 2.0,
            p50_microseconds: 80,
            p99_microseconds: 900,
            refused: 3,
            failed: 1,
        };
        assert_eq!(run, Some(expected));
        assert_eq!(parse("unable to connect"), None);
    }
}
