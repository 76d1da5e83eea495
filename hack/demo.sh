#!/usr/bin/env bash
# make demo: a Git repository, a live cluster, and what keeps the one equal to the other.
# Everything happens on loopback and in one temporary directory, and nothing of it stays.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH="$PWD/bin:$PATH"

work=$(mktemp -d)
export FLUX_SANDBOX_HOME="$work/sandbox" TMPDIR="$work/tmp"
mkdir "$TMPDIR"
cleanup() {
  status=$?
  if [ $status -ne 0 ]; then flux logs --tail 20 2>/dev/null || true; fi
  flux sandbox down --name demo >/dev/null 2>&1 || true
  rm -rf "$work"
  exit $status
}
trap cleanup EXIT INT TERM

if [ -t 1 ]; then bold=$(tput bold 2>/dev/null || true) plain=$(tput sgr0 2>/dev/null || true); else bold="" plain=""; fi
step() { printf "\n%s# %s%s\n" "$bold" "$*" "$plain"; }
run() { printf '$ %s\n' "$*"; "$@"; }
commit() { git -C "$work/podinfo" add -A && git -C "$work/podinfo" -c user.name=you -c user.email=you@localhost commit -qm "$1" && git -C "$work/podinfo" push -q origin master; }
revision() { git -C "$work/podinfo" rev-parse HEAD; }
# wait_for TEXT: until a line of `flux events` has the text; prints the line.
wait_for() {
  local deadline=$((SECONDS + 90))
  until flux events 2>/dev/null | grep -F -- "$1" >"$work/line"; do
    [ $SECONDS -lt $deadline ] || { echo "never saw: $1" >&2; flux get all >&2 || true; return 1; }
    sleep 0.3
  done
  tail -n 1 "$work/line" | sed 's/[[:space:]]*$//'
}

step "A cluster: etcd, API server, controller manager, scheduler, a simulated node, a Git server"
run flux sandbox up --name demo
KUBECONFIG=$(flux sandbox kubeconfig --name demo)
export KUBECONFIG
go build -o "$work/kube" ./hack/kube

step "The controllers, as the Deployments that flux install writes; the node runs them as processes"
run flux install --components=source-controller,kustomize-controller
run flux check

step "A Git repository with a kustomize/ folder"
url=$(flux sandbox git create podinfo --branch master --name demo)
credentials=$(flux sandbox git --name demo -o json | sed -n 's/.*"gitUsername": "\(.*\)",/\1/p; s/.*"gitPassword": "\(.*\)",/\1/p' | paste -sd:)
git init -q -b master "$work/podinfo"
git -C "$work/podinfo" remote add origin "${url/:\/\//://$credentials@}"
mkdir -p "$work/podinfo/kustomize"
cp hack/demo/*.yaml "$work/podinfo/kustomize/"
commit "Add podinfo"
printf '%s at %s\n' "$url" "$(revision)"

step "The two examples of the seeds"
for example in gitrepository kustomization; do
  sed "s#https://github.com/stefanprodan/podinfo#$url#" "hack/demo/seeds/$example.yaml" | tee "$work/$example.yaml"
  "$work/kube" apply "$work/$example.yaml"
  echo ---
done
wait_for "Reconciliation finished"
run flux get kustomizations

step "A commit arrives"
sed -i 's/color: .*/color: "#336699"/' "$work/podinfo/kustomize/config.yaml"
commit "Change the colour"
run flux reconcile kustomization podinfo --with-source
wait_for "ConfigMap/default/podinfo-config configured"

step "A removed file is pruned"
rm "$work/podinfo/kustomize/extra.yaml"
commit "Remove the extra ConfigMap"
run flux reconcile kustomization podinfo --with-source
wait_for "ConfigMap/default/podinfo-extra deleted"

step "What somebody deletes comes back"
run "$work/kube" delete Service default podinfo
run "$work/kube" await Service default podinfo
wait_for "Service/default/podinfo created"

step "What somebody edits is put back, and the event says who had it"
sed 's/color: .*/color: "#ff0000"/' hack/demo/config.yaml >"$work/edit.yaml"
run "$work/kube" -manager somebody apply "$work/edit.yaml"
wait_for "somebody"

step "What there is"
run flux get all
run flux tree kustomization podinfo
