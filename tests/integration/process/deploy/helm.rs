//! The chart, as far as it can be told without Helm: `make e2e` renders it, and installs it on a node.

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
fn an_upgrade_renews_the_certificate_in_time_and_keeps_the_earlier_cas_trusted() {
    let webhook = template("webhook.yaml");
    for rule in [
        "$annotations := dig \"metadata\" \"annotations\" dict $found",
        "$expires := get $annotations \"lockside/certificate-expires\"",
        "{{- if le $days (int64 .Values.certificate.renewBeforeDays) }}\n{{- fail (printf \"certificate.days",
        "(lt $left (mul 86400 (int64 .Values.certificate.renewBeforeDays)))",
        // All of the bundle, and not only the first.
        "regexFindAll \"(?s)-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\" (index $kept \"ca.crt\" | default \"\" | b64dec) -1",
        "$is_valid := or (not $end) (gt (toDate $format $end | unixEpoch | int64) $now)",
        "{{- if and $is_valid (lt (len $bundle) 5) }}",
        "\"ca.crt\" (join \"\" $bundle | b64enc)",
        "\n    lockside/ca-expires: {{ $expiries | quote }}\n",
        "\n  annotations:\n    lockside/certificate-expires: {{ $expires | quote }}\n",
        "{{- if not .Values.certificate.secretName }}",
        // By the same CA while it outlives the certificate, so that a rollback may cross the renewal.
        "{{- if and (index $kept \"ca.key\") (ge $ca_left (mul 86400 $days)) }}\n{{- $authority = buildCustomCert ",
        "{{- $ca_days := int (mul 2 $days) }}",
    ] {
        assert!(webhook.contains(rule), "{rule}");
    }
    let values = std::fs::read_to_string(deploy("helm/values.yaml")).unwrap();
    let days = |name: &str| {
        let line = values.lines().find_map(|line| line.strip_prefix(&format!("  {name}: ")));
        line.unwrap_or_else(|| panic!("{name}")).parse::<u32>().unwrap()
    };
    assert!(days("renewBeforeDays") < days("days"), "else each upgrade renews it");
    // How to renew it at once, whatever `days` is: without the annotation its age is unknown.
    let page = std::fs::read_to_string(deploy("../docs/operations/injection.md")).unwrap();
    assert!(page.contains(
        "\nkubectl annotate secret lockside-tls --namespace lockside lockside/certificate-expires-\nhelm upgrade "
    ));
    assert!(webhook.contains("{{- $secret := printf \"%s-tls\" $name }}"));
}
