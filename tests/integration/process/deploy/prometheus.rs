//! A real Prometheus with the configuration that ships, on scrapes that are fast enough for a test.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::deploy;
use crate::harness::http::Client;
use crate::harness::{Call, Scratch, Sidecar, eventually};

pub struct Prometheus {
    child: Child,
    address: String,
    client: Client,
    _scratch: Scratch,
}

impl Prometheus {
    /// Starts one that scrapes each sidecar as the job of that name.
    pub async fn start(jobs: &[(&str, &Sidecar)]) -> Prometheus {
        let scratch = Scratch::new();
        let config = scratch.file("prometheus.yml", config(jobs));
        // A free port: Prometheus does not say which one it was given.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "prometheus", "--log.level=warn"]);
        command.args(["--config.file", &config, "--storage.tsdb.path", &scratch.path("data")]);
        command.args(["--web.listen-address", &address]).stdin(Stdio::null());
        let child = command.spawn().expect("prometheus starts");
        let prometheus = Prometheus { child, address, client: Client::new(), _scratch: scratch };
        eventually("prometheus is ready", Duration::from_secs(30), async || {
            let call = Call::new(&prometheus.client, "GET", &format!("http://{}/-/ready", prometheus.address));
            call.try_send().await.is_ok_and(|answer| answer.status == 200)
        })
        .await;
        prometheus
    }

    /// GET of its API; what is under `data`.
    pub async fn ask(&self, path: &str) -> Value {
        let answer = Call::new(&self.client, "GET", &format!("http://{}/api/v1/{path}", self.address)).send().await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer.json()["data"].clone()
    }

    /// How many series an expression gives now.
    pub async fn count(&self, expression: &str) -> usize {
        let query = utf8_percent_encode(expression, NON_ALPHANUMERIC);
        self.ask(&format!("query?query={query}")).await["result"].as_array().unwrap().len()
    }
}

/// The shipped configuration, its one job repeated for each of ours.
fn config(jobs: &[(&str, &Sidecar)]) -> String {
    let shipped = std::fs::read_to_string(deploy("prometheus/prometheus.yml")).unwrap();
    let rules = deploy("prometheus/rules.yaml");
    let shipped = replaced(
        &replaced(&shipped, "15s", "250ms\n  evaluation_interval: 250ms"),
        "rules.yaml",
        rules.to_str().unwrap(),
    );
    let (head, job) = shipped.split_once("scrape_configs:\n").unwrap();
    let job_of = |(name, sidecar): &(&str, &Sidecar)| {
        replaced(&replaced(job, "job_name: app", &format!("job_name: {name}")), "127.0.0.1:9420", sidecar.ops_address())
    };
    format!("{head}scrape_configs:\n{}", jobs.iter().map(job_of).collect::<String>())
}

fn replaced(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "no {from} in {text}");
    text.replace(from, to)
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
