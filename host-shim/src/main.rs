//! The command: `run` serves, `check` looks a configuration over, `replay` tries stories, `import-tyk` makes a
//! configuration of Tyk's files, `test-connection` asks a webhook's target whether it is there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::{Parser, Subcommand, ValueEnum};
use host_shim::import::{self, Files};
use host_shim::server::{Options, Server};
use host_shim::story::{self, ShimSubject, Story};
use host_shim::{FindingKind, Limits, LogLevel, config, connection, demo};
use indicatif::{ProgressBar, ProgressStyle};
use tokio::signal::unix::{SignalKind, signal};

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
    Run {
        /// The Envoy configuration, YAML or JSON
        #[arg(short, long, value_name = "FILE")]
        config: PathBuf,
        /// A module to use instead of those that the configuration names
        #[arg(long, value_name = "FILE")]
        wasm: Option<PathBuf>,
        /// Worker threads, each with a VM of its own
        #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=256))]
        workers: u16,
        /// Also start an upstream and a webhook receiver, where the configuration sends to on this machine, and say what
        /// to try
        #[arg(long)]
        demo: bool,
        /// The lowest level to log
        #[arg(long, value_enum, default_value_t = Level::Info)]
        log_level: Level,
        /// The most memory for each VM, in MiB
        #[arg(long, value_name = "MIB", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..=4096))]
        memory: u32,
    },
    /// Check a configuration, and what its modules say of theirs
    ///
    /// Prints every error with its path, and its line where it came from the file. The exit status is 1 if there is any.
    Check {
        /// The Envoy configuration, YAML or JSON
        #[arg(short, long, value_name = "FILE")]
        config: PathBuf,
        /// A module to use instead of those that the configuration names
        #[arg(long, value_name = "FILE")]
        wasm: Option<PathBuf>,
        /// The most memory for each VM, in MiB
        #[arg(long, value_name = "MIB", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..=4096))]
        memory: u32,
    },
    /// Try stories: requests, time and faults, and what must come of them
    ///
    /// A story is a YAML file, or a folder of them. The clock stands still but where a story moves it. The exit status is
    /// 1 if any story fails.
    Replay {
        /// Story files, or folders of them
        #[arg(required = true, value_name = "SCENARIO")]
        stories: Vec<PathBuf>,
        /// A module to use instead of those that the stories' configurations name
        #[arg(long, value_name = "FILE")]
        wasm: Option<PathBuf>,
        /// The most memory for each VM, in MiB
        #[arg(long, value_name = "MIB", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..=4096))]
        memory: u32,
    },
    /// Make an Envoy configuration of Tyk's files
    ///
    /// Reads tyk.conf, API definitions, policies, a key export and the templates that they name, and writes an Envoy
    /// configuration with tollbell that behaves the same. On standard error it tells of every setting whether it was
    /// carried over, changed, or has no equivalent and what to do instead; the report shows no key and no secret. What
    /// protects an API and has no equivalent closes it.
    ImportTyk {
        /// tyk.conf
        #[arg(long, value_name = "FILE")]
        conf: PathBuf,
        /// The folder with the API definitions, classic and OAS
        #[arg(long, value_name = "DIR")]
        apps: PathBuf,
        /// The policies, an object by id or a list
        #[arg(long, value_name = "FILE")]
        policies: Option<PathBuf>,
        /// The key export, an object of sessions by key
        #[arg(long, value_name = "FILE")]
        keys: Option<PathBuf>,
        /// Where the templates are that handlers name [default: the folder of tyk.conf, and its template_path]
        #[arg(long, value_name = "DIR")]
        templates: Option<PathBuf>,
        /// The Envoy configuration to write; - for standard output
        #[arg(short, long, value_name = "FILE")]
        out: PathBuf,
        /// Leave out what has an error, and import the rest
        ///
        /// API definitions are left out as whole files, and their paths are answered with 404 where they are known;
        /// policies and keys are left out one by one. The report begins with them, and the exit status is 3.
        #[arg(long)]
        keep_going: bool,
        /// List every setting by itself
        #[arg(short, long)]
        verbose: bool,
    },
    /// Test the connection to a webhook's target
    ///
    /// Sends a HEAD request to the target_url of the webhook of that name, without its configured headers, and tells what
    /// came of it: reachable with which status, refused, no answer in time, name unknown, TLS failure. The exit status is
    /// 1 where it is not reachable.
    TestConnection {
        /// The Envoy configuration, YAML or JSON
        #[arg(short, long, value_name = "FILE")]
        config: PathBuf,
        /// The name of an entry of webhooks
        #[arg(long, value_name = "NAME")]
        webhook: String,
        /// Seconds to wait for an answer
        #[arg(long, value_name = "SECONDS", default_value_t = 10)]
        timeout: u64,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum Level {
    Trace,
    Debug,
    Info,
    Warning,
    Error,
    Critical,
}

impl From<Level> for LogLevel {
    fn from(level: Level) -> Self {
        match level {
            Level::Trace => LogLevel::Trace,
            Level::Debug => LogLevel::Debug,
            Level::Info => LogLevel::Info,
            Level::Warning => LogLevel::Warn,
            Level::Error => LogLevel::Error,
            Level::Critical => LogLevel::Critical,
        }
    }
}

fn main() -> ExitCode {
    let succeeded = |succeeded: bool| if succeeded { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    let outcome = match Arguments::parse().command {
        Command::Run { config, wasm, workers, demo, log_level, memory } => {
            run(&config, wasm.as_deref(), usize::from(workers), demo, log_level.into(), bytes(memory))
                .map(|()| ExitCode::SUCCESS)
        }
        Command::Check { config, wasm, memory } => check(&config, wasm.as_deref(), bytes(memory)).map(succeeded),
        Command::Replay { stories, wasm, memory } => replay(&stories, wasm.as_deref(), bytes(memory)).map(succeeded),
        Command::ImportTyk { conf, apps, policies, keys, templates, out, keep_going, verbose } => {
            import_tyk(&Files { conf, apps, policies, keys, templates, keep_going }, &out, verbose)
        }
        Command::TestConnection { config, webhook, timeout } => {
            test_connection(&config, &webhook, Duration::from_secs(timeout)).map(succeeded)
        }
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

/// The exit status of an import that left something out.
const LEFT_OUT: u8 = 3;

fn bytes(mebibytes: u32) -> usize {
    usize::try_from(u64::from(mebibytes) << 20).unwrap_or(usize::MAX)
}

fn read_module(path: Option<&Path>) -> Result<Option<Vec<u8>>> {
    path.map(|path| fs::read(path).with_context(|| format!("cannot read the module {}", path.display()))).transpose()
}

fn load(path: &Path) -> Result<config::Loaded> {
    match config::read(path) {
        Ok(loaded) => {
            loaded.warnings.iter().for_each(|warning| eprintln!("warning: {warning}"));
            Ok(loaded)
        }
        Err(errors) => {
            errors.0.iter().for_each(|error| eprintln!("error: {error}"));
            bail!("{} cannot be used; see above", path.display())
        }
    }
}

fn run(
    path: &Path,
    wasm: Option<&Path>,
    workers: usize,
    with_demo: bool,
    log_level: LogLevel,
    memory: usize,
) -> Result<()> {
    let module = read_module(wasm)?;
    let loaded = load(path)?;
    if with_demo {
        demo::start(&loaded.bootstrap)?;
    }
    let bootstrap = loaded.bootstrap.clone();
    let options = Options {
        bootstrap: loaded.bootstrap,
        dump: loaded.dump,
        module,
        workers,
        log_level,
        keeps_log: false,
        limits: Limits { memory, callback: None },
    };
    let server = Server::start(options)?;
    for (listener, address) in bootstrap.listeners.iter().zip(&server.addresses) {
        println!("{} listens on {address}", if listener.name.is_empty() { "the listener" } else { &listener.name });
    }
    if let Some(admin) = server.admin {
        println!("the admin interface listens on {admin}");
    }
    if with_demo {
        let yaml = fs::read_to_string(path)?;
        let lines = demo::proposals(&yaml, server.addresses.first().copied(), server.admin);
        println!("{lines}");
    }
    serve(&server, path)
}

/// Waits for signals.
fn serve(server: &Server, path: &Path) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut hang_up = signal(SignalKind::hangup())?;
        // A reload may take as long as a module likes, and must not keep a signal from being heard.
        let reloads = async {
            while hang_up.recv().await.is_some() {
                reload(server, path).await;
            }
        };
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            () = server.asked_to_quit() => {}
            () = reloads => {}
        }
        Ok(())
    })
}

async fn reload(server: &Server, path: &Path) {
    let outcome = match load(path) {
        Ok(loaded) => server.update(loaded).await,
        Err(error) => Err(error),
    };
    match outcome {
        Ok(unapplied) => {
            eprintln!("{} was read anew", path.display());
            unapplied.iter().for_each(|what| eprintln!("warning: {what} changes with a new start only"));
        }
        Err(error) => eprintln!("error: {error:#}; the old configuration stays"),
    }
}

fn test_connection(path: &Path, webhook: &str, within: Duration) -> Result<bool> {
    let loaded = load(path)?;
    let target = connection::target(&loaded.dump, &loaded.bootstrap.clusters, webhook)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let finding = runtime.block_on(connection::test(&target, within))?;
    println!("{webhook}: {finding}");
    Ok(finding.is_reachable())
}

fn check(path: &Path, wasm: Option<&Path>, memory: usize) -> Result<bool> {
    let module = read_module(wasm)?;
    let findings = host_shim::check(path, module.as_deref(), memory);
    for finding in &findings {
        let kind = match finding.kind {
            FindingKind::Error => "error",
            FindingKind::Warning => "warning",
            FindingKind::Note => "note",
        };
        println!("{kind}: {}", finding.text);
    }
    let errors = findings.iter().filter(|finding| finding.kind == FindingKind::Error).count();
    match errors {
        0 => println!("{}: the configuration is good", path.display()),
        1 => println!("{}: 1 error", path.display()),
        errors => println!("{}: {errors} errors", path.display()),
    }
    Ok(errors == 0)
}

fn replay(paths: &[PathBuf], wasm: Option<&Path>, memory: usize) -> Result<bool> {
    let module = read_module(wasm)?;
    let stories = Story::read_all(paths)?;
    let bar = ProgressBar::new(u64::try_from(stories.len()).unwrap_or_default());
    bar.set_style(ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}")?);
    let mut failed = 0;
    for story in &stories {
        bar.set_message(story.name.clone());
        let outcome = ShimSubject::start_limited(story, module.as_deref(), memory)
            .map_err(|error| format!("{error:#}"))
            .and_then(|mut subject| {
                let told = |step: usize| {
                    bar.set_message(format!("{} (step {} of {})", story.name, step + 1, story.steps.len()))
                };
                story::run(story, &mut subject, &mut { told }).map_err(|failure| failure.to_string())
            });
        match outcome {
            Ok(()) => bar.suspend(|| println!("ok      {}", story.name)),
            Err(message) => {
                failed += 1;
                bar.suspend(|| println!("FAILED  {}\n{}", story.name, indented(&message)));
            }
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    let noun = if stories.len() == 1 { "story" } else { "stories" };
    println!("{} {noun}, {failed} failed", stories.len());
    Ok(failed == 0)
}

fn import_tyk(files: &Files, out: &Path, verbose: bool) -> Result<ExitCode> {
    let imported = match import::import(files, verbose) {
        Ok(imported) => imported,
        Err(failed) => {
            failed.errors.iter().for_each(|error| eprintln!("error: {error}"));
            if failed.can_keep_going {
                bail!(
                    "nothing was written; with --keep-going, the files, policies and keys that have an error are left \
                     out, and the rest is imported"
                );
            }
            bail!("nothing was written; see above");
        }
    };
    eprint!("{}", imported.report);
    if out == Path::new("-") {
        print!("{}", imported.yaml);
    } else {
        fs::write(out, &imported.yaml).with_context(|| format!("cannot write {}", out.display()))?;
        eprintln!("\n{} was written; check it with: host-shim check --config {0}", out.display());
    }
    Ok(match imported.left_out.len() {
        0 => ExitCode::SUCCESS,
        1 => {
            eprintln!("1 item was left out because of an error; the report lists it first");
            LEFT_OUT.into()
        }
        count => {
            eprintln!("{count} items were left out because of errors; the report lists them first");
            LEFT_OUT.into()
        }
    })
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("        {line}\n")).collect()
}
