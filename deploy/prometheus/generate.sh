#!/usr/bin/env bash
# Makes prometheusrule.yaml, for the Prometheus Operator, of rules.yaml.
set -euo pipefail
cd "$(dirname "$0")"
cat >prometheusrule.yaml <<'HEAD'
# Made of rules.yaml by generate.sh; change it there.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: lockside
spec:
HEAD
sed 's/^\(.\)/  \1/' rules.yaml >>prometheusrule.yaml
