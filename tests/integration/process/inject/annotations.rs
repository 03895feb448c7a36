//! What each annotation changes, and what becomes of a wrong one.

use serde_json::{Value, json};

use super::{inject, injected, named, pod};

const DIGESTED: &str = "r.example.com/l:1@sha256:0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a";

async fn sidecar(annotations: Value) -> Value {
    injected(&pod(annotations)).await["spec"]["initContainers"][0].clone()
}

#[tokio::test]
async fn each_annotation_sets_its_parameter_and_nothing_else() {
    let plain = sidecar(json!({})).await;
    for (name, value, pointer, expected) in [
        ("image", DIGESTED, "/image", json!(DIGESTED)),
        ("cpu-request", "100m", "/resources/requests/cpu", json!("100m")),
        ("cpu-limit", "1.5", "/resources/limits/cpu", json!("1.5")),
        ("memory-request", "32Mi", "/resources/requests/memory", json!("32Mi")),
        ("memory-limit", "1Gi", "/resources/limits/memory", json!("1Gi")),
        ("config-map", "locks.team", "/envFrom/0/configMapRef/name", json!("locks.team")),
        ("listen", "127.0.0.1:7500", "/env", json!([{"name": "LOCKSIDE_LISTEN", "value": "127.0.0.1:7500"}])),
    ] {
        let mut expected_whole = plain.clone();
        match pointer.rsplit_once('/') {
            Some((parent, key)) if expected_whole.pointer(pointer).is_none() => {
                expected_whole.pointer_mut(parent).expect("its parent")[key] = expected;
            }
            _ => *expected_whole.pointer_mut(pointer).unwrap() = expected,
        }
        assert_eq!(sidecar(json!({format!("lockside/{name}"): value})).await, expected_whole, "{name}");
    }
}

#[tokio::test]
async fn the_secret_is_that_of_the_annotation() {
    let made = injected(&pod(json!({"lockside/secret": "locks"}))).await;
    assert_eq!(named(&made["spec"]["volumes"], "lockside-secrets")["secret"]["secretName"], "locks");
}

#[tokio::test]
async fn the_port_of_the_probes_follows_the_annotation() {
    let sidecar = sidecar(json!({"lockside/ops-port": "9500"})).await;
    assert_eq!(sidecar["ports"], json!([{"name": "lockside-ops", "containerPort": 9500}]));
    assert_eq!(sidecar["env"], json!([{"name": "LOCKSIDE_OPS_LISTEN", "value": "*:9500"}]));
    assert_eq!(sidecar["livenessProbe"]["httpGet"]["port"], "lockside-ops");
}

#[tokio::test]
async fn readiness_is_opt_in() {
    let probe = json!({"path": "/readyz", "port": "lockside-ops"});
    assert_eq!(sidecar(json!({"lockside/readiness": "true"})).await["readinessProbe"]["httpGet"], probe);
    assert_eq!(sidecar(json!({"lockside/readiness": "false"})).await["readinessProbe"], Value::Null);
}

#[tokio::test]
async fn the_command_line_is_mounted_in_every_container_with_its_address() {
    let mut object = pod(json!({"lockside/cli": "true", "lockside/listen": "tls:0.0.0.0:7443,0.0.0.0:7500"}));
    object["spec"]["initContainers"] = json!([{"name": "migrate", "image": "busybox"}]);
    object["spec"]["containers"] = json!([
        {"name": "app", "image": "busybox", "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}]},
    ]);
    let made = injected(&object).await;
    let spec = &made["spec"];
    let install = &spec["initContainers"][1];
    assert_eq!(install["name"], "lockside-install", "behind the sidecar, before all that may use it");
    assert_eq!(install["image"], spec["initContainers"][0]["image"]);
    assert_eq!(install["args"], json!(["install", "/cli"]));
    assert_eq!(install["volumeMounts"], json!([{"name": "lockside-cli", "mountPath": "/cli"}]));
    assert_eq!(install["securityContext"], spec["initContainers"][0]["securityContext"]);
    assert_eq!(named(&spec["volumes"], "lockside-cli")["emptyDir"]["sizeLimit"], "64Mi");
    let mount = json!({"name": "lockside-cli", "mountPath": "/lockside/bin", "readOnly": true});
    for container in [&spec["initContainers"][2], &spec["containers"][0]] {
        let mounts = container["volumeMounts"].as_array().unwrap();
        assert_eq!(mounts.last(), Some(&mount), "{container}");
    }
    let url = json!([{"name": "LOCKSIDE_URL", "value": "http://127.0.0.1:7500"}]);
    assert_eq!(spec["containers"][0]["env"], url);
    assert_eq!(spec["initContainers"][2]["env"], url);
    assert_eq!(
        spec["initContainers"][0].get("volumeMounts").unwrap().as_array().unwrap().len(),
        1,
        "the sidecar has none"
    );
    assert_eq!(injected(&made).await, made);
}

/// What becomes of one object, and what is said of it.
async fn told(object: &Value) -> (Value, String) {
    let finished = inject(object.to_string()).await;
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    (serde_json::from_str(&finished.stdout).expect("JSON"), finished.stderr)
}

#[tokio::test]
async fn the_address_that_a_container_has_already_is_kept_and_told() {
    let from_a_map =
        json!({"name": "LOCKSIDE_URL", "valueFrom": {"configMapKeyRef": {"name": "urls", "key": "locks"}}});
    for own in [
        json!({"name": "LOCKSIDE_URL", "value": "https://locks.example.com"}),
        // Of a proxy in the pod.
        json!({"name": "LOCKSIDE_URL", "value": "http://127.0.0.1:8080"}),
        json!({"name": "LOCKSIDE_URL", "value": ""}),
        from_a_map,
    ] {
        let mut object = pod(json!({"lockside/cli": "true", "lockside/listen": "127.0.0.1:7500"}));
        object["spec"]["containers"][0]["env"] = json!([own]);
        let (mut made, said) = told(&object).await;
        let expected = "document 1: Pod `web`: container `app` keeps its own LOCKSIDE_URL; the sidecar is at http://127.0.0.1:7500";
        assert!(said.contains(expected), "{said}");
        assert_eq!(made["spec"]["containers"][0]["env"], json!([own]));
        assert_eq!(told(&made).await, (made.clone(), said), "also of a pod that has been injected");
        let annotations = made["metadata"]["annotations"].as_object_mut().unwrap();
        annotations.remove("lockside/cli");
        assert_eq!(
            injected(&made).await["spec"]["containers"],
            object["spec"]["containers"],
            "nor does it go with ours"
        );
    }
}

#[tokio::test]
async fn the_address_of_a_container_follows_that_of_its_sidecar() {
    let mut made = injected(&pod(json!({"lockside/cli": "true", "lockside/listen": "127.0.0.1:7500"}))).await;
    for (listen, url) in [("0.0.0.0:7600", "http://127.0.0.1:7600"), ("127.0.0.1:7420", "http://127.0.0.1:7420")] {
        made["metadata"]["annotations"]["lockside/listen"] = json!(listen);
        made = injected(&made).await;
        assert_eq!(made["spec"]["containers"][0]["env"], json!([{"name": "LOCKSIDE_URL", "value": url}]));
    }
    made["metadata"]["annotations"].as_object_mut().unwrap().remove("lockside/cli");
    assert_eq!(injected(&made).await["spec"]["containers"], json!([{"name": "app", "image": "busybox"}]));
}

#[tokio::test]
async fn a_container_of_locksides_own_image_gets_no_mount_below_its_binary() {
    const OWN: &str = "r.example.com:5000/team/sidecar";
    let is_mounted = async |image: &str| {
        let mut object = pod(json!({"lockside/cli": "true", "lockside/image": format!("{OWN}:2")}));
        object["spec"]["containers"][0]["image"] = json!(image);
        let (made, said) = told(&object).await;
        let container = &made["spec"]["containers"][0];
        assert_eq!(container["env"][0]["value"], "http://127.0.0.1:7420", "{container}");
        let is_told = said
            .contains("Pod `web`: container `app` has lockside's own image, in which the command line is `/lockside`");
        let mounts = container.get("volumeMounts").and_then(Value::as_array).map_or(0, Vec::len);
        assert_eq!((mounts, is_told), (usize::from(!is_told), is_told), "{image}: {said}\n{container}");
        !is_told
    };
    for image in [
        format!("{OWN}:1"),
        format!("{OWN}@sha256:0a"),
        format!("{OWN}:1@sha256:0a"),
        OWN.to_owned(),
        "lockside".to_owned(),
        "mirror.example.com:5000/lockside:0.1.0".to_owned(),
    ] {
        assert!(!is_mounted(&image).await, "{image}");
    }
    for image in
        ["busybox", "r.example.com:5000/team/app:2", "team/sidecar:2", "locksides:1", "r.example.com/lockside/app"]
    {
        assert!(is_mounted(image).await, "{image}");
    }
}

#[tokio::test]
async fn the_mount_below_the_binary_that_an_earlier_version_made_goes() {
    let mut made = injected(&pod(json!({"lockside/cli": "true"}))).await;
    made["spec"]["containers"][0]["image"] = json!("lockside:1");
    let own = json!({"name": "lockside-cli", "mountPath": "/tools"});
    made["spec"]["containers"][0]["volumeMounts"].as_array_mut().unwrap().push(own.clone());
    let (made, _) = told(&made).await;
    assert_eq!(made["spec"]["containers"][0]["volumeMounts"], json!([own]));
}

#[tokio::test]
async fn a_wrong_value_is_refused_by_its_name_and_its_workload() {
    for (name, value, said) in [
        ("image", json!("two words"), "expected an image"),
        ("image", json!(""), "expected an image"),
        ("image", json!("https://r.example.com/lockside:1"), "expected an image"),
        ("image", json!("r.example.com/Lockside:1"), "expected an image"),
        ("image", json!("lockside:1:2@x"), "expected an image"),
        ("cpu-request", json!("fast"), "expected a quantity above zero, such as 50m"),
        ("cpu-limit", json!("0"), "expected a quantity above zero"),
        ("cpu-limit", json!("10m"), "the limit 10m is below the request 50m; set `lockside/cpu-request`, too"),
        ("memory-request", json!("1Gi"), "the request 1Gi is above the limit 128Mi; set `lockside/memory-limit`, too"),
        ("memory-request", json!("1 Gi"), "expected a quantity above zero"),
        ("memory-limit", json!("64MB"), "expected a quantity above zero"),
        ("memory-limit", json!("8Mi"), "the limit 8Mi is below the request 16Mi"),
        ("config-map", json!("Locks"), "expected the name of a ConfigMap"),
        ("secret", json!("-x"), "expected the name of a Secret"),
        ("readiness", json!("yes"), "expected \"true\" or \"false\""),
        ("cli", json!("1"), "expected \"true\" or \"false\""),
        ("cli", json!(true), "put the value in quotes"),
        ("ops-port", json!("0"), "expected a port, 1 to 65535"),
        ("ops-port", json!("+80"), "expected a port, 1 to 65535"),
        ("ops-port", json!(9421), "put the value in quotes"),
        ("listen", json!("7420"), "expected ip:port"),
        ("listen", json!("unix:/run/l.sock"), "`unix:/run/l.sock`: a unix socket of the sidecar is out of reach"),
        ("listen", json!("127.0.0.1:7420,unix:/run/l.sock"), "a unix socket of the sidecar is out of reach"),
        ("listen", json!("127.0.0.1:0"), "expected a port other than 0"),
        (
            "listen",
            json!("127.0.0.1:9420"),
            "9420 would be the port of the API (`lockside/listen`) and of the probes (`lockside/ops-port`)",
        ),
        (
            "ops-port",
            json!("7420"),
            "7420 would be the port of the API (`lockside/listen`) and of the probes (`lockside/ops-port`)",
        ),
        ("listen", json!("0.0.0.0:1,tls:127.0.0.1:1"), "`0.0.0.0:1` and `127.0.0.1:1` are one port twice"),
        ("listen", json!("[::1]:1,127.0.0.1:1,[::1]:1"), "`[::1]:1` and `[::1]:1` are one port twice"),
        ("listen", json!(vec!["127.0.0.1:1"; 100].join(",")), "expected a few addresses"),
        ("clii", json!("true"), "did you mean `lockside/cli`?"),
        ("replicas", json!("2"), "there is none of this name"),
        ("inject", json!("true"), "a label of the pod, not an annotation"),
    ] {
        let finished = inject(pod(json!({format!("lockside/{name}"): value})).to_string()).await;
        assert_eq!((finished.code, finished.stdout.as_str()), (Some(1), ""), "{name}: {value}");
        let begin = format!("document 1: Pod `web`: annotation `lockside/{name}`: ");
        assert!(finished.stderr.contains(&begin) && finished.stderr.contains(said), "{}", finished.stderr);
    }
}

#[tokio::test]
async fn what_annotations_contradict_together_is_told_by_both_names() {
    for (annotations, said) in [
        (
            json!({"lockside/listen": "127.0.0.1:9500", "lockside/ops-port": "9500"}),
            "annotations `lockside/listen` and `lockside/ops-port`: 9500 would be the port of the API",
        ),
        (
            json!({"lockside/memory-request": "2Gi", "lockside/memory-limit": "1Gi"}),
            "annotations `lockside/memory-request` and `lockside/memory-limit`: the request 2Gi is above the limit 1Gi\n",
        ),
    ] {
        let finished = inject(pod(annotations).to_string()).await;
        assert_eq!((finished.code, finished.stdout.as_str()), (Some(1), ""));
        assert!(finished.stderr.contains(said), "{said}: {}", finished.stderr);
    }
    for annotations in [
        json!({"lockside/listen": "0.0.0.0:7420,[::]:7420,127.0.0.2:7421,127.0.0.1:7421"}),
        json!({"lockside/listen": "127.0.0.1:9420", "lockside/ops-port": "7420"}),
    ] {
        injected(&pod(annotations)).await;
    }
}

#[tokio::test]
async fn a_container_that_mounts_something_else_in_the_place_of_the_command_line_is_told() {
    for path in ["/lockside/bin", "/lockside/bin/", "/lockside//bin"] {
        let mut object = pod(json!({"lockside/cli": "true"}));
        let mounts = json!([{"name": "tools", "mountPath": path}]);
        object["spec"]["containers"][0]["volumeMounts"] = mounts.clone();
        let (made, said) = told(&object).await;
        let expected = "document 1: Pod `web`: container `app` mounts `tools` at /lockside/bin, where the command line would be; \
                        it gets none";
        assert!(said.contains(expected), "{said}");
        assert_eq!(made["spec"]["containers"][0]["volumeMounts"], mounts);
    }
    let mut own = pod(json!({"lockside/cli": "true"}));
    own["spec"]["containers"][0]["volumeMounts"] = json!([{"name": "lockside-cli", "mountPath": "/lockside/bin/"}, {"name": "tools", "mountPath": "/lockside/bin2"}]);
    assert_eq!(injected(&own).await["spec"]["containers"][0]["volumeMounts"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn every_mistake_is_told_in_one_run() {
    let first = pod(json!({"lockside/cli": "1", "lockside/ops-port": "x"}));
    let finished = inject(format!("{first}\n---\n{}\n", pod(json!({"lockside/what": "1"})))).await;
    assert_eq!((finished.code, finished.stdout.as_str()), (Some(1), ""));
    for said in ["document 1: Pod `web`: annotation `lockside/cli`", "`lockside/ops-port`", "document 2: Pod `web`"] {
        assert!(finished.stderr.contains(said), "{}", finished.stderr);
    }
}

#[tokio::test]
async fn the_command_line_needs_an_address_that_it_can_reach() {
    let annotations = json!({"lockside/cli": "true", "lockside/listen": "tls:127.0.0.1:7443"});
    let finished = inject(pod(annotations).to_string()).await;
    assert_eq!(finished.code, Some(1));
    assert!(finished.stderr.contains("no address in `lockside/listen`"), "{}", finished.stderr);
}
