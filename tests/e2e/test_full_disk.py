"""A node without room for disks: what needs them does not come about, says why, and harms nothing that runs. (The server's own
full disk: test_server.py.)"""
import contextlib
import subprocess

import pytest
from cluster import EMPTY_DISK, Vm, vm_manifest, wait_for

FULL = "No space left on device"


@contextlib.contextmanager
def full_disk(cluster, node, room):
    """The node's folder of pods is a file system of its own with this much room; what comes back empties it a little."""
    folder = cluster.dir / "nodes" / node / "pods"
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={room},mode=0711", "tmpfs", folder], check=True)
    try:
        yield lambda: subprocess.run(["mount", "-o", "remount,size=64m", folder], check=True)
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def condition(cluster, ns, kind):
    vmi = cluster.get("vmi", "vm1", ns, check=False) or {"status": {}}
    return next((c for c in vmi["status"].get("conditions", []) if c["type"] == kind), None)


@pytest.mark.parametrize("room", ["8k", "96k"], ids=["for-nothing", "for-notes-only"])
def test_a_migration_to_a_full_node_fails_and_says_why(cluster, ns, vm, room):
    machine = vm(disks=[("scratch", EMPTY_DISK)])
    guest = machine.guest()
    guest.ask("journal-start scratch 20")
    home, pid, boot_id = machine.node, machine.qemu_pid(machine.node), guest.values("info")["boot_id"]
    with full_disk(cluster, machine.other_node(), room):
        cluster.create({"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstanceMigration", "spec": {"vmiName": "vm1"},
                        "metadata": {"name": "m", "annotations": {"kubevirt.io/migrationPendingPodTimeoutSeconds": "4"}}}, ns)
        status = wait_for("it has failed", lambda: (s := cluster.get("vmim", "m", ns)["status"])["phase"] == "Failed" and s, 30)
        assert FULL in status["migrationState"]["failureReason"], status
        wait_for("the target's pod is over", lambda: machine.qemu_pid(machine.other_node()) is None, 20)
        assert (machine.node, machine.qemu_pid(home)) == (home, pid)
        assert guest.values("info")["boot_id"] == boot_id and guest.values("journal-verify scratch")["missing"] == 0
        wait_for("nothing of it is left there", lambda: not list((cluster.dir / "nodes" / machine.other_node() / "pods").iterdir()), 30)
    machine.migrate()


def test_a_vm_on_a_full_node_says_why_and_starts_when_there_is_room(cluster, ns):
    with full_disk(cluster, "node1", "96k") as make_room:
        cluster.create(vm_manifest("vm1", kernel_boot=True, disks=[("scratch", EMPTY_DISK)],
                                   nodeSelector={"kubernetes.io/hostname": "node1"}), ns)
        said = wait_for("it says why", lambda: (c := condition(cluster, ns, "Synchronized")) and c["status"] == "False" and c, 30)
        assert said["reason"] == "FailedMount" and FULL in said["message"], said
        assert cluster.get("vmi", "vm1", ns)["status"]["phase"] in ("Pending", "Scheduling", "Scheduled")
        make_room()
        Vm(cluster, "vm1", ns).wait_running()
        wait_for("nothing is said any more", lambda: not condition(cluster, ns, "Synchronized"), 10)
        cluster.delete("vm", "vm1", ns)
