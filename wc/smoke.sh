set -u
D=$(mktemp -d /tmp/w/me/wc/s.XXXX); cd /tmp/w/wincontrol
P=.venv/bin/python
$P -m ipamd lab apiserver --kubeconfig $D/kc > $D/lab.out & LAB=$!
sleep 1.5
export KUBECONFIG=$D/kc
$P -m ipamd controller --state-dir $D/st --introspect-bind-addr 127.0.0.1:22775 --metrics-bind-address 127.0.0.1:28080 --healthz-bind-address 127.0.0.1:0 > $D/c.out 2> $D/c.err & C=$!
sleep 2.5
cat > $D/a.yaml <<Y
apiVersion: v1
kind: ConfigMap
metadata: {name: amazon-vpc-cni, namespace: kube-system}
data: {enable-windows-ipam: "true", enable-windows-prefix-delegation: "true"}
---
apiVersion: v1
kind: Node
metadata: {name: win-0, labels: {kubernetes.io/os: windows, node.kubernetes.io/instance-type: c5.large}}
spec: {providerID: "aws:///us-west-2a/i-0abc"}
status: {capacity: {cpu: "2"}}
Y
kubectl apply -f $D/a.yaml
kubectl patch node win-0 --subresource=status --type=merge -p '{"status":{"capacity":{"cpu":"2"}}}'
for i in 1 2 3; do cat <<Y
apiVersion: v1
kind: Pod
metadata: {name: web-$i, namespace: default}
spec:
  nodeName: win-0
  nodeSelector: {kubernetes.io/os: windows}
  containers: [{name: a, image: i, resources: {requests: {vpc.amazonaws.com/PrivateIPv4Address: "1"}, limits: {vpc.amazonaws.com/PrivateIPv4Address: "1"}}}]
---
Y
done | kubectl apply -f -
sleep 2
kubectl get pods -o jsonpath='{range .items[*]}{.metadata.name} {.metadata.annotations}{"\n"}{end}'
kubectl get node win-0 -o jsonpath='{.status.capacity}{"\n"}'
kubectl get events -A
curl -s 127.0.0.1:22775/resources/summary; echo; curl -s 127.0.0.1:22775/v1/plan/win-0; curl -s 127.0.0.1:28080/metrics | grep -E 'assign|annotate|ipam_enabled|pool' | grep -v '^#'
kubectl get cninodes
kill $C; wait $C; echo exit $?
kill $LAB; wait
cat $D/c.out; cat $D/c.err | cut -c1-220 | tail -30
