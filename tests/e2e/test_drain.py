"""kubectl cordon, drain, uncordon and taint: a node is emptied without its guests noticing, and says why when it is not."""
import contextlib

import pytest
from cluster import CommandError, Vm, vm_manifest, wait_for

DRAIN = ("--delete-emptydir-data", "--force", "--ignore-daemonsets")


@contextlib.contextmanager
def cordoned(cluster, node):
    cluster.kubectl("cordon", node)
    try:
        yield
    finally:
        cluster.kubectl("uncordon", node)


def pods_on(cluster, node):
    pods = cluster.get("pods")["items"]
    return [p["metadata"]["name"] for p in pods if p["spec"].get("nodeName") == node and p["status"].get("phase") != "Succeeded"]


def test_a_vm_that_cannot_move_stays_and_says_why(cluster, module_ns):
    ns = module_ns
    cluster.create({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "own"},
                    "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "32Mi"}}}}, ns)
    cluster.create(vm_manifest("vm1", disks=[("own", {"persistentVolumeClaim": {"claimName": "own"}})],
                               terminationGracePeriodSeconds=0), ns)
    machine = Vm(cluster, "vm1", ns)
    machine.wait_running()
    home = machine.node
    try:
        with pytest.raises(CommandError) as failed:
            cluster.kubectl("drain", home, *DRAIN, "--timeout=1s", timeout=60)
        assert ("VMI vm1 is configured with an eviction strategy but is not live-migratable (DisksNotLiveMigratable: "
                "cannot migrate VMI: PVC own is not shared") in failed.value.stderr
        assert "will retry after 5s" in failed.value.stderr
    finally:
        cluster.kubectl("uncordon", home)
    assert machine.node == home and not machine.vmi["status"].get("evacuationNodeName")
    assert machine.vmi["status"]["phase"] == "Running"
    cluster.delete("vm", "vm1", ns)
    cluster.delete("pvc", "own", ns)  # its volume goes while the next test runs


def test_drain_moves_all_vms(cluster, module_ns):
    ns = module_ns
    with cordoned(cluster, "node2"):
        cluster.create(vm_manifest("vm1"), ns)
        cluster.create(vm_manifest("vm2", evictionStrategy="LiveMigrateIfPossible"), ns)
        machines = [Vm(cluster, name, ns) for name in ("vm1", "vm2")]
        guests = [machine.wait_guest() for machine in machines]
    boots = [guest.values("info")["boot_id"] for guest in guests]
    assert [machine.node for machine in machines] == ["node1", "node1"]
    assert machines[0].vmi["spec"]["evictionStrategy"] == "LiveMigrate"
    try:
        done = cluster.kubectl("drain", "node1", *DRAIN, timeout=90)
        assert 'Eviction triggered evacuation of VMI "' in done.stderr, done.stderr
        assert done.stdout.rstrip().endswith("node/node1 drained"), done.stdout
        assert pods_on(cluster, "node1") == []
        assert [machine.node for machine in machines] == ["node2", "node2"]
        assert [guest.values("info")["boot_id"] for guest in guests] == boots
        taints = [taint["key"] for taint in cluster.get("node", "node1")["spec"]["taints"]]
        assert taints == ["node.kubernetes.io/unschedulable"]
    finally:
        cluster.kubectl("uncordon", "node1")
    for machine in machines:
        assert not machine.vmi["status"].get("evacuationNodeName")
        assert all(c["type"] != "EvictionRequested" for c in machine.vmi["status"]["conditions"])
    migrations = cluster.get("vmim", ns=ns)["items"]
    assert len(migrations) == 2 and all(m["metadata"]["generateName"] == "kubevirt-evacuation-" for m in migrations)
    wait_for("the taint goes", lambda: not cluster.get("node", "node1")["spec"].get("taints"))


def test_taints(cluster):
    def keys():
        return [t["key"] for t in cluster.get("node", "node2")["spec"].get("taints", [])]

    cluster.kubectl("taint", "node", "node2", "first=yes:NoSchedule", "second:PreferNoSchedule")
    assert sorted(keys()) == ["first", "second"]
    cluster.kubectl("taint", "node", "node2", "first-")
    assert keys() == ["second"]
    cluster.kubectl("taint", "node", "node2", "second-")
    assert keys() == []
