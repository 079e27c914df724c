#!/usr/bin/python3
"""./dev soak [MINUTES]: first ten minutes of fuzzing (--fuzz-minutes) for each parser of what clients send; then twenty
moves of a VM while everything of it is in use; then migrations without end, most of them with something killed at a random
moment. The table of what came of it goes to docs/results/. MINUTES 0 is the fuzzing alone, --fuzz-minutes 0 the rest alone.

A guest may be lost only where physics leaves nothing: when the QEMU that ran it (or its launcher) was the one killed. All
else is a violation: a guest that is gone or damaged, a migration that does not end, a second QEMU that stays."""
import argparse
import collections
import datetime
import os
import pathlib
import random
import shutil
import sys
import tempfile
import time

TOP = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TOP / "tests/lib"))
from cluster import Cluster, CommandError, Vm, run, wait_for  # noqa: E402
from guest import GuestError  # noqa: E402
import moves  # noqa: E402

DISKS = moves.DISKS
VICTIMS = ["nothing", "source agent", "target agent", "both agents", "server", "target QEMU", "target launcher", "source QEMU",
           "source launcher"]
RATES = [None, "24Mi"]  # unlimited, and slow enough for most kills to hit the copy
LONGEST_COPY_S = 6.0
FINAL_S = 150
# HTTP (the server, targets and media types, whole requests of the API), and what requests bring.
FUZZED = ["http", "http-uri", "rest", "protobuf", "patch", "selector", "websocket"]


class Violation(Exception):
    pass


class Soak:
    def __init__(self, cluster: Cluster, seed: int):
        self.cluster, self.random = cluster, random.Random(seed)
        self.vm = Vm(cluster, "soak")

    def prepare(self):
        moves.create(self.cluster, "soak")
        self.begin_writing()

    def begin_writing(self):
        """Also after the guest was lost and its VM started anew."""
        guest = self.vm.wait_guest()
        guest.ask("memory-init 40")
        guest.ask("memory-dirty 10 8")
        for disk in DISKS:
            guest.ask(f"journal-start {disk} 20" + (" 48" if disk == "system" else ""))
        self.boot_id = guest.values("info")["boot_id"]

    def pids(self, victim: str, source: str, target: str) -> list:
        if victim in ("source agent", "target agent", "both agents", "server"):
            names = {"source agent": [source], "target agent": [target], "both agents": [source, target], "server": ["server"]}
            return [self.cluster.pid(name) for name in names[victim]]
        node = source if victim.startswith("source") else target
        pid = self.vm.qemu_pid(node) if victim.endswith("QEMU") else self.vm.launcher_pid(node)
        return [pid] if pid else []

    def set_rate(self, rate):
        value = f'"{rate}"' if rate else "null"
        self.cluster.kubectl("patch", "kubevirt", "kubevirt", "-n", "kubevirt", "--type=merge", "-p",
                             f'{{"spec":{{"configuration":{{"migrations":{{"bandwidthPerMigration":{value}}}}}}}}}')

    def once(self, victim: str) -> str:
        """One migration; returns what came of it: "moved", "stayed" or "lost"."""
        source, target = self.vm.node, self.vm.other_node()
        self.set_rate(self.random.choice(RATES))
        migration = self.vm.start_migration(f"soak-{time.monotonic_ns()}")
        if victim != "nothing":
            time.sleep(self.random.uniform(0, LONGEST_COPY_S))
            for pid in self.pids(victim, source, target):
                os.kill(pid, 9)
            self.cluster.up()
        return self.judge(victim, self.final_phase(migration), source, target)

    def final_phase(self, migration) -> str:
        """ "Gone" if the VMI went first: its migrations go with it, as in KubeVirt."""
        seen = None

        def look():
            nonlocal seen
            seen = migration.object
            return seen is None or seen.get("status", {}).get("phase") in ("Succeeded", "Failed")

        try:
            wait_for("the migration's end", look, FINAL_S)
        except TimeoutError:
            raise Violation(f"stuck in phase {seen.get('status', {}).get('phase')}") from None
        return seen["status"]["phase"] if seen else "Gone"

    def judge(self, victim: str, phase: str, source: str, target: str) -> str:
        killed_runner = victim in ("target QEMU", "target launcher") and phase != "Failed" or \
            victim in ("source QEMU", "source launcher") and phase != "Succeeded"
        try:
            guest = self.vm.wait_guest(60)
            alive = guest.values("info")["boot_id"] == self.boot_id
        except (GuestError, TimeoutError) as err:
            raise Violation(f"guest does not answer: {err}") from None
        if not alive and not killed_runner:
            raise Violation(f"guest was lost, migration {phase}")
        if not alive:
            self.begin_writing()
            return "lost"
        if phase == "Gone":
            raise Violation("the migration is gone, but the guest lives")
        self.verify(guest)
        node = self.vm.node
        if node != (target if phase == "Succeeded" else source):
            raise Violation(f"migration {phase}, but the guest is on {node}")
        if victim == "nothing" and phase != "Succeeded":
            raise Violation("failed with nothing killed: " + self.vm.vmi["status"]["migrationState"].get("failureReason", ""))
        other = source if node == target else target
        wait_for("only one QEMU is left", lambda: self.vm.qemu_pid(other) is None, 30)
        return "moved" if phase == "Succeeded" else "stayed"

    def verify(self, guest):
        for command in ["memory-verify", *(f"journal-verify {disk}" for disk in DISKS)]:
            try:
                guest.ask(command)
            except GuestError as err:
                raise Violation(str(err)) from None


def twenty_moves(cluster: Cluster) -> str:
    """With nothing killed; an AssertionError says what went wrong."""
    probes = []

    def start_probe(*args, **options):
        probes.append(cluster.start_probe(*args, **options))
        return probes[-1]

    cluster.kubectl("create", "namespace", "travel")
    try:
        travel = moves.Travel(moves.create(cluster, "vm1", "travel"), start_probe)
        made = [travel.move() for _ in range(20)]
        travel.end()
    finally:
        for one in probes:
            one.kill()
        cluster.delete("vm", "vm1", "travel")
    return moves.summary(made) + "; memory, disks and connections were whole"


def fuzz(minutes: float) -> list:
    """A line for each harness, ending in "ok" or "FAILED"."""
    if minutes <= 0:
        return []
    run(TOP / "tools/build.sh", "asan", timeout=3600)
    seconds = round(minutes * 60)
    done = run(TOP / "tools/fuzz.py", ",".join(FUZZED), seconds, check=False, timeout=(seconds + 60) * len(FUZZED))
    print(done.stdout + done.stderr, flush=True)
    return done.stdout.splitlines() or [f"fuzz: {done.stderr.strip()}: FAILED"]


def heading() -> tuple:
    """Date and commit, and the first lines."""
    commit = run("git", "-C", TOP, "rev-parse", "--short", "HEAD").stdout.strip()
    today = datetime.date.today().isoformat()
    return f"{today}-{commit}", [f"# Soak of {today}, commit {commit}", ""]


def write(name: str, lines: list):
    path = TOP / f"docs/results/soak-{name}.md"
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
    print(path.read_text())


def fuzz_lines(fuzzed: list) -> list:
    return ["Fuzzing under ASan and UBSan, inputs tried by each harness:", "", *(f"- {line}" for line in fuzzed), ""] if fuzzed else []


def write_table(counts: dict, violations: list, minutes: float, seed: int, travel: str, fuzzed: list):
    name, lines = heading()
    lines += [*fuzz_lines(fuzzed),
             f"With everything in use and nothing killed: {travel}.", "",
             f"{sum(sum(c.values()) for c in counts.values())} migrations in {minutes:.0f} minutes, seed {seed}; "
             "kills at a random moment of each.", "", "| killed | runs | moved | stayed | lost | violations |", "|---|---|---|---|---|---|"]
    for victim in VICTIMS:
        c = counts[victim]
        lines.append(f"| {victim} | {sum(c.values())} | {c['moved']} | {c['stayed']} | {c['lost']} | {c['violation']} |")
    lines += ["", "Lost: the QEMU that ran the guest was the one killed."] + [f"- violation: {v}" for v in violations]
    write(name, lines)


def main() -> int:
    parser = argparse.ArgumentParser(prog="./dev soak", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("minutes", nargs="?", type=float, default=60)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    parser.add_argument("--fuzz-minutes", type=float, default=10, help="for each harness")
    options = parser.parse_args()
    fuzzed = fuzz(options.fuzz_minutes)
    failed = any(line.endswith("FAILED") for line in fuzzed)
    if options.minutes <= 0:
        name, lines = heading()
        write(name, lines + fuzz_lines(fuzzed))
        return 1 if failed else 0
    return 1 if migrations(options, fuzzed) or failed else 0


def migrations(options, fuzzed: list) -> list:
    """The violations."""
    counts, violations = collections.defaultdict(collections.Counter), []
    cluster = Cluster(pathlib.Path(tempfile.mkdtemp(prefix="godwit-soak-")))
    soak, begin, travel = Soak(cluster, options.seed), time.monotonic(), "not come to an end"
    try:
        cluster.up()
        cluster.import_images("testguest")
        try:
            travel = twenty_moves(cluster)
        except (AssertionError, GuestError, TimeoutError, CommandError) as err:
            violations.append(f"twenty moves: {err}".splitlines()[0])
        print(travel, flush=True)
        begin = time.monotonic()
        soak.prepare()
        for number in range(1 << 30):
            if time.monotonic() - begin > options.minutes * 60 or len(violations) > 10:
                break
            victim = VICTIMS[number % len(VICTIMS)]
            try:
                outcome = soak.once(victim)
            except (Violation, TimeoutError, CommandError) as err:
                outcome = "violation"
                violations.append(f"run {number + 1}, {victim}: {err}".splitlines()[0])
                soak.begin_writing()
            counts[victim][outcome] += 1
            print(f"{number + 1}: {victim}: {outcome} {violations[-1] if outcome == 'violation' else ''}", flush=True)
    except KeyboardInterrupt:
        print("ended early")
    finally:
        cluster.down(purge=not violations)
        if not violations:  # otherwise the logs stay
            shutil.rmtree(cluster.dir, ignore_errors=True)
    write_table(counts, violations, (time.monotonic() - begin) / 60, options.seed, travel, fuzzed)
    return violations


sys.exit(main())
