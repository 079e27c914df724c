"""The subresources that virtctl calls for: plain requests, and websockets as plain.kubevirt.io has them."""
import base64
import contextlib
import hashlib
import http.client
import json
import os
import pathlib
import select
import socket
import ssl
import struct
import tempfile
import time
import urllib.parse

import yaml


class Refused(Exception):
    def __init__(self, status: int, text: str):
        super().__init__(f"{status}: {text}")
        self.status, self.text = status, text


class Subresources:
    """As the user of a kubeconfig."""

    def __init__(self, kubeconfig: pathlib.Path, ns: str):
        config = yaml.safe_load(pathlib.Path(kubeconfig).read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        self.server = urllib.parse.urlparse(cluster["server"])
        self.base = f"/apis/subresources.kubevirt.io/v1/namespaces/{ns}"
        self.tls = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
        with tempfile.NamedTemporaryFile() as pem:
            pem.write(base64.b64decode(user["client-certificate-data"]) + base64.b64decode(user["client-key-data"]))
            pem.flush()
            self.tls.load_cert_chain(pem.name)

    def call(self, method: str, path: str, body: dict | None = None) -> str:
        """path: virtualmachineinstances/vm1/pause. Refused for anything but 2xx."""
        connection = http.client.HTTPSConnection(self.server.hostname, self.server.port, context=self.tls, timeout=30)
        connection.request(method, f"{self.base}/{path}", body=None if body is None else json.dumps(body))
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        if answer.status >= 300:
            raise Refused(answer.status, json.loads(text)["message"])
        return text

    def put(self, path: str, body: dict | None = None) -> str:
        return self.call("PUT", path, body)

    def open(self, path: str) -> "WebSocket":
        raw = socket.create_connection((self.server.hostname, self.server.port), timeout=20)
        return WebSocket(self.tls.wrap_socket(raw, server_hostname=self.server.hostname), f"{self.base}/{path}",
                         self.server.netloc)


class WebSocket:
    def __init__(self, connection: ssl.SSLSocket, path: str, host: str):
        self.connection, self.buffer, self.closed = connection, b"", None
        key = base64.b64encode(os.urandom(16)).decode()
        self.connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                                f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
                                "Sec-WebSocket-Protocol: plain.kubevirt.io\r\n\r\n".encode())
        while b"\r\n\r\n" not in self.buffer:
            self.take()
        head, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
        lines = head.decode().split("\r\n")
        status = int(lines[0].split()[1])
        if status != 101:
            time.sleep(0.2)
            connection.settimeout(1)
            try:
                self.take()
            except (OSError, EOFError):
                pass
            raise Refused(status, self.buffer.decode(errors="replace"))
        headers = {k.lower(): v.strip() for k, v in (line.split(":", 1) for line in lines[1:])}
        digest = hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()
        assert headers["sec-websocket-accept"] == base64.b64encode(digest).decode()
        assert headers["sec-websocket-protocol"] == "plain.kubevirt.io"

    def take(self):
        got = self.connection.recv(65536)
        if not got:
            raise EOFError(f"the connection ended (close code {self.closed})")
        self.buffer += got

    def frame(self, opcode: int, payload: bytes):
        self.connection.sendall(self.encode(opcode, payload))

    @staticmethod
    def encode(opcode: int, payload: bytes) -> bytes:
        n = len(payload)
        size = bytes([0x80 | n]) if n < 126 else bytes([0x80 | 126]) + struct.pack(">H", n) if n < 65536 else \
            bytes([0x80 | 127]) + struct.pack(">Q", n)
        mask = os.urandom(4)
        key = (mask * (n // 4 + 1))[:n]
        masked = (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(n, "big") if n else b""
        return bytes([0x80 | opcode]) + size + mask + masked

    def send(self, payload: bytes):
        self.frame(2, payload)

    def exchange(self, payload: bytes, seconds: float = 30) -> bytes:
        """Sends all while it takes in as many bytes; one thread, since a TLS connection must not be used by two."""
        wire = b"".join(self.encode(2, payload[i:i + 50000]) for i in range(0, len(payload), 50000))
        end, got = time.monotonic() + seconds, b""
        while len(got) < len(payload):
            if time.monotonic() > end:
                raise TimeoutError(f"{len(got)} of {len(payload)} bytes came back, {len(wire)} were not taken")
            select.select([self.connection], [self.connection] if wire else [], [], 0.2)
            self.connection.setblocking(False)
            with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLWantWriteError):
                wire = wire[self.connection.send(wire[:16384]):] if wire else wire
            with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLWantWriteError):
                self.take()
            self.connection.settimeout(20)
            while self.whole():
                got += self.receive()
        return got

    def whole(self) -> bool:
        """Whether a message is in the buffer."""
        if len(self.buffer) < 10:
            return len(self.buffer) >= 2 and self.buffer[1] < 126 and len(self.buffer) >= 2 + self.buffer[1]
        n, head = self.buffer[1], 2
        if n >= 126:
            head = 4 if n == 126 else 10
            n = int.from_bytes(self.buffer[2:head], "big")
        return len(self.buffer) >= head + n

    def need(self, n: int) -> bytes:
        while len(self.buffer) < n:
            self.take()
        got, self.buffer = self.buffer[:n], self.buffer[n:]
        return got

    def receive(self) -> bytes:
        """The next message; b"" at the close."""
        while True:
            first, second = self.need(2)
            n = second & 0x7F
            if n >= 126:
                n = int.from_bytes(self.need(2 if n == 126 else 8), "big")
            payload, opcode = self.need(n), first & 0xF
            if opcode == 8:
                self.closed = int.from_bytes(payload[:2], "big")
                return b""
            if opcode == 9:
                self.frame(10, payload)
            elif opcode == 2:
                return payload

    def read_until(self, text: bytes, seconds: float = 20) -> bytes:
        got, end = b"", time.monotonic() + seconds
        while text not in got:
            self.connection.settimeout(max(0.1, end - time.monotonic()))
            piece = self.receive()
            if not piece:
                raise EOFError(f"closed with {self.closed} behind {got!r}")
            got += piece
        return got

    def close(self):
        self.frame(8, struct.pack(">H", 1000))
        try:
            while self.receive():
                pass
        except (OSError, EOFError):
            pass
        self.connection.close()
