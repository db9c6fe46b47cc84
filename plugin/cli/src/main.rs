//! The command `tollbell`.

use std::fs;
use std::io::{Write as _, stdout};
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, CommandFactory as _, Parser, Subcommand};
use host_shim::command::{Check, Replay, Run, failed, load};
use tollbell_cli::{
    Completions, Export, ImportTyk, Init, Key, ManPages, Rehearse, Render, Schema, TestConnection, demo, folders, mesh,
    store,
};

/// API keys with quotas, alerts and webhooks for Envoy.
///
/// Reads the same YAML as Envoy. If a module file is not where the configuration says, it is searched for beside this
/// command and in dist/.
#[derive(Parser)]
#[command(name = "tollbell", version, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Write a configuration to begin with
    ///
    /// Asks where the API is, which URL gets alerts, and how much a key may use, unless the options say it. Writes an
    /// Envoy configuration that `tollbell check` accepts, with one new key.
    Init(Init),
    /// Serve a configuration without Envoy
    ///
    /// Listens on the addresses of the configuration, sends requests through its wasm filters to its clusters, and
    /// makes the filters' callouts. SIGHUP reads the file again, like an update of the listener. Ctrl-C ends the
    /// command.
    Run {
        /// The options for any filter
        #[command(flatten)]
        run: Run,
        /// Also start an upstream and a webhook receiver for the targets on this machine, and print commands to try
        #[arg(long)]
        demo: bool,
    },
    /// Check a configuration
    ///
    /// Prints every error with its path, and with its line if it is in the file. The exit status is 1 if there is an
    /// error.
    Check(CheckFor),
    /// Make the manifest of a mesh from a configuration
    ///
    /// Writes what Istio or Envoy Gateway needs to run this configuration: the plugin, and the clusters that it calls.
    /// Warnings go to standard error. The exit status is 1 if the mesh cannot do what the configuration
    /// needs.
    Export(Export),
    /// Run stories: requests, time and faults, and the expected results
    ///
    /// A story is a YAML file, or a folder of them. The clock moves only when a story moves it. The exit status is 1 if
    /// a story fails.
    Replay(Replay),
    /// Print the messages that receivers would get for an event
    ///
    /// Prints the request line, the headers and the body of each message, for webhooks and e-mails. Nothing is sent.
    /// The output contains the secrets that a receiver gets, such as the API key of an e-mail provider.
    Render(Render),
    /// Try a configuration on an access log
    ///
    /// Sends each request of an Envoy access log through the module, on the log's own clock. Prints which messages would
    /// have gone out, who would have been refused, and how near keys and organisations came to their quotas. Nothing is
    /// sent.
    Rehearse(Rehearse),
    /// Make keys and hashes of keys
    #[command(subcommand)]
    Key(Key),
    /// Make an Envoy configuration from Tyk's files
    ///
    /// Reads tyk.conf, API definitions, policies, a key export and the templates that they name. Writes an Envoy
    /// configuration with tollbell that behaves in the same way. A report on standard error says of each setting
    /// whether it was carried over or changed, or has no equivalent, and what to do instead. The report shows no key
    /// and no secret. A setting that protects an API and has no equivalent closes that API.
    ImportTyk(ImportTyk),
    /// Test the connection to a webhook's target
    ///
    /// Sends a HEAD request to the target_url of the webhook with this name, without its configured headers, and prints
    /// the result: reachable with a status, refused, no answer in time, name unknown, or TLS failure. The exit status
    /// is 1 if the target is not reachable.
    TestConnection(TestConnection),
    /// Print the JSON Schema of the configuration
    Schema(Schema),
    /// Print the completions for a shell
    Completions(Completions),
    /// Print the manual page, or write one for each command
    Man(ManPages),
}

/// The options of `check`.
#[derive(Args)]
struct CheckFor {
    /// The options for any filter
    #[command(flatten)]
    check: Check,
    /// Also check whether this mesh can give what the configuration needs
    #[arg(long = "for", value_name = "MESH")]
    mesh: Option<mesh::Mesh>,
}

fn main() -> ExitCode {
    execute(Arguments::parse().command).unwrap_or_else(|error| failed(&error))
}

fn execute(command: Command) -> Result<ExitCode> {
    let succeeded = match command {
        Command::Run { mut run, demo } => {
            run.modules.look_in(folders());
            serve(&run, demo).map(|()| true)?
        }
        Command::Check(CheckFor { mut check, mesh }) => {
            check.modules.look_in(folders());
            check.execute_with(|bootstrap| [store::findings(bootstrap), mesh::findings(bootstrap, mesh)].concat())?
        }
        Command::Export(export) => export.execute()?,
        Command::Replay(mut replay) => {
            replay.modules.look_in(folders());
            replay.execute()?
        }
        Command::Rehearse(mut rehearse) => {
            rehearse.modules.look_in(folders());
            rehearse.execute()?
        }
        Command::Render(render) => render.execute()?,
        Command::Key(key) => key.execute().map(|()| true)?,
        Command::ImportTyk(import) => return import.execute(),
        Command::TestConnection(test) => test.execute()?,
        Command::Schema(schema) => schema.execute().map(|()| true)?,
        Command::Init(init) => init.execute().map(|()| true)?,
        Command::Completions(completions) => completions.execute(Arguments::command()).map(|()| true)?,
        Command::Man(pages) => pages.execute(Arguments::command()).map(|()| true)?,
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
    writeln!(stdout(), "{}", demo::proposals(&yaml, running.listener(), running.admin()))?;
    running.wait()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_options_are_consistent() {
        Arguments::command().debug_assert();
    }
}
