//! Runs an Envoy configuration in a real Envoy and in the host shim, and prints what differs.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use tollbell_tests::compare::{Configuration, Difference, Requests, compare, compare_twice, read_known, warnings};

/// Compare the host shim with a real Envoy
///
/// Both run the same configuration, and get the same requests one after the other. The ports of listeners and of the
/// admin interface are replaced by free ones. Each cluster gets a server that records requests, and answers as the file
/// of requests says. Compared are the answers, the log lines of modules, the requests to upstreams, and the statistics
/// that both hosts have. The exit status is 1 if there is a difference that is not in the list of known ones.
#[derive(Parser)]
#[command(max_term_width = 100)]
struct Arguments {
    /// The Envoy configuration, YAML
    #[arg(short, long, value_name = "FILE")]
    config: PathBuf,
    /// The requests, YAML; tests/compare/requests.yaml is an example
    #[arg(short, long, value_name = "FILE")]
    requests: PathBuf,
    /// Known differences, YAML
    #[arg(short, long, value_name = "FILE")]
    known: Option<PathBuf>,
    /// Run this module in each wasm filter, instead of the modules of the configuration
    #[arg(long, value_name = "FILE")]
    wasm: Option<PathBuf>,
    /// Send only requests whose names contain this text
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Run both hosts twice, and show only what differs both times
    #[arg(long)]
    twice: bool,
    /// Print the differences as entries of a list of known ones
    #[arg(long)]
    list: bool,
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let text = std::fs::read_to_string(&arguments.config)?;
    let mut requests = Requests::read(&arguments.requests)?;
    if let Some(only) = &arguments.only {
        requests.requests.retain(|request| request.name.contains(only));
    }
    let known = arguments.known.as_deref().map(read_known).transpose()?.unwrap_or_default();
    for warning in warnings(&text) {
        eprintln!("the shim warns: {warning}");
    }
    let module = arguments.wasm.map(|path| path.display().to_string());
    let (configuration, module) = (Configuration::parse(&text)?, module.as_deref());
    let differences = match arguments.twice {
        true => compare_twice(&configuration, module, &requests, &known).await?,
        false => compare(&configuration, module, &requests, &known).await?,
    };
    let (expected, new): (Vec<_>, Vec<_>) = differences.iter().partition(|difference| difference.is_known);
    if arguments.list {
        print!("{}", entries(&new));
    } else {
        new.iter().for_each(|difference| println!("{difference}"));
    }
    println!("{} requests, {} differences, {} known ones", requests.requests.len(), new.len(), expected.len());
    Ok(if new.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The differences in the form of the list of known ones.
fn entries(differences: &[&Difference]) -> String {
    let mut parts: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for difference in differences {
        parts.entry(&difference.name).or_default().push(difference.part.name());
    }
    let lines = parts.iter().map(|(name, parts)| format!("    {name:?}: [{}]\n", parts.join(", ")));
    format!("- reason: unknown\n  differ:\n{}", lines.collect::<String>())
}
