#!/usr/bin/python3
"""Runs libFuzzer harnesses of build/asan: fuzz.py [all|NAME,NAME... [SECONDS]]. One line per harness with the number
of inputs that it tried, and ": ok" or ": FAILED" at its end. FUZZ_JOBS says how many run at once (all processors).

Each harness starts from tests/fuzz/corpus/NAME where that exists; what it finds beyond goes to build/fuzz/NAME."""
import concurrent.futures
import os
import pathlib
import subprocess
import sys

TOP = pathlib.Path(__file__).resolve().parent.parent
BUILT = TOP / "build/asan/tests/fuzz"
WORK = TOP / "build/fuzz"


def fuzz(program: pathlib.Path, seconds: int) -> bool:
    """Low in priority: it may take hours, and finds as much at night."""
    found = WORK / program.name
    found.mkdir(parents=True, exist_ok=True)
    seeds = TOP / "tests/fuzz/corpus" / program.name
    command = ["nice", "-n", "19", program, f"-max_total_time={seconds}", "-timeout=10", "-rss_limit_mb=2048", "-max_len=16384",
               f"-artifact_prefix={WORK}/{program.name}-", found] + ([seeds] if seeds.is_dir() else [])
    with open(WORK / f"{program.name}.log", "w") as log:
        code = subprocess.run(command, stdout=log, stderr=log).returncode
    if code != 0:
        print("\n".join(report(program)[-30:]), file=sys.stderr)
    return code == 0


def report(program: pathlib.Path) -> list:
    return (WORK / f"{program.name}.log").read_text(errors="replace").splitlines()


def runs(program: pathlib.Path) -> str:
    """libFuzzer's last words: "Done 1234 runs in 600 second(s)"."""
    return next((line for line in reversed(report(program)) if line.startswith("Done ")), "not finished")


def main() -> int:
    name = sys.argv[1] if len(sys.argv) > 1 else "all"
    seconds = int(sys.argv[2]) if len(sys.argv) > 2 else 20
    at_once = int(os.environ.get("FUZZ_JOBS", os.cpu_count()))
    names = [one.removeprefix("fuzz-") for one in name.split(",")]
    programs = sorted(p for p in BUILT.glob("fuzz-*") if p.is_file() and os.access(p, os.X_OK))
    missing = [one for one in names if one != "all" and not (BUILT / f"fuzz-{one}").is_file()]
    programs = [p for p in programs if "all" in names or p.name.removeprefix("fuzz-") in names]
    if missing or not programs:
        print(f"fuzz: no harness {', '.join(missing) or name}", file=sys.stderr)
        return 1
    with concurrent.futures.ThreadPoolExecutor(at_once) as pool:
        results = list(pool.map(lambda p: fuzz(p, seconds), programs))
    for program, ok in zip(programs, results):
        print(f"{program.name}: {runs(program)}: {'ok' if ok else 'FAILED'}")
    return 0 if all(results) else 1


sys.exit(main())
