"""The authorities replaced while everything runs: a migration, a console and a watch go on, and certificates are renewed
under them."""
import json
import os
import re
import shutil
import subprocess

import pytest
from cluster import GODWIT, KUBECTL, CommandError, run, wait_for
from subresources import Subresources

BOTH = ("cluster", "migration")


def ca(cluster, *args, check=True):
    return run(GODWIT, "ca", *args, "--kubeconfig", cluster.kubeconfig, check=check)


def authority(cluster, name):
    return json.loads(cluster.kubectl("get", "--raw", f"/apis/godwit.io/v1alpha1/certificateauthorities/{name}").stdout)["status"]


def wait_phase(cluster, phase, waits_for=()):
    for name in BOTH:
        wait_for(f"authority {name} is {phase}", lambda: authority(cluster, name)["phase"] == phase, 20)
        wait_for(f"authority {name} waits for nobody else", lambda: {w["kind"] for w in authority(cluster, name)["waitingFor"]}
                 <= set(waits_for), 30)


class KubectlWatch:
    """What `kubectl get -w -o name` has seen so far."""

    def __init__(self, cluster, ns, log):
        self.file = log
        self.process = subprocess.Popen([KUBECTL, "get", "configmaps", "-n", ns, "-w", "-o", "name"], stdout=log.open("w"),
                                        stderr=subprocess.STDOUT, env=dict(os.environ, KUBECONFIG=str(cluster.kubeconfig)))

    def saw(self, name):
        return name in self.file.read_text()


@pytest.fixture
def watch(cluster, ns, tmp_path):
    watch = KubectlWatch(cluster, ns, tmp_path / "watch.log")
    yield watch
    watch.process.kill()
    watch.process.wait()


def works_with(cluster, config) -> str:
    """"" if kubectl reaches the API with that kubeconfig, else what it says."""
    done = run(KUBECTL, "get", "--raw", "/api/v1/namespaces/default", check=False,
               env=dict(os.environ, KUBECONFIG=str(config), HOME=str(config.parent)))
    return done.stderr if done.returncode else ""


def renewals(cluster, node):
    return len(re.findall("certificate of the node: issued|certificate of the endpoint: renewed", cluster.log(node)))


def test_roll_over_under_a_migration_a_console_and_a_watch(cluster, ns, vm, slow_copy, watch, tmp_path):
    machine = vm(kernel_boot=True)
    guest, old_admin = machine.guest(), tmp_path / "old-admin"
    guest.ask("memory-init 24")
    shutil.copy(cluster.kubeconfig, old_admin)
    console = Subresources(cluster.kubeconfig, ns).open(f"virtualmachineinstances/{machine.name}/console")
    before = {node: renewals(cluster, node) for node in cluster.nodes}
    migration = machine.start_migration()
    migration.wait_phase("Running")

    assert "cluster: Spreading" in ca(cluster, "rotate", "begin").stdout
    wait_phase(cluster, "Renewing", {"virtualmachineinstance"})
    assert works_with(cluster, old_admin) == ""
    assert "user kubernetes-admin still comes with a certificate of the old one" in ca(cluster, "status").stdout
    with pytest.raises(CommandError, match=f"still needed: virtualmachineinstance {ns}/{machine.name}: its migration began"):
        ca(cluster, "rotate", "finish", "migration")
    assert migration.phase == "Running"
    assert "Stable" in ca(cluster, "rotate", "finish", "cluster").stdout
    for node in cluster.nodes:
        assert renewals(cluster, node) == before[node] + 2

    # What was open goes on, and who has only the old authority is told no.
    cluster.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "seen"}}, ns)
    wait_for("the watch goes on", lambda: watch.saw("configmap/seen"), 10)
    console.send(b"\n")
    console.read_until(b"login:")
    wait_for("the server shows the new authority's certificate", lambda: "certificate" in works_with(cluster, old_admin), 10)
    assert migration.wait_final() == "Succeeded", migration.describe()
    assert guest.values("memory-verify")["bad"] == 0
    assert "Stable" in ca(cluster, "rotate", "finish", "migration").stdout
    slow_copy(None)
    machine.migrate()
    assert guest.values("memory-verify")["bad"] == 0
    assert works_with(cluster, cluster.kubeconfig) == ""


def test_agents_and_server_start_with_the_authority_of_today(cluster):
    """After a roll-over: an agent's --ca-file may still be the old one, for it keeps what it has learned."""
    assert "waits for" not in ca(cluster, "status").stdout
    for name in ("server", "node1"):
        cluster.kill(name)
    cluster.up()
    wait_for("node1 is ready again", lambda: any(
        c["type"] == "Ready" and c["status"] == "True" for c in cluster.get("node", "node1")["status"]["conditions"]), 20)
