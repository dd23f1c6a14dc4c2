#!/bin/bash
# trial.sh FOLDER TOOLS ETCD API_SERVER CHART MANIFESTS: starts a real API server of Kubernetes in a network namespace of its own,
# applies the manifests and installs the chart, and prints what was found. No controller runs: pods are made here, of templates.
set -euo pipefail
folder=$1 tools=$2 etcd=$3 server=$4 chart=$5 manifests=$6
ip link set lo up
cd "$folder"
export KUBECONFIG=$folder/kubeconfig HELM_CACHE_HOME=$folder HELM_CONFIG_HOME=$folder HELM_DATA_HOME=$folder HOME=$folder
kubectl() { "$tools/kubectl" "$@"; }
helm() { "$tools/helm" "$@"; }
# pod NAMESPACE: a pod of the DaemonSet's template, as JSON.
pod() {
    kubectl get daemonset lightfoot --namespace "$1" --output json |
        python3 -c 'import json, sys
template = json.load(sys.stdin)["spec"]["template"]
print(json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "lightfoot", "labels": template["metadata"]["labels"]},
                  "spec": template["spec"]}))'
}

openssl genrsa -out key 2048 2>/dev/null
echo 'secret,admin,admin,"system:masters"' >tokens
"$etcd" --data-dir "$folder/etcd" --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 \
    --listen-peer-urls http://127.0.0.1:2380 --initial-advertise-peer-urls http://127.0.0.1:2380 \
    --initial-cluster default=http://127.0.0.1:2380 >etcd.log 2>&1 &
started=($!)
"$server" --etcd-servers=http://127.0.0.1:2379 --bind-address=127.0.0.1 --advertise-address=127.0.0.1 --secure-port=6443 \
    --cert-dir="$folder/certificates" --service-cluster-ip-range=10.0.0.0/24 --allow-privileged=true \
    --service-account-issuer=https://127.0.0.1:6443 --service-account-key-file=key --service-account-signing-key-file=key \
    --authorization-mode=RBAC --token-auth-file=tokens --endpoint-reconciler-type=none >server.log 2>&1 &
started+=($!)
# An API server that is asked to end waits for its etcd.
trap 'kill -KILL "${started[@]}"' EXIT
for _ in $(seq 600); do
    [ ! -s certificates/apiserver.crt ] || break
    sleep 0.1
done
kubectl config set-cluster own --server=https://127.0.0.1:6443 --certificate-authority="$folder/certificates/apiserver.crt" >/dev/null
kubectl config set-credentials admin --token=secret >/dev/null
kubectl config set-context own --cluster=own --user=admin >/dev/null
kubectl config use-context own >/dev/null
for _ in $(seq 600); do
    ! kubectl get --raw /readyz >/dev/null 2>&1 || break
    sleep 0.1
done
echo "ready: $(kubectl get --raw /readyz)"

kubectl apply --filename "$manifests" >applied
echo "applied: $(wc -l <applied)"
echo "again: $(kubectl apply --filename "$manifests" | grep -c unchanged)"
pod lightfoot | kubectl create --namespace lightfoot --filename - >made && echo "pod: $(cat made)"
# What Pod Security Admission says where the namespace has not the label.
for level in baseline restricted; do
    kubectl create namespace "$level" >/dev/null
    kubectl label namespace "$level" "pod-security.kubernetes.io/enforce=$level" >/dev/null
    kubectl create serviceaccount lightfoot --namespace "$level" >/dev/null
    said=$(pod lightfoot | kubectl create --namespace "$level" --filename - 2>&1 || true)
    echo "$level: $(grep -o 'violates PodSecurity "[a-z]*' <<<"$said")"
done

helm install lightfoot "$chart" --namespace watching --create-namespace --set endpoint=http://127.0.0.1:4317 >/dev/null
capabilities() {
    kubectl get daemonset lightfoot --namespace watching \
        --output "jsonpath={.spec.template.spec.containers[0].securityContext$1}"
}
echo "installed: $(capabilities .capabilities.add)"
helm upgrade lightfoot "$chart" --namespace watching --set privileged=true >/dev/null
echo "privileged: $(capabilities .privileged)"
helm upgrade lightfoot "$chart" --namespace watching --set beforeLinux66=true --set appArmorProfile.type=Unconfined \
    --set seLinuxOptions.type=spc_t --set 'tolerations[0].operator=Exists' --set priorityClassName=system-node-critical \
    --set certificates=/etc/ssl/certs --set-json 'config={"traces": {"ratio": 0.1}}' >/dev/null
echo "everything: $(capabilities .capabilities.add), $(kubectl get configmap lightfoot --namespace watching --output 'jsonpath={.data}')"
helm uninstall lightfoot --namespace watching >/dev/null
echo "left: $(kubectl get daemonset,serviceaccount,configmap,clusterrole,clusterrolebinding --namespace watching --output name | grep -cE '/lightfoot$|-watching$' || true)"
