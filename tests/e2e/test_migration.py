"""Live migration: memory, disks, address and connections go over whole. What is killed on the way: test_faults.py."""
import contextlib
import json
import time

import moves
import pytest
from cluster import ECHO, EMPTY_DISK, GODWIT, CommandError, run, wait_for
from guest import GuestError
from moments import Monitor, Notes, pod_folder

def shared_disk(cluster, ns, name="shared"):
    """A claim that all nodes reach, as a (name, volume source) pair."""
    cluster.create({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name},
                    "spec": {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "32Mi"}}}}, ns)
    return name, {"persistentVolumeClaim": {"claimName": name}}


def write_everywhere(guest, *disks, memory="48", rate="10"):
    """Memory and all disks are written from now on, the boot disk as well."""
    guest.ask(f"memory-init {memory}")
    guest.ask(f"memory-dirty {rate} 8")
    for disk in disks:
        guest.ask(f"journal-start {disk} 20" + (" 48" if disk == "system" else ""))


def writes_to(guest, name):
    with contextlib.suppress(GuestError):
        return guest.ask(f"journal-start {name} 20") is not None


def verify(guest, *disks):
    assert guest.values("memory-verify")["bad"] == 0
    for disk in disks:
        assert guest.values(f"journal-verify {disk}")["missing"] == 0


def plug(cluster, machine, name):
    """virtctl addvolume; returns the volume's status once the guest has the disk."""
    run(GODWIT, "virtctl", "addvolume", machine.name, f"--volume-name={name}", "-n", machine.ns, "--kubeconfig",
        cluster.kubeconfig)
    wait_for(f"{name} is plugged", lambda: volume_status(machine, name).get("phase") == "Ready", 20)
    return volume_status(machine, name)


def unplug(cluster, machine, name):
    run(GODWIT, "virtctl", "removevolume", machine.name, f"--volume-name={name}", "-n", machine.ns, "--kubeconfig",
        cluster.kubeconfig)
    wait_for(f"{name} is unplugged", lambda: not volume_status(machine, name), 20)


def volume_status(machine, name):
    return next((v for v in machine.vmi["status"].get("volumeStatus", []) if v["name"] == name), {})


def test_there_and_back(cluster, ns, vm, probe):
    """One of the disks is plugged while the VM runs, and taken from it behind the second move."""
    machine = vm(disks=[("scratch", EMPTY_DISK), shared_disk(cluster, ns)])
    shared_disk(cluster, ns, "plugged")
    disks = ("system", "scratch", "shared")
    guest = machine.guest()
    assert plug(cluster, machine, "plugged")["target"] == "sda"
    write_everywhere(guest, *disks)
    wait_for("the guest has the disk", lambda: writes_to(guest, "plugged"), 10)
    disks += ("plugged",)
    boot_id, address, home = guest.values("info")["boot_id"], machine.address, machine.node
    watching = probe("node1", "udp", address=address, interval=5)
    for _ in range(2):
        source = machine.node
        state = machine.migrate()
        assert (state["sourceNode"], state["targetNode"]) == (source, machine.node) and machine.node != source
        assert state["completed"] is True and not state.get("failed")
        assert state["startTimestamp"] <= state["endTimestamp"]
        assert state["progress"]["percent"] == 100 and state["progress"]["bytesTransferred"] > 40 << 20
        assert state["progress"]["totalTimeMs"] > 0 and state["progress"]["downtimeMs"] >= 0
        assert machine.address == address
        assert guest.values("info")["boot_id"] == boot_id
        verify(guest, *disks)
    found = watching.stop()
    assert machine.node == home
    guest.ask("journal-stop plugged")
    unplug(cluster, machine, "plugged")
    cluster.delete("pvc", "plugged", ns)  # nobody has it any more
    verify(guest, "scratch")
    assert found["received"] > 100 and found["gap_ms"] < 3000, found


def test_everything_lives_through_six_moves(cluster, ns, probe):
    """All kinds of disks and connections; `./dev soak` does it twenty times."""
    travel = moves.Travel(moves.create(cluster, "vm1", ns), probe)
    print(moves.summary([travel.move() for _ in range(6)]))
    travel.end()


def test_ports_do_not_disturb_connections(cluster, vm, probe):
    machine = vm(ports=[("TCP", 7000), ("TCP", ECHO)])
    guest = machine.guest()
    inbound = probe("node2", "echo", address=machine.address, port=ECHO, interval=20)
    outbound = probe("node1", "serve", port=7012)
    guest.ask(f"echo-open {cluster.node_address('node1')} 7012 20")
    machine.migrate()
    machine.migrate()
    assert "state=closed" in guest.ask("echo-close", timeout=60)
    assert inbound.stop()["error"] == "" and outbound.stop()["error"] == ""


def test_phases_are_seen_in_order(cluster, ns, vm, slow_copy):
    machine = vm()
    machine.guest().ask("memory-init 40")
    migration = machine.start_migration()
    assert migration.wait_final() == "Succeeded", migration.describe()
    phases = [p["phase"] for p in migration.object["status"]["phaseTransitionTimestamps"]]
    order = ["Pending", "Scheduling", "Scheduled", "PreparingTarget", "TargetReady", "Running", "Succeeded"]
    assert phases == [p for p in order if p in phases] and phases[-2:] == ["Running", "Succeeded"], phases
    table = cluster.kubectl("get", "vmim", "-n", ns).stdout.split()
    assert table == ["NAME", "PHASE", "VMI", migration.name, "Succeeded", "vm1"]


def test_progress_is_told(cluster, vm, slow_copy):
    machine = vm()
    machine.guest().ask("memory-init 48")
    migration = machine.start_migration()
    seen = []
    while migration.phase not in ("Succeeded", "Failed"):
        progress = (machine.vmi["status"].get("migrationState") or {}).get("progress")
        if progress:
            seen.append(progress)
        time.sleep(0.1)
    assert migration.phase == "Succeeded"
    percents = [p["percent"] for p in seen]
    assert percents == sorted(percents) and len(set(percents)) >= 5
    middle = [p for p in seen if 20 < p["percent"] < 90]
    assert all(p["bytesTransferred"] > 0 and p["bytesRemaining"] > 0 and p["bytesPerSecond"] > 0 for p in middle)
    assert any(p["etaSeconds"] for p in middle)


def test_a_second_migration_is_refused(cluster, ns, vm, slow_copy):
    machine = vm()
    machine.guest().ask("memory-init 40")
    first = machine.start_migration()
    uid = first.object["metadata"]["uid"]
    with pytest.raises(CommandError, match="in-flight migration detected. Active migration job "
                       rf"\({uid}\) is currently already in progress for VMI vm1."):
        machine.start_migration()
    assert first.wait_final() == "Succeeded"


def test_cancel_leaves_the_guest_where_it_was(cluster, ns, vm, slow_copy):
    machine = vm(disks=[("scratch", EMPTY_DISK)])
    guest = machine.guest()
    write_everywhere(guest, "scratch")
    home, pid = machine.node, machine.qemu_pid(machine.node)
    migration = machine.start_migration()
    migration.wait_phase("Running")
    time.sleep(1)
    cluster.delete("vmim", migration.name, ns)
    state = machine.vmi["status"]["migrationState"]
    assert state["abortRequested"] and state["abortStatus"] == "Succeeded" and state["completed"] and state["failed"]
    assert machine.node == home and machine.qemu_pid(home) == pid
    verify(guest, "scratch")
    wait_for("the target's pod is gone", lambda: process_count(machine) == 1, 30)
    machine.migrate(180)
    verify(guest, "scratch")


def process_count(machine):
    return sum(machine.qemu_pid(node) is not None for node in machine.cluster.nodes)


def test_cancel_before_it_began(cluster, ns, vm):
    machine = vm()
    home = machine.node
    cluster.kubectl("cordon", machine.other_node())
    try:
        migration = machine.start_migration()
        wait_for("it waits", lambda: migration.phase in ("Pending", "Scheduling"), 10)
        cluster.delete("vmim", migration.name, ns)
    finally:
        cluster.kubectl("uncordon", *cluster.nodes)
    assert machine.node == home and machine.guest().ask("ping") == ""
    machine.migrate()


def test_watch_shows_a_bar(cluster, ns, vm, slow_copy):
    machine = vm()
    machine.guest().ask("memory-init 40")
    migration = machine.start_migration()
    done = run(GODWIT, "watch", "vmim", migration.name, "-n", ns, "--kubeconfig", cluster.kubeconfig)
    lines = done.stdout.splitlines()
    assert any("#" in line and "MiB/s" in line and "ETA" in line for line in lines), lines
    assert "Succeeded" in lines[-1] and "downtime" in lines[-1]


def caught_in_mid_copy(machine):
    """A migration that copies memory, and the monitors of both its QEMUs."""
    notes, source = Notes(machine.cluster), Monitor(pod_folder(machine, machine.node))
    machine.guest().ask("memory-init 48")
    migration = machine.start_migration()
    target = Monitor(notes.wait("prepared"))
    notes.close()
    source.wait_copy("active", transferred=1 << 16)
    return migration, source, target


def test_a_soft_reboot_in_mid_migration_ends_at_the_target(vm, ns, slow_copy, cluster):
    """The guest has no agent: it shuts itself down at the source, and whoever has it then starts it again."""
    machine = vm(run_strategy="RerunOnFailure")
    uid, boot, home = machine.vmi["metadata"]["uid"], machine.guest().values("info")["boot_id"], machine.node
    migration, source, target = caught_in_mid_copy(machine)
    run(GODWIT, "virtctl", "soft-reboot", machine.name, "-n", ns, "--kubeconfig", cluster.kubeconfig)
    source.wait_event("SHUTDOWN")
    assert migration.wait_final() == "Succeeded", migration.describe()
    target.wait_event("RESET")
    guest = machine.wait_guest()
    assert machine.vmi["metadata"]["uid"] == uid and machine.node != home and guest.values("info")["boot_id"] != boot
    assert not any(event["event"] in ("RESET", "RESUME") for event in source.events)
    guest.ask("poweroff")  # which is no reboot
    target.wait_event("SHUTDOWN")
    wait_for("it is over", lambda: not cluster.get("vmi", machine.name, ns, check=False))


def test_a_guest_that_shuts_down_in_mid_migration_has_succeeded(vm, cluster, ns, slow_copy):
    machine = vm(run_strategy="Manual", wait=False)
    run(GODWIT, "virtctl", "start", machine.name, "-n", ns, "--kubeconfig", cluster.kubeconfig)
    wait_for("its instance", lambda: cluster.get("vmi", machine.name, ns, check=False))
    machine.wait_guest()
    migration, source, target = caught_in_mid_copy(machine)
    machine.guest().ask("poweroff")
    source.wait_event("SHUTDOWN")
    assert migration.wait_final() == "Failed", migration.describe()
    wait_for("it is over", lambda: machine.vmi["status"]["phase"] == "Succeeded")
    assert "QEMU ended" in machine.vmi["status"]["migrationState"]["failureReason"]
    assert not any(event["event"] == "RESUME" for event in target.events)
