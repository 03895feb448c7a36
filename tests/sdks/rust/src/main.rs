//! The driver of the Rust SDK's generated stub: requests and answers as lines of JSON, see ../README.md.

use std::io::stdin;
use std::time::Duration;

use dapr::client::{ApiTokenInterceptor, ClientOptions};
use dapr::dapr::proto::runtime::v1::dapr_client::DaprClient;
use dapr::dapr::proto::runtime::v1::{TryLockRequest, UnlockRequest};
use serde_json::{Value, json};
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

type Client = DaprClient<InterceptedService<Channel, ApiTokenInterceptor>>;

async fn connect() -> Result<Client, String> {
    let options = ClientOptions::from_env().map_err(|error| error.to_string())?;
    let endpoint = Endpoint::from_shared(options.address().to_owned()).map_err(|error| error.to_string())?;
    let channel = endpoint.connect().await.map_err(|error| error.to_string())?;
    let token = ApiTokenInterceptor::new(options.api_token().map(str::to_owned));
    Ok(DaprClient::with_interceptor(channel, token))
}

fn text(request: &Value, name: &str) -> String {
    request[name].as_str().unwrap_or_default().to_owned()
}

async fn lock(client: &mut Client, request: &Value) -> Result<Value, Status> {
    let message = TryLockRequest {
        store_name: text(request, "store"),
        resource_id: text(request, "resource"),
        lock_owner: text(request, "owner"),
        expiry_in_seconds: request["seconds"].as_i64().unwrap_or_default() as i32,
    };
    let within = Duration::from_millis(request["withinMs"].as_u64().unwrap_or(u64::MAX));
    // What is dropped is cancelled.
    let answer = tokio::time::timeout(within, client.try_lock_alpha1(message)).await;
    let answer = answer.unwrap_or_else(|_| Err(Status::new(Code::DeadlineExceeded, "given up")))?;
    Ok(json!({"success": answer.into_inner().success}))
}

async fn unlock(client: &mut Client, request: &Value) -> Result<Value, Status> {
    let message = UnlockRequest {
        store_name: text(request, "store"),
        resource_id: text(request, "resource"),
        lock_owner: text(request, "owner"),
    };
    Ok(json!({"status": client.unlock_alpha1(message).await?.into_inner().status}))
}

async fn call(client: &mut Option<Client>, request: &Value) -> Result<Value, Value> {
    if request["op"] == "connect" {
        let connected = connect().await;
        *client = Some(connected.map_err(|message| json!({"code": "local", "message": message}))?);
        return Ok(json!({}));
    }
    let client = client.as_mut().expect("connect comes first");
    let answer = if request["op"] == "unlock" { unlock(client, request).await } else { lock(client, request).await };
    answer.map_err(|status| json!({"code": status.code() as i32, "message": status.message()}))
}

fn main() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let mut client = None;
    for line in stdin().lines() {
        let request: Value = serde_json::from_str(&line.expect("a line")).expect("JSON");
        let mut answer = match runtime.block_on(call(&mut client, &request)) {
            Ok(content) => json!({"ok": true, "success": content.get("success"), "status": content.get("status")}),
            Err(error) => json!({"ok": false, "error": error}),
        };
        answer["id"] = request["id"].clone();
        println!("{answer}");
    }
}
