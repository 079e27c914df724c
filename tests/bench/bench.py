#!/usr/bin/python3
"""./dev bench [migration] [--rounds N]: Godwit's live migration beside bare QEMU's, with the same guest on this machine.
./dev bench api: the API server under load (api.py); BENCH_VMS="100 1000" for fewer VMs.

In each round every variant moves its guest once, in rotated order, first with an idle guest, then with a writing one.
total: from `kubectl create` to phase Succeeded, or from the start of the target QEMU to the end of the source. blackout: the
longest gap between two answers to a probe that asks every 5 ms, from a place that is neither source nor target.

The guest has no disk, so that all that moves is the same for all. "Same settings": mutual TLS, two channels of multifd, the
downtime limit that Godwit begins with."""
import argparse
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

TOP = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(TOP / "tests/lib"))
from api import bench_api  # noqa: E402
from barelab import BareLab  # noqa: E402
from cluster import ECHO, KUBECTL, Cluster, Vm, vm_manifest  # noqa: E402

MEMORY_MIB, FILLED_MIB = 256, 128
WRITES = {"idle": 0, "writing 50 MiB/s": 50}
SETTLE_S = 1.0


class GodwitVariant:
    """A VM that moves between node1 and node2; the probe is on node3, which takes no VMs."""

    name = "godwit"

    def __init__(self, work: pathlib.Path):
        self.cluster = Cluster(work / "cluster", nodes=3)

    def up(self):
        self.cluster.up()
        self.cluster.import_images("testguest-kernel")
        self.cluster.kubectl("cordon", "node3")
        self.cluster.create(vm_manifest("bench", memory=f"{MEMORY_MIB}Mi", kernel_boot=True))
        self.vm = Vm(self.cluster, "bench")
        self.guest = self.vm.wait_guest()
        self.watch = subprocess.Popen(
            [KUBECTL, "--kubeconfig", self.cluster.kubeconfig, "get", "vmim", "-w", "-o",
             'jsonpath={.metadata.name} {.status.phase}{"\\n"}'], stdout=subprocess.PIPE, text=True)

    def probe(self):
        return self.cluster.start_probe("node3", "udp", address=self.vm.address, port=ECHO, interval=5)

    def migrate(self) -> dict:
        begin = time.monotonic()
        migration = self.vm.start_migration()
        for line in self.watch.stdout:
            if line.split() == [migration.name, "Succeeded"]:
                break
            if line.split() == [migration.name, "Failed"]:
                raise RuntimeError(migration.describe())
        total = (time.monotonic() - begin) * 1000
        return {"total_ms": total, "downtime_ms": self.vm.vmi["status"]["migrationState"]["progress"]["downtimeMs"]}

    def down(self):
        if hasattr(self, "watch"):
            self.watch.kill()
            self.watch.wait()
        self.cluster.down(purge=True)


class BareVariant:
    def __init__(self, lab: BareLab, same: bool):
        self.lab, self.same, self.name = lab, same, "bare QEMU, same settings" if same else "bare QEMU, its defaults, no TLS"

    @property
    def guest(self):
        return self.lab.guest

    def probe(self):
        return self.lab.probe()

    def migrate(self) -> dict:
        return self.lab.migrate(self.same)


def measure(variant, rate: int) -> dict:
    """One move of a variant's guest, which writes only now: guests of the others must not take its CPU."""
    variant.guest.ask(f"memory-dirty {rate}")
    probe = variant.probe()
    try:
        time.sleep(SETTLE_S)
        figures = variant.migrate()
        time.sleep(SETTLE_S)
        figures["blackout_ms"] = probe.stop()["gap_ms"]
    finally:
        probe.kill()
    variant.guest.ask("memory-dirty 0")
    assert variant.guest.values("memory-verify")["bad"] == 0
    return figures


def show(figures: dict, load: str, rounds: int):
    print(f"\n{load}, {rounds} moves each: median (range), ms\n\n| variant | total | downtime by QEMU | blackout by probe |\n|---|---|---|---|")
    for name, rows in figures.items():
        cells = []
        for key in ("total_ms", "downtime_ms", "blackout_ms"):
            values = [row[key] for row in rows]
            cells.append(f"{statistics.median(values):.0f} ({min(values):.0f}-{max(values):.0f})")
        print(f"| {name} | {' | '.join(cells)} |")


def bench_migration(rounds: int):
    with tempfile.TemporaryDirectory(prefix="godwit-bench-") as folder:
        work = pathlib.Path(folder)
        godwit, lab = GodwitVariant(work), BareLab(work, MEMORY_MIB)
        variants = [godwit, BareVariant(lab, False), BareVariant(lab, True)]
        try:
            godwit.up()
            lab.up()
            for variant in variants[:2]:
                variant.guest.ask(f"memory-init {FILLED_MIB}")
            for load, rate in WRITES.items():
                figures = {variant.name: [] for variant in variants}
                for number in range(rounds):
                    for variant in variants[number % 3:] + variants[:number % 3]:
                        figures[variant.name].append(measure(variant, rate))
                show(figures, load, rounds)
        finally:
            lab.down()
            godwit.down()


BENCHES = {"migration": bench_migration, "api": bench_api}


def main() -> int:
    parser = argparse.ArgumentParser(prog="./dev bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", nargs="?", default="migration", choices=BENCHES)
    parser.add_argument("--rounds", type=int, default=12)
    options = parser.parse_args()
    BENCHES[options.name](options.rounds)
    return 0


sys.exit(main())
