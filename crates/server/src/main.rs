//! The `keyward` program: configuration, telemetry, listeners, signals, and the commands of the terminal.
//!
//! Nothing here decides about keys. `serve` puts the parts together and runs them; every other command either speaks to a
//! running server over the socket in its data folder, or works on the data folder itself while no server runs.

mod byte_size;
mod checkpoint_file;
mod checkpoint_url;
mod cli;
mod clock;
mod configuration;
mod data_folder;
mod delivery;
mod head_timer;
mod keyring_file;
mod listener;
mod logging;
mod process;
mod quickstart;
mod serve;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run(std::env::args_os().collect())
}
