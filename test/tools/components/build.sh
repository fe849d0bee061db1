#!/usr/bin/env bash
# Builds the real components that tests run against, and gathers Flux's CRDs.
#
#     build.sh DIRECTORY
#
# Each folder beside this file is a Go module that pins what is built from it: one module for all would
# mix the dependencies of Kubernetes, etcd and Flux into programs that nobody ships. Binaries come into
# DIRECTORY/bin, CRDs into DIRECTORY/crds. Where KUBEBUILDER_ASSETS names a directory with kube-apiserver,
# etcd and kubectl, these three are taken from there.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
target=$1
mkdir -p "$target/bin" "$target/crds"

# Whether the environment brings NAME along; then it is linked, not built.
provided() {
    local asset=${KUBEBUILDER_ASSETS:-}/$1
    [ -n "${KUBEBUILDER_ASSETS:-}" ] && [ -x "$asset" ] && ln -s "$(realpath "$asset")" "$target/bin/$1"
}

# build MODULE NAME PACKAGE [LDFLAGS]
build() {
    local module=$1 name=$2 package=$3 ldflags=${4:-}
    echo "building $name" >&2
    (cd "$here/$module" && go build -mod=readonly -trimpath -ldflags "-s -w $ldflags" -o "$target/bin/$name" "$package")
}

# The version that MODULE pins of PACKAGE's module.
version() {
    (cd "$here/$1" && go list -mod=readonly -m -f '{{.Version}}' "$2")
}

crds() {
    local module=$1 package=$2
    (
        cd "$here/$module"
        go mod download "$package"
        cp "$(go list -mod=readonly -m -f '{{.Dir}}' "$package")"/config/crd/bases/*.yaml "$target/crds/"
    )
    chmod u+w "$target"/crds/*
}

crds crds github.com/fluxcd/source-controller
crds flux github.com/fluxcd/kustomize-controller
crds flux github.com/fluxcd/notification-controller

provided etcd || build etcd etcd go.etcd.io/etcd/server/v3
build toxiproxy toxiproxy-server github.com/Shopify/toxiproxy/v2/cmd/server

# Clients parse the server's version; without it they refuse to talk.
kubernetes=$(version kubernetes k8s.io/kubernetes)
stamp="-X k8s.io/component-base/version.gitVersion=$kubernetes"
for name in kube-apiserver kubectl; do
    provided "$name" || build kubernetes "$name" "k8s.io/kubernetes/cmd/$name" "$stamp"
done
build kubernetes kube-controller-manager k8s.io/kubernetes/cmd/kube-controller-manager "$stamp"

build flux kustomize-controller github.com/fluxcd/kustomize-controller
build flux notification-controller github.com/fluxcd/notification-controller
