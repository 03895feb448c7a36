//! Which objects get the sidecar, where it stands, and what is left alone.

use serde_json::{Value, json};

use super::{inject, injected, left_alone, named, pod};
use crate::harness::lockside_fed;

/// An object of a kind around a pod.
fn around(kind: &str, pod: &Value) -> Value {
    let template = json!({"metadata": pod["metadata"], "spec": pod["spec"]});
    let spec = match kind {
        "Pod" => return pod.clone(),
        "PodTemplate" => return json!({"kind": kind, "metadata": {"name": "web"}, "template": template}),
        "CronJob" => json!({"schedule": "* * * * *", "jobTemplate": {"spec": {"template": template}}}),
        _ => json!({"template": template}),
    };
    json!({"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": "web"}, "spec": spec})
}

/// The pod within an object of a kind.
fn within<'a>(kind: &str, object: &'a Value) -> &'a Value {
    match kind {
        "Pod" => object,
        "PodTemplate" => &object["template"],
        "CronJob" => &object["spec"]["jobTemplate"]["spec"]["template"],
        _ => &object["spec"]["template"],
    }
}

const KINDS: [&str; 10] = [
    "Pod",
    "Deployment",
    "StatefulSet",
    "DaemonSet",
    "ReplicaSet",
    "ReplicationController",
    "Job",
    "CronJob",
    "PodTemplate",
    "Rollout",
];

fn assert_has_the_sidecar(pod: &Value) {
    let sidecar = &pod["spec"]["initContainers"][0];
    assert_eq!(sidecar["name"], "lockside", "{pod}");
    assert_eq!(sidecar["image"], format!("lockside:{}", env!("CARGO_PKG_VERSION")));
    assert_eq!(sidecar["restartPolicy"], "Always");
    assert_eq!(sidecar["envFrom"], json!([{"configMapRef": {"name": "lockside"}}]));
    let started = json!({"exec": {"command": ["/lockside", "health", "--wait=30s"]}});
    assert_eq!((&sidecar["lifecycle"]["postStart"], &sidecar["startupProbe"]), (&started, &Value::Null));
    assert_eq!(sidecar["livenessProbe"]["httpGet"]["path"], "/healthz");
    assert_eq!(sidecar["readinessProbe"], Value::Null, "it is opt-in");
    assert_eq!(sidecar["securityContext"]["readOnlyRootFilesystem"], true);
    // 0444, which is octal.
    assert_eq!(named(&pod["spec"]["volumes"], "lockside-secrets")["secret"]["defaultMode"], 292);
    assert_eq!(pod["metadata"]["labels"]["lockside"], "sidecar");
    assert_eq!(pod["metadata"]["annotations"]["lockside/injected"], env!("CARGO_PKG_VERSION"));
}

#[tokio::test]
async fn every_kind_of_workload_gets_the_sidecar_and_a_second_time_changes_nothing() {
    for kind in KINDS {
        let object = around(kind, &pod(json!({"lockside/cli": "true", "team": "red"})));
        let once = injected(&object).await;
        assert_has_the_sidecar(within(kind, &once));
        assert_eq!(within(kind, &once)["metadata"]["annotations"]["team"], "red");
        if kind != "Pod" {
            assert_eq!(once["metadata"], object["metadata"], "the workload itself gets nothing");
        }
        assert_eq!(injected(&once).await, once, "{kind}");
    }
}

#[tokio::test]
async fn each_object_of_a_list_is_looked_at() {
    let list = json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "other"}},
        around("Deployment", &pod(json!({}))),
        {"apiVersion": "v1", "kind": "PodList", "items": [pod(json!({}))]},
    ]});
    let made = injected(&list).await;
    assert_eq!(made["items"][0], list["items"][0]);
    assert_has_the_sidecar(&made["items"][1]["spec"]["template"]);
    assert_has_the_sidecar(&made["items"][2]["items"][0]);
}

#[tokio::test]
async fn the_sidecar_is_before_the_init_containers_that_there_are_and_all_else_stays() {
    let mut object = pod(json!({}));
    object["spec"]["initContainers"] = json!([{"name": "migrate", "image": "busybox"}]);
    object["spec"]["volumes"] = json!([{"name": "tmp", "emptyDir": {}}]);
    object["spec"]["securityContext"] = json!({"fsGroup": 1000});
    let made = injected(&object).await;
    assert_has_the_sidecar(&made);
    assert_eq!(made["spec"]["initContainers"][1], object["spec"]["initContainers"][0]);
    assert_eq!(made["spec"]["volumes"][0], object["spec"]["volumes"][0]);
    for part in ["containers", "securityContext"] {
        assert_eq!(made["spec"][part], object["spec"][part], "{part}");
    }
}

#[tokio::test]
async fn an_injected_pod_is_updated_in_its_place() {
    let mut made = injected(&pod(json!({"lockside/cli": "true"}))).await;
    let containers = made["spec"]["initContainers"].as_array_mut().unwrap();
    containers.insert(0, json!({"name": "mesh", "image": "mesh"}));
    made["metadata"]["annotations"] = json!({"lockside/injected": "0.1.0", "lockside/cpu-limit": "2"});
    let finished = lockside_fed(&["inject", "--image", "registry.example.com/lockside:2"], made.to_string()).await;
    let updated: Value = serde_json::from_str(&finished.stdout).unwrap();
    let names: Vec<_> =
        updated["spec"]["initContainers"].as_array().unwrap().iter().map(|container| &container["name"]).collect();
    assert_eq!(names, ["mesh", "lockside"], "without the annotation the command line goes");
    let sidecar = &updated["spec"]["initContainers"][1];
    assert_eq!(sidecar["image"], "registry.example.com/lockside:2");
    assert_eq!(sidecar["resources"]["limits"]["cpu"], "2");
    assert_eq!(updated["spec"]["containers"], json!([{"name": "app", "image": "busybox"}]));
    assert_eq!(updated["spec"]["volumes"].as_array().unwrap().len(), 1);
    assert_eq!(updated["metadata"]["annotations"]["lockside/injected"], env!("CARGO_PKG_VERSION"));
}

#[tokio::test]
async fn without_the_label_nothing_changes() {
    for labels in [json!({}), json!({"app": "web"}), json!({"lockside/inject": "false"})] {
        let mut object = pod(json!({"lockside/unknown": "1"}));
        object["metadata"]["labels"] = labels;
        assert_eq!(left_alone(&object).await, "");
    }
    for other in [json!({"kind": "ConfigMap"}), json!([1]), json!("text"), json!({"kind": 5, "items": []})] {
        assert_eq!(left_alone(&other).await, "");
    }
}

#[tokio::test]
async fn another_value_of_the_label_is_refused() {
    for (value, shown) in [(json!("yes"), "yes"), (json!(true), "true"), (json!(1), "1"), (json!(""), "")] {
        let mut object = around("Deployment", &pod(json!({})));
        object["spec"]["template"]["metadata"]["labels"]["lockside/inject"] = value;
        let finished = inject(object.to_string()).await;
        assert_eq!((finished.code, finished.stdout.as_str()), (Some(1), ""));
        let said = format!("document 1: Deployment `web`: label `lockside/inject`: `{shown}`; expected \"true\"");
        assert!(finished.stderr.contains(&said), "{}", finished.stderr);
    }
}

#[tokio::test]
async fn on_the_workload_itself_label_and_annotations_do_nothing_and_are_warned_of() {
    let mut object = around("Deployment", &pod(json!({})));
    object["metadata"] = json!({
        "name": "web", "namespace": "team",
        "labels": {"lockside/inject": "true"}, "annotations": {"lockside/cli": "true"},
    });
    object["spec"]["template"]["metadata"] = json!({"labels": {"app": "web"}});
    let said = left_alone(&object).await;
    assert!(said.contains("Deployment `team/web`: the label `lockside/inject` does nothing on a workload"), "{said}");
    assert!(said.contains("put it into spec.template.metadata.labels"), "{said}");
    assert!(said.contains("the annotation `lockside/cli` does nothing on a workload"), "{said}");
}

#[tokio::test]
async fn what_is_in_the_wrong_place_is_warned_of_with_its_document_and_workload() {
    let labels = json!({"lockside/inject": "true"});
    let without = |kind: &str, labels: Value, annotations: Value| {
        let mut object = around(kind, &pod(annotations));
        let pod = match kind {
            "Pod" => &mut object["metadata"],
            "CronJob" => &mut object["spec"]["jobTemplate"]["spec"]["template"]["metadata"],
            _ => &mut object["spec"]["template"]["metadata"],
        };
        pod["labels"] = labels;
        object
    };
    let mut as_annotation = without("Deployment", json!({}), json!({}));
    as_annotation["metadata"]["annotations"] = labels.clone();
    let mut as_label = without("Deployment", json!({}), json!({}));
    as_label["metadata"]["labels"] = json!({"lockside/cli": "true"});
    let mut on_the_job = without("CronJob", json!({}), json!({}));
    on_the_job["spec"]["jobTemplate"]["metadata"] = json!({"labels": labels});
    let of_no_workload = json!({"kind": "Namespace", "metadata": {"name": "web", "labels": labels}});
    for (object, said) in [
        (without("Pod", json!({}), labels.clone()), "Pod `web`: `lockside/inject` does nothing as an annotation"),
        (without("Job", json!({}), labels.clone()), "Job `web`: `lockside/inject` does nothing as an annotation"),
        (
            as_annotation,
            "Deployment `web`: the annotation `lockside/inject` does nothing on a workload; put it into \
             spec.template.metadata.labels",
        ),
        (
            as_label,
            "Deployment `web`: the label `lockside/cli` does nothing on a workload; put it into \
             spec.template.metadata.annotations",
        ),
        (
            on_the_job,
            "CronJob `web`: the label `lockside/inject` in spec.jobTemplate does nothing on a workload; put it into \
             spec.jobTemplate.spec.template.metadata.labels",
        ),
        (
            of_no_workload,
            "Namespace `web`: the label `lockside/inject` does nothing here; put it into the labels of a pod or of the \
             template of a workload's pods",
        ),
        (
            without("Pod", json!({"lockside/cli": "true"}), json!({})),
            "Pod `web`: the label `lockside/cli` does nothing; it is an annotation of the pod",
        ),
        (
            without("Pod", json!({"lockside/inejct": "true"}), json!({})),
            "Pod `web`: the label `lockside/inejct` does nothing; did you mean `lockside/inject`?",
        ),
        (
            without("Pod", json!({"lockside/wat": "true"}), json!({})),
            "Pod `web`: the label `lockside/wat` does nothing; there is none of this name",
        ),
    ] {
        let told = left_alone(&object).await;
        assert_eq!(told.matches("document 1: ").count(), 1, "{told}");
        assert!(told.contains(&format!("document 1: {said}")), "{said}: {told}");
    }
}

#[tokio::test]
async fn a_label_at_a_place_that_is_not_read_is_warned_of_by_its_path() {
    let template = json!({"metadata": pod(json!({}))["metadata"], "spec": pod(json!({}))["spec"]});
    let of = |kind: &str, part: &str, value: Value| {
        let mut object = json!({"apiVersion": "x/v1", "kind": kind, "metadata": {"name": "web"}});
        object[part] = value;
        object
    };
    let mut switched_off = template.clone();
    switched_off["metadata"]["labels"]["lockside/inject"] = json!("false");
    let claims = json!({"template": {"spec": {}}, "volumeClaimTemplates": [{}, template]});
    for (object, name, paths) in [
        (
            of("ScaledJob", "spec", json!({"jobTargetRef": {"template": template}})),
            "ScaledJob",
            vec!["spec.jobTargetRef.template"],
        ),
        (
            of(
                "Template",
                "objects",
                json!([{"kind": "ConfigMap"}, around("Deployment", &pod(json!({}))), pod(json!({}))]),
            ),
            "Template",
            vec!["objects[1].spec.template", "objects[2]"],
        ),
        (of("StatefulSet", "spec", claims), "StatefulSet", vec!["spec.volumeClaimTemplates[1]"]),
        // A template without a pod.
        (
            of("Rollout", "spec", json!({"template": {"metadata": template["metadata"]}})),
            "Rollout",
            vec!["spec.template"],
        ),
        (
            of("ScaledJob", "spec", json!({"template": switched_off, "jobTargetRef": {"template": switched_off}})),
            "ScaledJob",
            vec![],
        ),
    ] {
        let said = left_alone(&object).await;
        assert_eq!(said.lines().count(), paths.len(), "{said}");
        for path in paths {
            let expected =
                format!("document 1: {name} `web`: the label `lockside/inject` in {path} does nothing, because");
            assert!(said.contains(&expected), "{expected}: {said}");
        }
    }
    let mut read = around("Deployment", &pod(json!({})));
    read["spec"]["strategy"] = json!({"canary": {"metadata": template["metadata"]}});
    let finished = inject(read.to_string()).await;
    assert!(finished.stdout.contains("lockside/injected"), "what is read beside it is injected");
    assert!(finished.stderr.contains("in spec.strategy.canary does nothing"), "{}", finished.stderr);
}

#[tokio::test]
async fn a_parameter_as_a_label_is_warned_of_in_a_pod_that_is_injected_too() {
    let mut object = pod(json!({}));
    object["metadata"]["labels"]["lockside/cli"] = json!("true");
    let finished = inject(object.to_string()).await;
    assert_eq!(finished.code, Some(0));
    assert!(finished.stderr.contains("Pod `web`: the label `lockside/cli` does nothing"), "{}", finished.stderr);
    assert_has_the_sidecar(&serde_json::from_str(&finished.stdout).unwrap());
}

#[tokio::test]
async fn the_label_that_the_kustomize_component_reads_is_not_warned_of() {
    let mut object = around("Deployment", &pod(json!({})));
    let labels = json!({"lockside": "sidecar", "lockside/readiness": "true"});
    object["metadata"]["labels"] = labels.clone();
    object["spec"]["template"]["metadata"] = json!({"labels": labels});
    assert_eq!(left_alone(&object).await, "");
    object["spec"]["template"]["metadata"] = json!({});
    assert_eq!(left_alone(&object).await, "");
    object["metadata"]["labels"] = json!({"lockside/readiness": "true"});
    assert!(left_alone(&object).await.contains("the label `lockside/readiness` does nothing on a workload"));
}

#[tokio::test]
async fn a_pod_that_cannot_have_a_sidecar_is_left_alone_and_told() {
    let with = |part: &str, value: Value| {
        let mut object = pod(json!({}));
        object["spec"][part] = value;
        object
    };
    let mut labelled = pod(json!({}));
    labelled["metadata"]["labels"]["lockside"] = json!("other");
    let mut in_the_way = pod(json!({"lockside/injected": "0.1.0"}));
    in_the_way["spec"]["containers"][0]["name"] = json!("lockside");
    for (object, why) in [
        (with("containers", json!([{"name": "lockside"}])), "its containers have a `lockside` of another origin"),
        (
            with("initContainers", json!([{"name": "lockside"}])),
            "its initContainers have a `lockside` of another origin",
        ),
        (with("volumes", json!([{"name": "lockside-secrets"}])), "its volumes have a `lockside-secrets`"),
        (in_the_way, "its containers have a `lockside` of another origin"),
        (labelled, "its label `lockside` is `other`"),
        (with("hostNetwork", json!(true)), "lockside/ops-port and lockside/listen"),
        (with("initContainers", json!(vec![json!({"name": "x"}); 1000])), "it has more than 1000 containers"),
        (with("containers", json!("none")), "its containers are no list of mappings"),
        (with("containers", json!(["app"])), "its containers are no list of mappings"),
        (with("initContainers", json!({})), "its initContainers are no list of mappings"),
        (
            json!({"kind": "Pod", "metadata": {"name": "web", "labels": {"lockside/inject": "true"}}, "spec": 5}),
            "its spec",
        ),
    ] {
        let said = left_alone(&object).await;
        assert!(said.contains(&format!("Pod `web`: left without a sidecar: {why}")) || said.contains(why), "{said}");
        assert!(said.contains("document 1: Pod `web`: left without a sidecar"), "{said}");
    }
}

#[tokio::test]
async fn on_the_network_of_the_host_a_pod_names_its_ports() {
    let mut object = pod(json!({"lockside/ops-port": "19420", "lockside/listen": "127.0.0.1:17420"}));
    object["spec"]["hostNetwork"] = json!(true);
    let made = injected(&object).await;
    assert_has_the_sidecar(&made);
    assert_eq!(made["spec"]["initContainers"][0]["ports"][0]["containerPort"], 19420);
}
