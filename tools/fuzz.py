#!/usr/bin/python3
"""Runs libFuzzer harnesses of build/asan: fuzz.py [NAME|all [SECONDS]]. One line per harness, "fuzz-x: ok" or "fuzz-x: FAILED".

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
    found = WORK / program.name
    found.mkdir(parents=True, exist_ok=True)
    seeds = TOP / "tests/fuzz/corpus" / program.name
    command = [program, f"-max_total_time={seconds}", "-timeout=10", "-rss_limit_mb=2048", "-max_len=16384",
               f"-artifact_prefix={WORK}/{program.name}-", found] + ([seeds] if seeds.is_dir() else [])
    with open(WORK / f"{program.name}.log", "w") as log:
        code = subprocess.run(command, stdout=log, stderr=log).returncode
    if code != 0:
        print("\n".join((WORK / f"{program.name}.log").read_text(errors="replace").splitlines()[-30:]), file=sys.stderr)
    return code == 0


def main() -> int:
    name = sys.argv[1] if len(sys.argv) > 1 else "all"
    seconds = int(sys.argv[2]) if len(sys.argv) > 2 else 20
    programs = sorted(p for p in BUILT.glob("fuzz-*") if p.is_file() and os.access(p, os.X_OK))
    programs = [p for p in programs if name in ("all", p.name, p.name.removeprefix("fuzz-"))]
    if not programs:
        print(f"fuzz: no harness {name}", file=sys.stderr)
        return 1
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        results = list(pool.map(lambda p: fuzz(p, seconds), programs))
    for program, ok in zip(programs, results):
        print(f"{program.name}: {'ok' if ok else 'FAILED'}")
    return 0 if all(results) else 1


sys.exit(main())
