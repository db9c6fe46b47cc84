//! Runs a story on a real Envoy, between a real upstream and a real receiver.

use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use host_shim::config::node::Node;
use host_shim::config::to_json;
use host_shim::gateway::{Request, Response};
use host_shim::story::{Action, Behaviour, Story, Subject};
use tokio::runtime::Runtime;
use tollbell_tests::envoy::{Envoy, Setup, free_port};
use tollbell_tests::server::{Manner, Received, Server};
use tollbell_tests::{client, project_root};

use crate::support::SOON;

/// Within this time an unexpected request would arrive.
const GRACE: Duration = Duration::from_millis(700);

pub struct EnvoySubject {
    envoy: Envoy,
    upstream: Server,
    receiver: Server,
    file: String,
    runtime: Runtime,
}

impl EnvoySubject {
    pub fn start(story: &Story) -> Result<Self> {
        let runtime = Runtime::new()?;
        let root = project_root().canonicalize()?;
        let file = story.envoy.canonicalize()?.strip_prefix(&root)?.display().to_string();
        let (upstream, receiver) =
            runtime.block_on(async { anyhow::Ok((Server::start().await?, Server::start().await?)) })?;
        let mut setup =
            setup(&file, story.configuration.as_ref(), &upstream, &receiver)?.workers(u32::try_from(story.workers)?);
        if story.steps.iter().any(|step| matches!(step.action, Action::Configure(_))) {
            setup = setup.watch_listener();
        }
        let envoy = runtime.block_on(setup.start())?;
        Ok(EnvoySubject { envoy, upstream, receiver, file, runtime })
    }
}

fn setup(file: &str, configuration: Option<&Node>, upstream: &Server, receiver: &Server) -> Result<Setup> {
    let mut setup = Setup::file(file, upstream.port, receiver.port)?;
    if file.starts_with("envoy/kubernetes/") {
        setup = outside_of_kubernetes(setup, upstream.port, receiver.port)?;
    }
    match configuration {
        None => Ok(setup),
        Some(configuration) => setup.with_configuration(&to_json(configuration), receiver.port),
    }
}

/// Replaces the names that exist only in a cluster of Kubernetes and its containers.
fn outside_of_kubernetes(setup: Setup, upstream: u16, receiver: u16) -> Result<Setup> {
    let module = project_root().join("dist/tollbell.wasm").display().to_string();
    let names = [
        (
            "address: orders.default.svc.cluster.local, port_value: 8080 ",
            format!("address: 127.0.0.1, port_value: {upstream} "),
        ),
        ("https://hooks.example.com", format!("http://127.0.0.1:{receiver}")),
        ("port_value: 9902 ", format!("port_value: {} ", free_port()?)),
        ("/etc/envoy/tollbell.wasm", module),
    ];
    Ok(setup.edit(|mut yaml| {
        for (name, here) in names {
            assert!(yaml.contains(name), "{name}");
            yaml = yaml.replace(name, &here);
        }
        yaml
    }))
}

fn manner(behaviour: &Behaviour) -> Result<Manner> {
    let Behaviour { status, delay, body, .. } = behaviour.clone();
    let simple = Behaviour { status, delay, body: body.clone(), ..Behaviour::default() };
    ensure!(*behaviour == simple, "the test's servers know status, delay and body only");
    Ok(Manner { status, delay, body, ..Manner::default() })
}

fn of_received(received: &Received) -> Request {
    let mut request = Request::new(&received.method, &received.target).body(received.body.clone());
    for (name, value) in &received.headers {
        request = request.header(name, value);
    }
    request
}

impl Subject for EnvoySubject {
    fn request(&mut self, request: &Request, _worker: Option<usize>) -> Result<Response> {
        let headers: Vec<(&str, &str)> = request
            .headers
            .iter()
            .filter(|(name, _)| name.first() != Some(&b':'))
            .map(|(name, value)| Ok((std::str::from_utf8(name)?, std::str::from_utf8(value)?)))
            .collect::<Result<_>>()?;
        let sent = client::send(self.envoy.port, request.method(), request.path(), &headers, request.body.concat());
        let reply = self.runtime.block_on(sent)?;
        let mut response = Response::new(reply.status).body(reply.body);
        for (name, value) in &reply.headers {
            response = response.header(name, value);
        }
        Ok(response)
    }

    fn set_upstream(&mut self, behaviour: &Behaviour) -> Result<()> {
        self.upstream.set_manner(manner(behaviour)?);
        Ok(())
    }

    fn set_targets(&mut self, behaviour: &Behaviour) -> Result<()> {
        self.receiver.set_manner(manner(behaviour)?);
        Ok(())
    }

    fn messages(&mut self, count: usize) -> Result<Vec<Request>> {
        let deadline = Instant::now() + SOON;
        while self.receiver.count() < count && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
        std::thread::sleep(GRACE);
        Ok(self.receiver.received().iter().map(of_received).collect())
    }

    fn metric(&mut self, name: &str) -> Result<u64> {
        self.runtime.block_on(self.envoy.stat(&format!("wasmcustom.{name}")))
    }

    fn wait_a_moment(&mut self) -> bool {
        std::thread::sleep(Duration::from_millis(50));
        true
    }

    fn configure(&mut self, configuration: &Node) -> Result<()> {
        let before = self.runtime.block_on(self.envoy.stat("listener_manager.listener_create_success"))?;
        self.envoy.update_listener(setup(&self.file, Some(configuration), &self.upstream, &self.receiver)?)?;
        let deadline = Instant::now() + SOON;
        while self.runtime.block_on(self.envoy.stat("listener_manager.listener_create_success"))? == before {
            if Instant::now() > deadline {
                bail!("Envoy has not taken the new listener");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        // For a short time, new connections go to the old listener.
        std::thread::sleep(Duration::from_millis(500));
        Ok(())
    }
}
