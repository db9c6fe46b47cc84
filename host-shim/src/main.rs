//! The command `host-shim`.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use host_shim::command::{Check, Replay, Run, failed};

/// Runs proxy-wasm filters without Envoy, from the same YAML.
///
/// host-shim reads an Envoy configuration, loads the wasm modules that it names, and behaves like Envoy: canary, main
/// thread and workers, shared data, queues, callouts, statistics. The section "Fidelity" of its documentation lists
/// what it does not support. host-shim prints a warning if a configuration needs something that it does not support.
#[derive(Parser)]
#[command(version, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve a configuration
    ///
    /// Listens on the addresses of the configuration, sends requests through its wasm filters to its clusters, and
    /// makes the filters' callouts. SIGHUP reads the file again, like an update of the listener. Ctrl-C ends the
    /// command.
    Run(Run),
    /// Check a configuration, and the configurations of its modules
    ///
    /// Prints every error with its path, and with its line if it is in the file. The exit status is 1 if there is an
    /// error.
    Check(Check),
    /// Run stories: requests, time and faults, and the expected results
    ///
    /// A story is a YAML file, or a folder of them. The clock moves only when a story moves it. The exit status is 1 if
    /// a story fails.
    Replay(Replay),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Run(run) => run.execute().map(|()| true),
        Command::Check(check) => check.execute(),
        Command::Replay(replay) => replay.execute(),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => failed(&error),
    }
}
