#!/usr/bin/env bash
# Prints what a kustomization makes: kustomize.sh DIRECTORY. With `kubectl` or `kustomize`, whichever knows components;
# else with Debian's own package, unpacked under target/, from the first release that has one.
set -euo pipefail
here=$(cd "$(dirname "$0")/../.." && pwd)
own=$here/target/e2e/kustomize

# kubectl has had components since 1.21; Debian 12 has 1.20.
knows_components() {
    local probe
    probe=$(mktemp -d)
    printf 'components: [component]\n' >"$probe/kustomization.yaml"
    mkdir "$probe/component"
    printf '%s\n' 'apiVersion: kustomize.config.k8s.io/v1alpha1' 'kind: Component' \
        'configMapGenerator: [{name: a, literals: [b=c]}]' >"$probe/component/kustomization.yaml"
    "$@" "$probe" >/dev/null 2>&1 && rm -r "$probe" || { rm -r "$probe"; return 1; }
}

fetch() {
    local apt keyring=/usr/share/keyrings/debian-archive-keyring.gpg
    apt=$(mktemp -d)
    mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial"
    echo "deb [signed-by=$keyring] http://deb.debian.org/debian trixie main" >"$apt/sources.list"
    local options=(-qq -o "Dir::State::Lists=$apt/lists" -o "Dir::Cache=$apt/cache" -o APT::Sandbox::User=root
        -o "Dir::Etc::SourceList=$apt/sources.list" -o Dir::Etc::SourceParts=/dev/null)
    (
        cd "$apt"
        apt-get "${options[@]}" update
        apt-get "${options[@]}" download kustomize
        dpkg-deb --extract kustomize_*.deb .
    ) >&2
    install -D "$apt/usr/bin/kustomize" "$own"
    rm -r "$apt"
}

if knows_components kubectl kustomize; then
    exec kubectl kustomize "$1"
elif knows_components kustomize build; then
    exec kustomize build "$1"
fi
[ -x "$own" ] || fetch
exec "$own" build "$1"
