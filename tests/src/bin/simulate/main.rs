//! `make simulate-fleet`: the leases of a fleet past one machine. The VMs run the module's own code, and the store is the
//! model of `lease.lua`, which a test compares with the script. Only the network is made up.

mod demand;
mod figures;
mod network;
mod world;

use anyhow::Result;
use clap::{Args, Parser};
use network::Topology;
use world::{Scenario, World};

/// The size of the fleet and of its load.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Size {
    #[arg(long, default_value_t = 1000)]
    pub(crate) envoys: usize,
    #[arg(long, default_value_t = 8)]
    pub(crate) workers: usize,
    #[arg(long, default_value_t = 1_000_000)]
    pub(crate) keys: usize,
    /// Requests in a second, of all members.
    #[arg(long, default_value_t = 100_000)]
    pub(crate) rate: u64,
    /// Simulated seconds.
    #[arg(long, default_value_t = 25)]
    pub(crate) seconds: u64,
    /// The window of each key's quota in seconds.
    #[arg(long, default_value_t = 10)]
    pub(crate) window: u64,
    /// The nodes that the counters are spread over.
    #[arg(long, default_value_t = 16)]
    pub(crate) shards: usize,
}

#[derive(Parser)]
struct Options {
    #[command(flatten)]
    size: Size,
    /// Runs only the scenarios whose names contain this.
    #[arg(long, default_value = "")]
    only: String,
}

fn main() -> Result<()> {
    let Options { size, only } = Options::parse();
    let plain = Scenario::default();
    let ten = Scenario { topology: Topology::Far, ..plain };
    let outage = Some((size.seconds / 2, size.seconds / 2 + 5));
    let scenarios = [
        ("one region, leased", plain),
        ("one region, exact", Scenario { reads_ahead: false, ..plain }),
        ("ten regions, one store, leased", ten),
        ("ten regions, one store, leased, patience 500 ms", Scenario { patience_ms: 500, timeout_ms: 500, ..ten }),
        ("ten regions, one store, exact", Scenario { reads_ahead: false, ..ten }),
        ("ten regions, each its own store and a tenth of each quota", Scenario { topology: Topology::Own, ..plain }),
        ("the store's region fails for 5 s, share", Scenario { outage, ..ten }),
        ("the store's region fails for 5 s, refuse", Scenario { outage, on_loss: "refuse", ..ten }),
        ("the store's region fails for 5 s, admit", Scenario { outage, on_loss: "admit", ..ten }),
        ("another region is cut off for 5 s, share", Scenario { outage, cuts_other: true, ..ten }),
    ];
    println!(
        "{} Envoys with {} workers, {} keys with a Zipf load, {} requests a second, {} s, windows of {} s\n",
        size.envoys, size.workers, size.keys, size.rate, size.seconds, size.window
    );
    for (name, scenario) in scenarios {
        if name.contains(&only) {
            println!("## {name}\n\n{}", World::new(size, scenario).run()?);
        }
    }
    Ok(())
}
