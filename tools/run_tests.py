#!/usr/bin/python3
"""Runs the steps of ./dev test in order, sums their results, and says how long each took.

A step is a function that returns Counts. A failed step never stops the later ones; the exit code is 0 only if nothing
failed. What is not there to be run (a suite, a folder of tests, a harness, a model) has failed: a renamed folder must not
look like success. `run_tests.py STEP...` runs only the named steps."""
import json
import os
import pathlib
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree
from typing import Callable, NamedTuple

TOP = pathlib.Path(__file__).resolve().parent.parent
BUILD = TOP / "build"
LOGS = BUILD / "test-logs"
FUZZ_SECONDS = 12
# How a step is ended, and the seconds that it has each time: pytest and meson take down what they set up when interrupted.
ENDINGS = (signal.SIGINT, 20), (signal.SIGTERM, 5), (signal.SIGKILL, 5)


class Counts(NamedTuple):
    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def plus(self, other):
        return Counts(*(a + b for a, b in zip(self, other)))


def as_root(command: list) -> list:
    return command if os.geteuid() == 0 else ["sudo", "-E"] + command


def signal_group(group: int, number: int) -> bool:
    """False where nobody is left in the group."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    except PermissionError:  # what sudo started
        return subprocess.run(as_root(["kill", f"-{number}", "--", f"-{group}"]), stderr=subprocess.DEVNULL).returncode == 0
    return True


def end_group(child: subprocess.Popen) -> None:
    """Ends a command with all that it left behind."""
    for number, patience in ENDINGS:
        there = signal_group(child.pid, number)
        since = time.monotonic()
        while there and time.monotonic() - since < patience:
            time.sleep(0.05)
            child.poll()  # a dead leader that nobody waits for counts as one of the group
            there = signal_group(child.pid, 0)
        if not there:
            break
    child.wait()


def run(name: str, command: list, minutes: float) -> bool:
    """Runs a command with its output in a log; on failure shows the end of it."""
    log = LOGS / f"{name}.log"
    with open(log, "w") as out:
        child = subprocess.Popen(command, cwd=TOP, stdout=out, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            code = child.wait(timeout=minutes * 60)
        except subprocess.TimeoutExpired:
            code = 124
        finally:
            end_group(child)
        if code == 124:
            out.write(f"\nended after {minutes} minutes\n")
    if code != 0:
        lines = log.read_text(errors="replace").splitlines()
        print("\n".join(f"    {line}" for line in lines[-40:]))
    return code == 0


def one(ok: bool) -> Counts:
    return Counts(passed=1) if ok else Counts(failed=1)


def missing(what: str) -> Counts:
    print(f"    there is no {what}")
    return Counts(failed=1)


def counted(name: str, counts: Counts, ok: bool) -> Counts:
    """What a runner counted; a runner that failed without naming a failure, or that ran nothing, is one."""
    if ok and counts == Counts():
        print(f"    {name} ran nothing")
        return Counts(failed=1)
    return counts if ok or counts.failed else counts.plus(Counts(failed=1))


def build(flavour: str) -> Counts:
    return one(run(f"build-{flavour}", ["tools/build.sh", flavour], 15))


def meson_suites(flavour: str) -> set:
    listed = subprocess.run(["meson", "introspect", "--tests", str(BUILD / flavour)], capture_output=True, text=True)
    if listed.returncode != 0:
        return set()
    return {suite.split(":")[-1] for test in json.loads(listed.stdout) for suite in test["suite"]}


def meson(flavour: str, suites: list, minutes: float, root=False) -> Counts:
    """Meson's own runner; each test program counts once, read from its log of one JSON object per line."""
    absent = set(suites) - meson_suites(flavour)
    if absent:
        return missing(f"suite {', '.join(sorted(absent))} in build/{flavour}")
    label = f"{flavour}-{'-'.join(suites)}"
    command = ["meson", "test", "-C", str(BUILD / flavour), "--no-rebuild", "--print-errorlogs",
               "--timeout-multiplier", "4", "--logbase", label]
    for suite in suites:
        command += ["--suite", suite]
    log = BUILD / flavour / "meson-logs" / f"{label}.json"
    log.unlink(missing_ok=True)
    ok = run(label, as_root(command) if root else command, minutes)
    results = [json.loads(line)["result"] for line in log.read_text().splitlines()] if log.exists() else []
    passed = sum(r in ("OK", "EXPECTEDFAIL") for r in results)
    skipped = results.count("SKIP")
    return counted(label, Counts(passed, len(results) - passed - skipped, skipped), ok)


def pytest(folder: str, minutes: float) -> Counts:
    if not list((TOP / folder).glob("test_*.py")):
        return missing(f"test in {folder}")
    name = folder.replace("/", "-")
    report = LOGS / f"{name}.xml"
    report.unlink(missing_ok=True)
    ok = run(name, as_root(["/usr/bin/python3", "-m", "pytest", "-q", "-rfEs", "-p", "no:cacheprovider",
                            f"--junitxml={report}", folder]), minutes)
    if not report.exists():
        return missing(f"report of {name}")
    suite = xml.etree.ElementTree.parse(report).getroot().find("testsuite")
    failed = int(suite.get("failures")) + int(suite.get("errors"))
    skipped = int(suite.get("skipped"))
    return counted(name, Counts(int(suite.get("tests")) - failed - skipped, failed, skipped), ok)


def verdicts(name: str, command: list, minutes: float) -> Counts:
    """A tool that says one line per check, ending in "ok" or "FAILED"."""
    ok = run(name, command, minutes)
    said = [line.split(":")[-1].strip() for line in (LOGS / f"{name}.log").read_text(errors="replace").splitlines()]
    return counted(name, Counts(said.count("ok"), said.count("FAILED")), ok)


def fuzz() -> Counts:
    return verdicts("fuzz", ["tools/fuzz.py", "all", str(FUZZ_SECONDS)], 10)


def spin() -> Counts:
    return verdicts("spin", ["tools/spin.sh"], 10)


STEPS: dict[str, Callable[[], Counts]] = {
    "floors": lambda: one(run("floors", ["tools/check-floors"], 1)),
    "build-gcc": lambda: build("gcc"),
    "unit": lambda: meson("gcc", ["unit", "sim"], 10),
    "build-clang": lambda: build("clang"),
    "build-asan": lambda: build("asan"),
    "unit-asan": lambda: meson("asan", ["unit"], 10),  # all simulations but the large fleet, which touches no other code
    "spin": spin,
    "fuzz": fuzz,
    "demo": lambda: one(run("demo", as_root(["./dev", "demo"]), 10)),
    "guest": lambda: one(run("guest", ["tools/testguest/build.sh"], 10)),
    "host": lambda: meson("gcc", ["host"], 15, root=True).plus(pytest("tests/host", 15)),
    "e2e": lambda: pytest("tests/e2e", 30),
}


def main() -> int:
    wanted = sys.argv[1:] or list(STEPS)
    unknown = [name for name in wanted if name not in STEPS]
    if unknown:
        print(f"unknown step {unknown[0]}; there are: {' '.join(STEPS)}", file=sys.stderr)
        return 2
    LOGS.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # unwinds through run(), which ends what it started
    total, begin = Counts(), time.monotonic()
    for name in wanted:
        print(f"{name} ...", flush=True)
        since = time.monotonic()
        try:
            counts = STEPS[name]()
        except Exception as err:  # whatever a step runs into, the others run and the sum is said
            print(f"    {type(err).__name__}: {err}")
            counts = Counts(failed=1)
        total = total.plus(counts)
        print(f"{name}: {counts.passed} passed, {counts.failed} failed, {counts.skipped} skipped"
              f" ({time.monotonic() - since:.0f} s)", flush=True)
    print(f"{time.monotonic() - begin:.0f} s in all; logs are in {LOGS.relative_to(TOP)}")
    print(f"{total.skipped} skipped")
    print(f"{total.passed} passed, {total.failed} failed")
    return 1 if total.failed else 0


if __name__ == "__main__":
    sys.exit(main())
