"""Talks to the test guest's agent (tests/guest/agent.h): one line out, one line back."""
import re
import socket
import subprocess
import sys
import time

AGENT_PORT = 7000
ECHO_PORT = 7001

# Runs in another network namespace, reached by `prefix`: sends one line and prints the answer.
RELAY = """
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=float(sys.argv[3])) as s:
    s.settimeout(float(sys.argv[3]))
    s.sendall(sys.argv[4].encode() + b"\\n")
    print(s.makefile().readline().strip())
"""


class GuestError(Exception):
    pass


class Guest:
    """The agent at address:port, reached from here or, with a prefix such as ["ip", "netns", "exec", N], from there."""

    def __init__(self, address: str, port: int = AGENT_PORT, prefix: list | None = None):
        self.address, self.port, self.prefix = address, port, prefix or []

    def ask_once(self, line: str, timeout: float) -> str:
        if self.prefix:
            done = subprocess.run(self.prefix + ["/usr/bin/python3", "-c", RELAY, self.address, str(self.port),
                                                 str(timeout), line], capture_output=True, text=True)
            if done.returncode != 0:
                raise GuestError(done.stderr.strip().splitlines()[-1])
            return done.stdout.strip()
        try:
            with socket.create_connection((self.address, self.port), timeout=timeout) as s:
                s.sendall(line.encode() + b"\n")
                return s.makefile().readline().strip()
        except OSError as err:
            raise GuestError(f"{self.address}:{self.port}: {err}") from None

    def ask(self, line: str, timeout: float = 30) -> str:
        """The answer behind "ok"; anything else is a GuestError."""
        answer = self.ask_once(line, timeout)
        if not answer.startswith("ok"):
            raise GuestError(f"{line}: {answer or 'no answer'}")
        return answer[2:].strip()

    def values(self, line: str, timeout: float = 30) -> dict:
        """The key=value pairs of an answer; of repeated keys the last."""
        return {k: int(v) if v.isdigit() else v for k, v in re.findall(r"(\w+)=(\S+)", self.ask(line, timeout))}

    def wait(self, seconds: float = 60):
        """Returns once the agent answers."""
        end = time.monotonic() + seconds
        while True:
            try:
                return self.ask("ping", timeout=2)
            except GuestError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.2)
