"""The leak check finds each kind of thing that it says it finds."""
import os
import socket
import subprocess
import sys

import leakcheck
import pytest

MARK = f"leak{os.getpid()}"


def sh(*words):
    subprocess.run(words, check=True, capture_output=True)


def test_nothing(tmp_path):
    with leakcheck.guard(dirs=[tmp_path], match=MARK):
        sh("true")


@pytest.mark.parametrize("make, undo, said", [
    (["ip", "netns", "add", MARK], ["ip", "netns", "del", MARK], "mount /run/netns/"),
    (["ip", "link", "add", MARK, "type", "bridge"], ["ip", "link", "del", MARK], "network device"),
    (["nft", f"add table ip {MARK}"], ["nft", f"delete table ip {MARK}"], "network nftables"),
])
def test_named(make, undo, said):
    with pytest.raises(leakcheck.Leaked, match=said):
        with leakcheck.guard(match=MARK, seconds=0):
            sh(*make)
    with leakcheck.guard(match=MARK):
        sh(*undo)


def test_route_and_rule():
    before = leakcheck.snapshot()
    sh("ip", "route", "add", "blackhole", "203.0.113.77", "table", "7177")
    sh("ip", "rule", "add", "pref", "7177", "to", "203.0.113.77", "lookup", "7177")
    try:
        leaks = leakcheck.compare(before, leakcheck.snapshot(), match="203.0.113.77")
    finally:
        sh("ip", "rule", "del", "pref", "7177")
        sh("ip", "route", "flush", "table", "7177")
    assert [leak.split()[1] for leak in leaks] == ["route", "rule"]
    assert not leakcheck.compare(before, leakcheck.snapshot(), match="203.0.113.77")


def test_process_is_marked_by_its_environment():
    with pytest.raises(leakcheck.Leaked, match="process .*sleep"):
        with leakcheck.guard(match=MARK, seconds=0):
            process = subprocess.Popen(["sleep", "60"], env={**os.environ, "TEST_MARK": MARK})
    process.kill()
    process.wait()


def test_files_and_sockets(tmp_path):
    with pytest.raises(leakcheck.Leaked) as leaked:
        with leakcheck.guard(dirs=[tmp_path], match=MARK, seconds=0), socket.socket(socket.AF_UNIX) as s:
            path = tmp_path / MARK
            s.bind(str(path))
            s.listen()
            before_exit = leakcheck.snapshot()
    assert f"socket unix {path}" in before_exit
    assert f"file {path}" in str(leaked.value)


def test_command_line(tmp_path):
    file, folder = tmp_path / "saved", tmp_path / "d"
    folder.mkdir()
    words = [sys.executable, leakcheck.__file__]
    assert subprocess.run([*words, "save", file, "--dir", folder]).returncode == 0
    assert subprocess.run([*words, "compare", file, "--dir", folder, "--match", MARK]).returncode == 0
    (folder / "left").touch()
    done = subprocess.run([*words, "compare", file, "--dir", folder, "--match", MARK], capture_output=True, text=True)
    assert done.returncode == 1 and done.stdout.strip() == f"file {folder}/left"
