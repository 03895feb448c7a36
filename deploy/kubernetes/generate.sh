#!/bin/sh
# The patches for a CronJob, whose pods stand two levels deeper, out of those for all other workloads.
set -eu
cd "$(dirname "$0")"
for patch in sidecar/container cli/install; do
    {
        echo "# Made of ${patch#*/}.yaml by generate.sh; change it there."
        sed -n -e 's|^apiVersion: .*|apiVersion: batch/v1|' -e 's/^kind: .*/kind: CronJob/' -e '/^  template:/q' -e p $patch.yaml
        printf '  jobTemplate:\n    spec:\n'
        sed -n '/^  template:/,$ { s/^./    &/; p }' $patch.yaml
    } >"${patch%/*}/cronjob.yaml"
done
