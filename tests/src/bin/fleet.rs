//! `make run-fleet`: a Redis, three gateways with `envoy/fleet.yaml`, an upstream and a webhook receiver. The gateways
//! run in the shim, or with `--envoy` in Envoy.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use host_shim::config;
use tokio::signal::unix::{SignalKind, signal};
use tollbell_cli::demo;
use tollbell_tests::envoy::Process;
use tollbell_tests::redis::Redis;
use tollbell_tests::{client, envoy, project_root};

const CONFIG: &str = "envoy/fleet.yaml";
const MEMBERS: u16 = 3;

/// The first gateway's ports. The others have the next ones.
const LISTENER: u16 = 10001;
const ADMIN: u16 = 9911;

/// The configuration of one gateway.
fn write_member(yaml: &str, member: u16, redis: u16) -> Result<PathBuf> {
    let folder = project_root().join("target/fleet");
    fs::create_dir_all(&folder)?;
    let path = folder.join(format!("gateway-{}.yaml", member + 1));
    let port =
        |yaml: String, from: u16, to: u16| yaml.replace(&format!("port_value: {from} "), &format!("port_value: {to} "));
    let yaml = port(yaml.to_owned(), 10000, LISTENER + member);
    let yaml = port(port(yaml, 9901, ADMIN + member), 6379, redis);
    fs::write(&path, yaml.replace("dist/", &format!("{}/dist/", project_root().display())))?;
    Ok(path)
}

fn start(path: &Path, is_envoy: bool) -> Result<Process> {
    if is_envoy {
        return Process::start(&mut envoy::command(path, 2)?);
    }
    let command = std::env::current_exe()?.with_file_name("tollbell");
    Process::start(Command::new(command).args(["run", "--workers", "2", "--config"]).arg(path))
}

#[tokio::main]
async fn main() -> Result<()> {
    let is_envoy = std::env::args().any(|argument| argument == "--envoy");
    let yaml = fs::read_to_string(project_root().join(CONFIG))?;
    let redis = Redis::start()?;
    let paths = (0..MEMBERS).map(|member| write_member(&yaml, member, redis.port())).collect::<Result<Vec<_>>>()?;
    demo::start(&config::read(&paths[0]).map_err(|errors| anyhow!("{errors}"))?.bootstrap)?;
    let mut members = paths.iter().map(|path| start(path, is_envoy)).collect::<Result<Vec<_>>>()?;
    for (number, member) in (0..MEMBERS).zip(&mut members) {
        while !client::get(ADMIN + number, "/ready", &[]).await.is_ok_and(|reply| reply.status == 200) {
            if let Some(status) = member.ended()? {
                bail!("gateway {} ended with {status}; its log is above", number + 1);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    println!("\nThree gateways on 127.0.0.1:10001 to 10003 count in a Redis on 127.0.0.1:{}.", redis.port());
    println!("{}", demo::proposals(&yaml, None, None));
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted?,
        _ = terminate.recv() => {}
    }
    Ok(())
}
