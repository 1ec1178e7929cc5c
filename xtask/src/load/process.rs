//! A server under load: started, waited for, looked at from outside, and ended.
//!
//! What it costs is read from Linux's `/proc`; the server is not asked.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

/// The baseline reads a million keys before it serves.
pub(super) const START_LIMIT: Duration = Duration::from_secs(60);
/// A server that uses less of a processor than this for so many seconds has nothing to do.
const IDLE_SHARE: f64 = 0.05;
const IDLE_SECONDS: u32 = 3;
const SETTLE_LIMIT: Duration = Duration::from_secs(900);

/// A running server; dropping it ends it.
pub(super) struct Server {
    child: Child,
    address: SocketAddr,
    ticks_per_second: f64,
}

impl Server {
    /// Starts a program that writes its address into a file once it serves.
    pub(super) fn start(
        name: &str,
        mut command: Command,
        (address_file, log): (&Path, &Path),
        limit: Duration,
    ) -> Result<Self> {
        let log_file = File::create(log).with_context(|| format!("could not make `{}`", log.display()))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log_file)
            .spawn()
            .with_context(|| format!("could not start `{name}`"))?;
        // Owned from here on, so that an error ends the process.
        let mut server = Self {
            child,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            ticks_per_second: ticks_per_second()?,
        };
        let deadline = Instant::now() + limit;
        while Instant::now() < deadline {
            if let Some(status) = server.child.try_wait().context("could not look after a server")? {
                bail!(
                    "`{name}` ended with {status}; it said:\n{}",
                    fs::read_to_string(log).unwrap_or_default()
                );
            }
            if let Some(address) = fs::read_to_string(address_file)
                .ok()
                .and_then(|text| text.trim().parse().ok())
            {
                server.address = address;
                return Ok(server);
            }
            pause_for(Duration::from_millis(20));
        }
        bail!(
            "`{name}` did not say in time where it listens; it said:\n{}",
            fs::read_to_string(log).unwrap_or_default()
        )
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The processor time it has used so far, its own and the system's on its behalf.
    pub(super) fn processor_seconds(&self) -> Result<f64> {
        let text = self.proc_file("stat")?;
        let ticks = processor_ticks(&text).context("`/proc/.../stat` is not as Linux writes it")?;
        Ok(ticks as f64 / self.ticks_per_second)
    }

    /// Waits for so long at least, and then until it has nothing to do any more.
    pub(super) fn settle(&self, at_least: Duration) -> Result<()> {
        let begun = Instant::now();
        let mut before = self.processor_seconds()?;
        let mut idle = 0;
        while begun.elapsed() < at_least || idle < IDLE_SECONDS {
            ensure!(
                begun.elapsed() < SETTLE_LIMIT,
                "a server is still busy though nobody asks it"
            );
            pause_for(Duration::from_secs(1));
            let now = self.processor_seconds()?;
            idle = if now - before < IDLE_SHARE { idle + 1 } else { 0 };
            before = now;
        }
        Ok(())
    }

    /// The memory it has in use.
    pub(super) fn resident_bytes(&self) -> Result<u64> {
        let text = self.proc_file("status")?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kibibytes = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
        Ok(kibibytes.context("`/proc/.../status` names no VmRSS")? * 1024)
    }

    fn proc_file(&self, name: &str) -> Result<String> {
        let path = format!("/proc/{}/{name}", self.child.id());
        fs::read_to_string(&path).with_context(|| format!("could not read `{path}`: has the server ended?"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The 14th and 15th field; the second is a name in brackets, and may hold spaces.
fn processor_ticks(stat: &str) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace().skip(11);
    let own: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(own + system)
}

fn ticks_per_second() -> Result<f64> {
    let output = Command::new("getconf")
        .arg("CLK_TCK")
        .output()
        .context("could not run `getconf CLK_TCK`")?;
    ensure!(
        output.status.success(),
        "`getconf CLK_TCK` ended with {}",
        output.status
    );
    String::from_utf8_lossy(&output.stdout)
        .trim()
        .parse()
        .context("`getconf CLK_TCK` printed no number")
}

#[expect(
    clippy::disallowed_methods,
    reason = "there is no runtime here to block, and the server tells nobody"
)]
fn pause_for(span: Duration) {
    std::thread::sleep(span);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_found_behind_any_name() {
        let stat = "71 (a) b (c) S 1 71 71 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 3 0 100 0 0";
        assert_eq!(processor_ticks(stat), Some(300));
        assert_eq!(processor_ticks("71 (a) S 1"), None);
    }
}
