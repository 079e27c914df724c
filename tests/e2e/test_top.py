"""kubectl top: figures of nodes and launcher pods, measured by the agents."""
import json
import re

import pytest
from cluster import CommandError, wait_for

METRICS = "/apis/metrics.k8s.io/v1beta1"


def raw(cluster, path: str) -> dict:
    return json.loads(cluster.kubectl("get", "--raw", f"{METRICS}{path}").stdout)


def test_top(cluster, vm, ns):
    machine = vm(kernel_boot=True)
    busy = machine.guest()
    busy.ask("memory-init 40")
    busy.ask("memory-dirty 500")
    pods = wait_for("figures of the pod", lambda: raw(cluster, f"/namespaces/{ns}/pods")["items"], 30)
    usage = pods[0]["containers"][0]["usage"]
    assert pods[0]["containers"][0]["name"] == "compute" and int(usage["cpu"].rstrip("n")) > 10**6
    assert int(usage["memory"].removesuffix("Ki")) > 40 * 1024  # what the guest has filled is resident

    name = pods[0]["metadata"]["name"]
    assert re.search(rf"^{name} +[1-9]\d*m +[1-9]\d*Mi", cluster.kubectl("top", "pod", "-n", ns).stdout, re.M)
    assert " compute " in cluster.kubectl("top", "pod", "-n", ns, "--containers").stdout
    nodes = cluster.kubectl("top", "node").stdout.splitlines()
    assert len(nodes) - 1 == len(cluster.get("nodes")["items"]) and all(re.search(r"[1-9]\d*m +\d+% +[1-9]\d*Mi +\d+%", n) for n in nodes[1:])
    with pytest.raises(CommandError, match="podmetrics.metrics.k8s.io .* not found"):
        cluster.kubectl("top", "pod", "nobody", "-n", ns)


def test_who_may_see_them(cluster, ns):
    cluster.kubectl("create", "rolebinding", "look", "-n", ns, "--clusterrole=view", "--user=viewer")
    as_viewer = ["auth", "can-i", "list", "pods.metrics.k8s.io", "--as=viewer"]
    assert cluster.kubectl(*as_viewer, "-n", ns).stdout == "yes\n"
    with pytest.raises(CommandError, match="no"):
        cluster.kubectl(*as_viewer, "-n", "default")
