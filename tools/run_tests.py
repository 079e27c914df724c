#!/usr/bin/python3
"""Runs the steps of ./dev test in order, sums their results, and says how long each took.

A step is a function that returns Counts. A failed step never stops the later ones; the exit code is 0 only if nothing
failed. `run_tests.py STEP...` runs only the named steps."""
import json
import os
import pathlib
import subprocess
import sys
import time
import xml.etree.ElementTree
from typing import Callable, NamedTuple

TOP = pathlib.Path(__file__).resolve().parent.parent
BUILD = TOP / "build"
LOGS = BUILD / "test-logs"
FUZZ_SECONDS = 20


class Counts(NamedTuple):
    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def plus(self, other):
        return Counts(*(a + b for a, b in zip(self, other)))


def run(name: str, command: list, minutes: float, **options) -> bool:
    """Runs a command with its output in a log; on failure shows the end of it."""
    log = LOGS / f"{name}.log"
    with open(log, "w") as out:
        child = subprocess.Popen(command, cwd=TOP, stdout=out, stderr=subprocess.STDOUT, **options)
        try:
            code = child.wait(timeout=minutes * 60)
        except subprocess.TimeoutExpired:
            child.terminate()
            child.wait()
            out.write(f"\nended after {minutes} minutes\n")
            code = 124
    if code != 0:
        lines = log.read_text(errors="replace").splitlines()
        print("\n".join(f"    {line}" for line in lines[-40:]))
    return code == 0


def as_root(command: list) -> list:
    return command if os.geteuid() == 0 else ["sudo", "-E"] + command


def one(ok: bool) -> Counts:
    return Counts(passed=1) if ok else Counts(failed=1)


def build(flavour: str) -> Counts:
    return one(run(f"build-{flavour}", ["tools/build.sh", flavour], 15))


def meson_suites(flavour: str) -> set:
    listed = subprocess.run(["meson", "introspect", "--tests", str(BUILD / flavour)], capture_output=True, text=True)
    if listed.returncode != 0:
        return set()
    return {suite.split(":")[-1] for test in json.loads(listed.stdout) for suite in test["suite"]}


def meson(flavour: str, suites: list, minutes: float, root=False) -> Counts:
    """Meson's own runner; each test program counts once, read from its log of one JSON object per line."""
    present = [s for s in suites if s in meson_suites(flavour)]
    if not present:
        return Counts()
    label = f"{flavour}-{'-'.join(present)}"
    command = ["meson", "test", "-C", str(BUILD / flavour), "--no-rebuild", "--print-errorlogs", "--timeout-multiplier", "4", "--logbase", label]
    for suite in present:
        command += ["--suite", suite]
    log = BUILD / flavour / "meson-logs" / f"{label}.json"
    log.unlink(missing_ok=True)
    ok = run(label, as_root(command) if root else command, minutes)
    results = [json.loads(line)["result"] for line in log.read_text().splitlines()] if log.exists() else []
    passed = sum(r in ("OK", "EXPECTEDFAIL") for r in results)
    skipped = results.count("SKIP")
    failed = len(results) - passed - skipped
    return Counts(passed, failed if ok or failed else 1, skipped)


def pytest(folder: str, minutes: float) -> Counts:
    if not list((TOP / folder).glob("test_*.py")):
        return Counts()
    name = folder.replace("/", "-")
    report = LOGS / f"{name}.xml"
    report.unlink(missing_ok=True)
    ok = run(name, as_root(["/usr/bin/python3", "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider",
                            f"--junitxml={report}", folder]), minutes)
    if not report.exists():
        return Counts(failed=1)
    suite = xml.etree.ElementTree.parse(report).getroot().find("testsuite")
    failed = int(suite.get("failures")) + int(suite.get("errors"))
    skipped = int(suite.get("skipped"))
    return Counts(int(suite.get("tests")) - failed - skipped, failed if ok or failed else 1, skipped)


def fuzz() -> Counts:
    if not list((TOP / "tests/fuzz").glob("fuzz-*.c")):
        return Counts()
    done = subprocess.run(["tools/fuzz.py", "all", str(FUZZ_SECONDS)], cwd=TOP, text=True, stdout=subprocess.PIPE)
    verdicts = [line.split(":")[-1].strip() for line in done.stdout.splitlines()]
    return Counts(verdicts.count("ok"), verdicts.count("FAILED"))


def spin() -> Counts:
    if not list((TOP / "docs/model").glob("*.pml")):
        return Counts()
    done = subprocess.run(["tools/spin.sh"], cwd=TOP, text=True, stdout=subprocess.PIPE)
    print("".join(f"    {line}\n" for line in done.stdout.splitlines()), end="")
    verdicts = [line.split(":")[-1].strip() for line in done.stdout.splitlines()]
    return Counts(verdicts.count("ok"), verdicts.count("FAILED"))


STEPS: dict[str, Callable[[], Counts]] = {
    "floors": lambda: one(run("floors", ["tools/check-floors"], 1)),
    "build-gcc": lambda: build("gcc"),
    "unit": lambda: meson("gcc", ["unit", "sim"], 10),
    "build-clang": lambda: build("clang"),
    "build-asan": lambda: build("asan"),
    "unit-asan": lambda: meson("asan", ["unit", "sim"], 10),
    "spin": spin,
    "fuzz": fuzz,
    "guest": lambda: one(run("guest", ["tools/testguest/build.sh"], 10)),
    "host": lambda: meson("gcc", ["host"], 10, root=True).plus(pytest("tests/host", 10)),
    "e2e": lambda: pytest("tests/e2e", 18),
}


def main() -> int:
    wanted = sys.argv[1:] or list(STEPS)
    unknown = [name for name in wanted if name not in STEPS]
    if unknown:
        print(f"unknown step {unknown[0]}; there are: {' '.join(STEPS)}", file=sys.stderr)
        return 2
    LOGS.mkdir(parents=True, exist_ok=True)
    total, begin = Counts(), time.monotonic()
    for name in wanted:
        print(f"{name} ...", flush=True)
        since = time.monotonic()
        try:
            counts = STEPS[name]()
        except OSError as err:
            print(f"    {err}")
            counts = Counts(failed=1)
        total = total.plus(counts)
        print(f"{name}: {counts.passed} passed, {counts.failed} failed, {counts.skipped} skipped"
              f" ({time.monotonic() - since:.0f} s)", flush=True)
    print(f"{time.monotonic() - begin:.0f} s in all; logs are in {LOGS.relative_to(TOP)}")
    print(f"{total.skipped} skipped")
    print(f"{total.passed} passed, {total.failed} failed")
    return 1 if total.failed else 0


sys.exit(main())
