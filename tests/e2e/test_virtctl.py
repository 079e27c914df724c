"""godwit as virtctl: what it prints, and what becomes of the VM."""
import os

import pytest
from cluster import GODWIT, CommandError, run, vm_manifest, wait_for


@pytest.fixture
def virtctl(cluster, ns, tmp_path):
    (tmp_path / "virtctl").symlink_to(GODWIT)

    def call(*args, check=True):
        env = dict(os.environ, KUBECONFIG=str(cluster.kubeconfig))
        return run(tmp_path / "virtctl", *args, "-n", ns, check=check, env=env)

    return call


def status(cluster, ns):
    return cluster.get("vm", "vm1", ns)["status"].get("printableStatus")


def test_the_life_of_a_vm(cluster, ns, virtctl):
    cluster.create(vm_manifest("vm1", run_strategy="Manual", terminationGracePeriodSeconds=60), ns)
    assert virtctl("start", "vm1", "--dry-run").stdout == "Dry Run execution\nVM vm1 was scheduled to start\n"
    assert virtctl("start", "vm1", "--paused").stdout == "VM vm1 was scheduled to start\n"
    wait_for("it is there", lambda: status(cluster, ns) == "Paused", 60)
    home = cluster.get("vmi", "vm1", ns)["status"]["nodeName"]
    other = next(n for n in cluster.nodes if n != home)
    done = virtctl("migrate", "vm1", f"--addedNodeSelector=kubernetes.io/hostname={other}")
    assert done.stdout == "VM vm1 was scheduled to migrate\n"
    wait_for("it moved", lambda: cluster.get("vmi", "vm1", ns)["status"]["nodeName"] == other, 60)
    migration = cluster.get("vmim", ns=ns)["items"][0]
    assert migration["metadata"]["name"].startswith("kubevirt-migrate-vm-")
    wait_for("it is over", lambda: cluster.get("vmim", ns=ns)["items"][0]["status"]["phase"] == "Succeeded", 30)
    assert status(cluster, ns) == "Paused"  # it has not run yet, on either node
    assert virtctl("unpause", "vm", "vm1").stdout == "VMI vm1 was scheduled to unpause\n"
    wait_for("it runs", lambda: status(cluster, ns) == "Running", 60)
    with pytest.raises(CommandError) as failed:
        virtctl("start", "vm1")
    assert (failed.value.code, failed.value.stderr) == (1, "Error starting VirtualMachine Operation cannot be fulfilled on "
                                                        'virtualmachine.kubevirt.io "vm1": VM is already running\n')
    assert virtctl("pause", "vm", "vm1").stdout == "VMI vm1 was scheduled to pause\n"
    wait_for("it stands still", lambda: status(cluster, ns) == "Paused", 10)
    assert virtctl("unpause", "vmi", "vm1").stdout == "VMI vm1 was scheduled to unpause\n"
    wait_for("it goes on", lambda: status(cluster, ns) == "Running", 10)
    done = virtctl("migrate-cancel", "vm1", check=False)
    assert (done.returncode, done.stderr) == (1, "Found no migration to cancel for vm1\n")
    assert virtctl("evacuate-cancel", "vm", "vm1").stdout == f"VM {ns}/vm1 was canceled evacuation\n"
    uid = cluster.get("vmi", "vm1", ns)["metadata"]["uid"]
    assert virtctl("restart", "vm1", "--force", "--grace-period=0").stdout == "VM vm1 was scheduled to restart\n"
    wait_for("another instance", lambda: cluster.get("vmi", "vm1", ns)["metadata"]["uid"] != uid, 30)
    wait_for("it runs again", lambda: status(cluster, ns) == "Running", 60)
    assert virtctl("stop", "vm1", "--force", "--grace-period=0").stdout == "VM vm1 was scheduled to stop\n"
    wait_for("it is stopped", lambda: status(cluster, ns) == "Stopped", 30)
    assert cluster.get("vm", "vm1", ns)["spec"]["runStrategy"] == "Manual"


def test_what_needs_no_vm(cluster, ns, virtctl):
    versions = virtctl("version").stdout.splitlines()
    assert versions[0].startswith('Client Version: version.Info{GitVersion:"v')
    assert versions[1].startswith('Server Version: version.Info{GitVersion:"v1.')
    cluster.create(vm_manifest("vm1", run_strategy="Halted"), ns)
    assert "runStrategy: Halted" in virtctl("expand", "--vm", "vm1").stdout
    done = virtctl("stop", "vm1", check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == ("error stopping VirtualMachine Operation cannot be fulfilled on virtualmachine.kubevirt.io "
                           '"vm1": VM is not running\n')
    done = virtctl("pause", "vm", "none", check=False)
    assert done.stderr == 'Error getting VirtualMachine none: virtualmachines.kubevirt.io "none" not found\n'
    for args, text in [(("start",), "accepts 1 arg(s), received 0"), (("start", "vm1", "--force"), "unknown flag: --force"),
                       (("stop", "vm1", "--force"), "Must both use --force=true and set --grace-period."),
                       (("dance",), 'unknown command "dance" for "virtctl"')]:
        done = virtctl(*args, check=False)
        assert (done.returncode, done.stderr) == (1, text + "\n")
