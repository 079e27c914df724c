"""Virtual machines without migration: they start, are reachable, stop, and end as they should."""
import os
import time

import pytest
from cluster import EMPTY_DISK, Vm, vm_manifest, wait_for


def test_runs_and_goes(cluster, ns, vm):
    machine = vm(disks=[("data", EMPTY_DISK), ("seed", {"cloudInitNoCloud": {"userData": "#!/bin/sh\necho hi >/tmp/ran\n"}})])
    guest = machine.guest()
    assert guest.ask("sh cat /tmp/ran") == "hi exit=0"
    assert guest.ask("journal-start data 10").startswith("behind=0")
    table = cluster.kubectl("get", "vmi", "-n", ns).stdout.splitlines()
    assert table[0].split() == ["NAME", "AGE", "PHASE", "IP", "NODENAME", "READY"]
    assert table[1].split()[0] == "vm1" and machine.address in table[1] and table[1].split()[-1] == "True"
    assert "Running" in cluster.kubectl("get", "vm", "vm1", "-n", ns).stdout
    cluster.kubectl("delete", "vm", "vm1", "-n", ns)
    wait_for("its pod is gone", lambda: not cluster.get("pods", ns=ns)["items"], 30)


def test_boots_a_kernel_from_an_image(vm):
    machine = vm(kernel_boot=True)
    assert "cmdline" in machine.guest().ask("sh ls /proc/cmdline")


def test_wait_for_conditions(cluster, ns, vm):
    vm(wait=False)
    cluster.kubectl("wait", "vm/vm1", "-n", ns, "--for=condition=Ready", "--timeout=60s")
    cluster.kubectl("wait", "vmi/vm1", "-n", ns, "--for=condition=LiveMigratable", "--timeout=30s")


def test_is_reached_from_every_node_and_reaches_others(cluster, vm, probe):
    one, two = vm("one"), vm("two")
    for node in cluster.nodes:
        assert one.guest(node).ask("ping") == ""
    one.guest().ask(f"echo-open {two.address} 7001 10")
    one.guest().ask("sh sleep 1")
    found = one.guest().values("echo-close")
    assert found["sent"] == found["echoed"] > 20 and found["state"] == "closed"


def test_ports_filter_new_connections_only(cluster, vm):
    machine = vm(ports=[("TCP", 7000)])
    assert machine.guest().ask("ping") == ""
    probe = cluster.start_probe("node1", "echo", address=machine.address, port=7001, seconds=3)
    out, err = probe.process.communicate(timeout=150)
    assert "connect" in err and not out


def test_stops_gracefully_and_starts_again(cluster, ns, vm):
    machine = vm()
    first = machine.guest().values("info")["boot_id"]
    begin = time.monotonic()
    cluster.kubectl("patch", "vm", "vm1", "-n", ns, "--type=merge", "-p", '{"spec":{"runStrategy":"Halted"}}')
    wait_for("the VMI is gone", lambda: cluster.get("vmi", "vm1", ns, check=False) is None, 30)
    assert time.monotonic() - begin < 9  # by ACPI, not by the end of the grace period
    assert cluster.get("vm", "vm1", ns)["status"]["printableStatus"] == "Stopped"
    cluster.kubectl("patch", "vm", "vm1", "-n", ns, "--type=merge", "-p", '{"spec":{"runStrategy":"Always"}}')
    wait_for("a new VMI", lambda: cluster.get("vmi", "vm1", ns, check=False), 30)
    assert machine.wait_guest().values("info")["boot_id"] != first


def test_address_stays_with_the_vm(cluster, ns, vm):
    machine = vm()
    address = machine.address
    vmi_uid = machine.vmi["metadata"]["uid"]
    machine.guest().ask("poweroff")
    wait_for("it was started again", lambda: cluster.get("vmi", "vm1", ns)["metadata"]["uid"] != vmi_uid, 60)
    machine.wait_guest()
    assert machine.address


def test_run_strategy_once_leaves_the_final_instance(cluster, ns):
    cluster.create(vm_manifest("vm1", run_strategy="Once"), ns)
    machine = Vm(cluster, "vm1", ns)
    machine.wait_guest().ask("poweroff")
    wait_for("Succeeded", lambda: machine.vmi["status"]["phase"] == "Succeeded", 30)
    time.sleep(2)
    assert machine.vmi["status"]["phase"] == "Succeeded"


def test_killed_qemu_is_reported_and_the_vm_starts_anew(cluster, ns, vm):
    machine = vm()
    uid = machine.vmi["metadata"]["uid"]
    os.kill(machine.qemu_pid(machine.node), 9)
    wait_for("a new VMI", lambda: (cluster.get("vmi", "vm1", ns, check=False) or {}).get("metadata", {}).get("uid") not in (None, uid), 60)
    machine.wait_guest()
    events = cluster.kubectl("get", "events", "-n", ns, "-o", "json").stdout
    assert "signal 9" in events or "SIGKILL" in events or "host-signal" in events or "killed" in events.lower()


@pytest.mark.parametrize("victim", ["agent", "server", "both"])
def test_vm_lives_on_when_a_daemon_is_killed(cluster, vm, victim):
    machine = vm(disks=[("data", EMPTY_DISK)])
    guest = machine.guest()
    guest.ask("memory-init 16")
    guest.ask("journal-start data 10")
    boot_id, node = guest.values("info")["boot_id"], machine.node
    pid = machine.qemu_pid(node)
    for name in {"agent": [node], "server": ["server"], "both": [node, "server"]}[victim]:
        cluster.kill(name)
    assert guest.values("info")["boot_id"] == boot_id
    cluster.up()
    wait_for("still Running", lambda: machine.vmi["status"]["phase"] == "Running", 10)
    assert machine.qemu_pid(node) == pid
    assert guest.values("info")["boot_id"] == boot_id
    assert guest.values("journal-verify data")["missing"] == 0


def test_impossible_memory_is_explained(cluster, ns):
    cluster.create(vm_manifest("vm1", memory="10Ti"), ns)
    machine = Vm(cluster, "vm1", ns)

    def condition():
        conditions = [c for pod in cluster.get("pods", ns=ns)["items"] for c in pod["status"].get("conditions", [])]
        return [c["message"] for c in conditions if c["type"] == "PodScheduled" and c["status"] == "False"]

    message = wait_for("a reason", condition, 20)[0]
    assert "memory" in message.lower()
    wait_for("status says so", lambda: cluster.get("vm", "vm1", ns)["status"]["printableStatus"] == "ErrorUnschedulable", 10)


def test_unknown_image_is_explained(cluster, ns):
    manifest = vm_manifest("vm1")
    manifest["spec"]["template"]["spec"]["volumes"][0]["containerDisk"]["image"] = "no-such-image"
    cluster.create(manifest, ns)
    wait_for("the image is named", lambda: "no-such-image" in cluster.kubectl("get", "events,vmi", "-n", ns, "-o", "json").stdout
             .replace('"image": "no-such-image"', ""), 30)
