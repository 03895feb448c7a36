//! The chart, as far as it can be told without helm: `helm lint` and `helm template` have the rest.

use std::collections::BTreeSet;

use super::deploy;
use crate::harness::lockside;

fn template(name: &str) -> String {
    std::fs::read_to_string(deploy("helm/templates").join(name)).unwrap()
}

#[tokio::test]
async fn the_flags_of_the_deployment_are_those_of_the_webhook() {
    let help = lockside(&["webhook", "--help"]).await.stdout;
    let deployment = template("deployment.yaml");
    let args = deployment.lines().filter_map(|line| line.trim().strip_prefix("- --"));
    let flags: BTreeSet<&str> = args.filter_map(|arg| arg.split('=').next()).collect();
    assert_eq!(flags, BTreeSet::from(["image", "listen", "log-format", "tls-cert-file", "tls-key-file"]));
    for flag in flags {
        assert!(help.contains(&format!("--{flag} <")), "{flag} in {help}");
    }
    assert!(deployment.contains("path: /healthz, port: https, scheme: HTTPS"));
}

#[test]
fn only_labelled_pods_depend_on_the_webhook() {
    let webhook = template("webhook.yaml");
    for rule in [
        "objectSelector:\n      matchExpressions:\n        - {key: lockside/inject, operator: Exists}\n        - {key: \
         lockside/inject, operator: NotIn, values: [\"false\"]}\n",
        "(list \"kube-system\" .Release.Namespace)",
        "operations: [CREATE]",
        "resources: [pods]",
        "sideEffects: None",
        "path: /mutate",
        "reinvocationPolicy: IfNeeded",
    ] {
        assert!(webhook.contains(rule), "{rule}");
    }
    let values = std::fs::read_to_string(deploy("helm/values.yaml")).unwrap();
    assert!(values.contains("\nfailurePolicy: Fail\n") && values.contains("\nreplicas: 2\n"));
}

/// Helm itself renders it; here is what the renewal depends on.
#[test]
fn an_upgrade_renews_the_certificate_in_time_and_keeps_the_previous_ca_trusted() {
    let webhook = template("webhook.yaml");
    for rule in [
        "dig \"metadata\" \"annotations\" \"lockside/certificate-expires\" \"\" $found",
        "(lt $left (mul 86400 (int64 .Values.certificate.renewBeforeDays)))",
        "\"ca.crt\" (print $authority.Cert $previous | b64enc)",
        "\n  annotations:\n    lockside/certificate-expires: {{ $expires | quote }}\n",
        "{{- if not .Values.certificate.secretName }}",
    ] {
        assert!(webhook.contains(rule), "{rule}");
    }
    let values = std::fs::read_to_string(deploy("helm/values.yaml")).unwrap();
    let days = |name: &str| {
        let line = values.lines().find_map(|line| line.strip_prefix(&format!("  {name}: ")));
        line.unwrap_or_else(|| panic!("{name}")).parse::<u32>().unwrap()
    };
    assert!(days("renewBeforeDays") < days("days"), "else each upgrade renews it");
}
