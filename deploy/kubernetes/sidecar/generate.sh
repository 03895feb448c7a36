#!/bin/sh
# The patch for a CronJob, whose pods stand two levels deeper, out of container.yaml.
set -eu
cd "$(dirname "$0")"
{
    echo "# Made of container.yaml by generate.sh; change it there."
    sed -n -e 's|^apiVersion: .*|apiVersion: batch/v1|' -e 's/^kind: .*/kind: CronJob/' -e '/^  template:/q' -e p container.yaml
    printf '  jobTemplate:\n    spec:\n'
    sed -n '/^  template:/,$ { s/^./    &/; p }' container.yaml
} >cronjob.yaml
