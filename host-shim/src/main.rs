//! The command: `run` serves, `check` looks a configuration over, `replay` tries stories.

use std::io;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use host_shim::command::{Check, Replay, Run};

/// Runs proxy-wasm filters without Envoy, from the same YAML.
///
/// host-shim reads an Envoy configuration, loads the wasm modules that it names, and behaves as Envoy does: canary, main
/// thread and workers, shared data, queues, callouts, statistics. What it leaves out is said in its documentation under
/// "Fidelity", and warned of when a configuration asks for it.
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
    /// Listens where the configuration says, sends requests through its wasm filters to its clusters, and makes the
    /// filters' callouts. SIGHUP reads the file anew, as an update of the listener would; Ctrl-C ends.
    Run(Run),
    /// Check a configuration, and what its modules say of theirs
    ///
    /// Prints every error with its path, and its line where it came from the file. The exit status is 1 if there is any.
    Check(Check),
    /// Try stories: requests, time and faults, and what must come of them
    ///
    /// A story is a YAML file, or a folder of them. The clock stands still but where a story moves it. The exit status is
    /// 1 if any story fails.
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
        // The reader of a pipe, such as `head`, has enough. This is the exit status after SIGPIPE, as a shell shows it.
        Err(error)
            if error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe) =>
        {
            141.into()
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
