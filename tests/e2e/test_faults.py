"""kill -9 of each part in each phase of a migration: what comes of it is the table of docs/handover.md, section 7.

A migration is caught in its phase from outside (tests/lib/moments.py). Where a phase is too short to be hit for sure, the agent
that would end it is stopped meanwhile (SIGSTOP)."""
import contextlib
import itertools
import json
import re

import pytest
from cluster import EMPTY_DISK, Vm, vm_manifest, wait_for
from moments import Monitor, Notes, held, kill, pid_of, pod_folder

# P: the target has noted that it is prepared. R: memory is being copied. X: the guest stands still with disks to hand over, and
# Xc: QEMU's part is complete; not granted. G: the grant is noted, the target cannot know. D: the claim is noted; for the
# target's own QEMU: the guest runs.
PHASES = ("P", "R", "X", "Xc", "G", "D")
MOVED, STAYED, EITHER, LOST = {"moved"}, {"stayed"}, {"moved", "stayed"}, {"lost"}
TABLE = {
    "source agent":    (EITHER, MOVED,  MOVED,  MOVED,  MOVED,  MOVED),
    "target agent":    (EITHER, MOVED,  MOVED,  MOVED,  MOVED,  MOVED),
    "both agents":     (EITHER, MOVED,  MOVED,  MOVED,  MOVED,  MOVED),
    "server":          (MOVED,  MOVED,  MOVED,  MOVED,  MOVED,  MOVED),
    "target QEMU":     (STAYED, STAYED, STAYED, STAYED, STAYED, LOST),
    "target launcher": (STAYED, STAYED, STAYED, STAYED, STAYED, LOST),
    "source QEMU":     (LOST,   LOST,   LOST,   MOVED,  MOVED,  MOVED),
    "source launcher": (LOST,   LOST,   LOST,   MOVED,  MOVED,  MOVED),
}
CASES = [(phase, victim, TABLE[victim][i]) for i, phase in enumerate(PHASES) for victim in TABLE]
REASONS = {  # what the failure's reason must speak of
    "source QEMU": "QEMU ended", "source launcher": "QEMU ended",
    "target QEMU": r"target gave up.*signal 9|mirroring the disks: Input/output|[Ss]ocket|[Cc]onnection|TLS",
    "target launcher": r"target gave up.*launcher|mirroring the disks: Input/output|[Ss]ocket|[Cc]onnection|TLS",
}
DAEMONS = {"source agent": ["source"], "target agent": ["target"], "both agents": ["source", "target"], "server": ["server"]}
RATE = "48Mi"  # slow enough to be caught, fast enough for many


class Case:
    """One migration, and all that can be killed of it."""

    def __init__(self, machine: Vm):
        self.machine, self.cluster, self.notes = machine, machine.cluster, Notes(machine.cluster)
        self.source, self.target = machine.node, machine.other_node()
        self.source_pod = pod_folder(machine, self.source)
        self.monitors = {"source": Monitor(self.source_pod)}

    def pid(self, name: str) -> int:
        return self.cluster.pid({"source": self.source, "target": self.target}.get(name, name))

    @contextlib.contextmanager
    def moment(self, phase: str, victim: str):
        """Comes back inside the phase. What is held for it goes on at the end."""
        self.target_pod = self.notes.wait("prepared")
        self.monitors["target"] = Monitor(self.target_pod)
        copy = self.monitors["source"]
        with contextlib.ExitStack() as stack:
            if phase != "P":
                copy.wait_copy("active", transferred=1 << 16)
            if phase in ("X", "Xc"):
                stack.enter_context(held(self.pid("source")))
                copy.wait_copy("pre-switchover" if phase == "X" else "completed")
            elif phase == "G":
                stack.enter_context(held(self.pid("target")))
                self.notes.wait("granted")
            elif phase == "D" and victim in ("target QEMU", "target launcher"):
                self.monitors["target"].wait_event("RESUME")
            elif phase == "D":
                self.notes.wait("claimed")
            yield

    def kill(self, victim: str):
        if victim in DAEMONS:
            for name in DAEMONS[victim]:
                kill(self.pid(name))
            return
        side, what = victim.split()
        pod = self.source_pod if side == "source" else self.target_pod
        qemu = pid_of(pod, "qemu")
        kill(pid_of(pod, what.lower()))
        kill(qemu) if what == "launcher" else None

    def assert_never_twice(self):
        """QEMU's own account of when the guest ran where."""
        source, target = self.monitors["source"].runs(), self.monitors["target"].runs()
        for since, _ in target:
            assert source and all(end and end <= since for _, end in source), (source, target)

    def close(self):
        for one in [self.notes, *self.monitors.values()]:
            one.close()


class Machines:
    """The virtual machines of these tests. One that survives a case goes on with the next."""

    def __init__(self, cluster, ns: str):
        self.cluster, self.ns, self.made, self.numbers = cluster, ns, {}, itertools.count(1)

    def set_rate(self, rate):
        patch = {"spec": {"configuration": {"migrations": {"bandwidthPerMigration": rate}}}}
        self.cluster.kubectl("patch", "kubevirt", "kubevirt", "-n", "kubevirt", "--type=merge", "-p", json.dumps(patch))

    def disk(self, kind: str, name: str):
        """With "memory" nothing else has to be copied, so that QEMU completes without an agent."""
        if kind == "disk":
            return "scratch", EMPTY_DISK
        self.cluster.create({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": {
            "accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "32Mi"}}}}, self.ns)
        return "shared", {"persistentVolumeClaim": {"claimName": name}}

    def create(self, kind: str) -> Vm:
        """A running one whose guest has not booted: enough for one that will be lost."""
        machine = Vm(self.cluster, f"{kind}{next(self.numbers)}", self.ns)
        machine.disk, machine.boot_id = self.disk(kind, machine.name), None
        self.cluster.create(vm_manifest(machine.name, kernel_boot=True, run_strategy="Once", disks=[machine.disk]), self.ns)
        machine.wait_running()
        return machine

    def lasting(self, kind: str) -> Vm:
        """The one that goes on from case to case."""
        if kind not in self.made:
            machine = self.made[kind] = self.create(kind)
            guest = machine.wait_guest()
            guest.ask("memory-init 24")
            guest.ask("memory-dirty 4 8")
            guest.ask(f"journal-start {machine.disk[0]} 20")
            machine.boot_id = guest.values("info")["boot_id"]
        return self.made[kind]

    def forget(self, machine: Vm):
        """Whatever has become of it, the next case has a new one."""
        self.made = {kind: one for kind, one in self.made.items() if one is not machine}
        self.cluster.delete("vm", machine.name, self.ns, wait=False)


@pytest.fixture(scope="module")
def machines(cluster, module_ns):
    machines = Machines(cluster, module_ns)
    machines.set_rate(RATE)
    yield machines
    machines.set_rate(None)


def assert_lost(case, victim):
    """The VMI says so and how, and nothing of the guest is left."""
    vmi = wait_for("the VMI has failed", lambda: (v := case.machine.vmi)["status"]["phase"] == "Failed" and v, 20)
    ready = next(c for c in vmi["status"]["conditions"] if c["type"] == "Ready")
    assert ready["reason"] == ("crashed" if victim.endswith("QEMU") else "launcher-killed"), ready
    for node in case.cluster.nodes:
        wait_for("no QEMU is left", lambda node=node: pod_folder(case.machine, node) is None, 20)


def assert_lives(case, moved: bool):
    here, other = (case.target, case.source) if moved else (case.source, case.target)
    machine = case.machine
    wait_for("the other QEMU has ended", lambda: pod_folder(machine, other) is None, 20)
    assert machine.node == here and machine.vmi["status"]["phase"] == "Running" and pod_folder(machine, here)
    if not machine.boot_id:
        return
    guest = machine.guest()
    assert guest.values("info")["boot_id"] == machine.boot_id
    assert guest.values("memory-verify")["bad"] == 0
    assert guest.values(f"journal-verify {machine.disk[0]}")["missing"] == 0


def assert_outcome(case, phase, victim, expected, migration):
    moved = migration.wait_final(60) == "Succeeded"
    case.assert_never_twice()
    if not moved:
        reason = migration.object["status"]["migrationState"]["failureReason"]
        assert re.search(REASONS.get(victim, "."), reason), reason
    side = victim.split()[0]
    with_qemu = victim not in DAEMONS
    # The QEMU that had the guest: the source's until the grant, the target's once it runs.
    lost = with_qemu and (side == "source" and not moved or side == "target" and moved)
    outcome = "lost" if lost else "moved" if moved else "stayed"
    assert outcome in expected, migration.describe()
    assert moved or phase != "D"
    assert_lost(case, victim) if lost else assert_lives(case, moved)


@pytest.mark.parametrize("phase, victim, expected", [pytest.param(*c, id=f"{c[0]}-{c[1].replace(' ', '-')}") for c in CASES])
def test_killed(cluster, machines, phase, victim, expected):
    kind = "memory" if phase == "Xc" else "disk"
    machine = machines.create(kind) if "lost" in expected else machines.lasting(kind)
    case = Case(machine)
    try:
        migration = machine.start_migration()
        with case.moment(phase, victim):
            case.kill(victim)
        if victim == "server" and phase in ("X", "Xc", "G"):
            case.notes.wait("claimed")  # by the direct grant
        cluster.up()
        assert_outcome(case, phase, victim, expected, migration)
    except BaseException:
        machines.forget(machine)
        raise
    finally:
        case.close()
        if "lost" in expected:
            machines.forget(machine)


def test_cancel_while_the_target_hangs(cluster, machines):
    """What was sent to it is never answered: neither the migration nor the guest's disk may wait for that."""
    machine = machines.lasting("disk")
    case = Case(machine)
    migration = machine.start_migration()
    with case.moment("R", "target QEMU"), held(pid_of(case.target_pod, "qemu")):
        before = machine.guest().values("journal-verify scratch")
        cluster.delete("vmim", migration.name, machine.ns, wait=False)
        wait_for("it is over", lambda: migration.object is None or migration.phase == "Failed", 20)
        wait_for("the journal goes on", lambda: machine.guest().values("journal-verify scratch") != before, 10)
    assert_lives(case, moved=False)
    case.close()
