//! The command `tollbell`.

use std::fs;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use host_shim::command::{Check, Replay, Run, load};
use tollbell_cli::{ImportTyk, Key, Render, Schema, TestConnection, demo, folders};

/// API keys with quotas, alerts and webhooks for Envoy.
///
/// Reads the same YAML as Envoy. A module file that is not where the configuration says is looked for beside this command
/// and in dist/.
#[derive(Parser)]
#[command(name = "tollbell", version, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve a configuration without Envoy
    ///
    /// Listens where the configuration says, sends requests through its wasm filters to its clusters, and makes the
    /// filters' callouts. SIGHUP reads the file anew, as an update of the listener would; Ctrl-C ends.
    Run {
        /// The options that any filter has
        #[command(flatten)]
        run: Run,
        /// Also start an upstream and a webhook receiver, where the configuration sends to on this machine, and say what
        /// to try
        #[arg(long)]
        demo: bool,
    },
    /// Check a configuration
    ///
    /// Prints every error with its path, and its line where it came from the file. The exit status is 1 if there is any.
    Check(Check),
    /// Try stories: requests, time and faults, and what must come of them
    ///
    /// A story is a YAML file, or a folder of them. The clock stands still but where a story moves it. The exit status is
    /// 1 if any story fails.
    Replay(Replay),
    /// Print what receivers would get of an event
    ///
    /// Prints the request line, the headers and the body of each message, of webhooks and of e-mails. Nothing is sent. The
    /// output has the secrets that a receiver gets, such as the API key of an e-mail provider.
    Render(Render),
    /// Make keys, and hashes of keys
    #[command(subcommand)]
    Key(Key),
    /// Make an Envoy configuration of Tyk's files
    ///
    /// Reads tyk.conf, API definitions, policies, a key export and the templates that they name, and writes an Envoy
    /// configuration with tollbell that behaves the same. On standard error it tells of every setting whether it was
    /// carried over, changed, or has no equivalent and what to do instead; the report shows no key and no secret. What
    /// protects an API and has no equivalent closes it.
    ImportTyk(ImportTyk),
    /// Test the connection to a webhook's target
    ///
    /// Sends a HEAD request to the target_url of the webhook of that name, without its configured headers, and tells what
    /// came of it: reachable with which status, refused, no answer in time, name unknown, TLS failure. The exit status is
    /// 1 where it is not reachable.
    TestConnection(TestConnection),
    /// Print the JSON Schema of the configuration
    Schema(Schema),
}

fn main() -> ExitCode {
    execute(Arguments::parse().command).unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

fn execute(command: Command) -> Result<ExitCode> {
    let succeeded = match command {
        Command::Run { mut run, demo } => {
            run.modules.look_in(folders());
            serve(&run, demo).map(|()| true)?
        }
        Command::Check(mut check) => {
            check.modules.look_in(folders());
            check.execute()?
        }
        Command::Replay(mut replay) => {
            replay.modules.look_in(folders());
            replay.execute()?
        }
        Command::Render(render) => render.execute()?,
        Command::Key(key) => key.execute().map(|()| true)?,
        Command::ImportTyk(import) => return import.execute(),
        Command::TestConnection(test) => test.execute()?,
        Command::Schema(schema) => schema.execute().map(|()| true)?,
    };
    Ok(if succeeded { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn serve(run: &Run, with_demo: bool) -> Result<()> {
    if !with_demo {
        return run.execute();
    }
    let loaded = load(&run.config)?;
    demo::start(&loaded.bootstrap)?;
    let running = run.start(loaded)?;
    let yaml = fs::read_to_string(&run.config)?;
    println!("{}", demo::proposals(&yaml, running.listener(), running.admin()));
    running.wait()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_options_are_consistent() {
        super::Arguments::command().debug_assert();
    }
}
