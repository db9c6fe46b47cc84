//! `make run`: a real Envoy with `envoy/envoy.yaml`, an upstream, and a receiver that prints each webhook.

use std::path::Path;

use anyhow::{Context, Result, bail};
use tokio::signal::unix::{SignalKind, signal};
use tollbell_tests::envoy::Process;
use tollbell_tests::server::{Received, Server};
use tollbell_tests::{client, envoy};

const CONFIG: &str = "envoy/envoy.yaml";

const TRY: &str = "\
tollbell serves on 127.0.0.1:10000. In another terminal, try:

  # a key with ten requests a minute: the 5th, 6th and 8th ring, the 11th is refused
  for i in $(seq 12); do curl -s -o /dev/null -w '%{http_code}\\n' -H 'Authorization: demo-key' http://127.0.0.1:10000/orders/$i; done

  # a wrong key, twice: one webhook, then the cool-down
  curl -i -H 'Authorization: wrong-key' http://127.0.0.1:10000/orders/1
  curl -i 'http://127.0.0.1:10000/orders/1?api_key=wrong-key'

  # the counters
  curl -s http://127.0.0.1:9901/stats/prometheus | grep '^tollbell_'

Every webhook that arrives is printed here. Ctrl-C ends it.
";

#[tokio::main]
async fn main() -> Result<()> {
    let _upstream = Server::start_on(10001, |_| {}).await.context("the demo's upstream")?;
    let _receiver = Server::start_on(10002, print).await.context("the demo's webhook receiver")?;
    let mut process = Process::start(&mut envoy::command(Path::new(CONFIG), 2)?)?;
    while !client::get(9901, "/ready", &[]).await.is_ok_and(|reply| reply.status == 200) {
        if let Some(status) = process.ended()? {
            bail!("Envoy ended with {status}; its log is above");
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    println!("{TRY}");
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted?,
        _ = terminate.recv() => {}
    }
    Ok(())
}

fn print(request: &Received) {
    println!("── webhook: {} {}", request.method, request.target);
    for (name, value) in &request.headers {
        println!("   {name}: {value}");
    }
    println!("\n{}\n", String::from_utf8_lossy(&request.body));
}
