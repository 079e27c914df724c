#!/usr/bin/env python3
"""An HTTPS server for test-client-curl: https-server.py CERT KEY CLIENT_CA; prints its port.

(a prefix /api/v1 is ignored)

GET  /echo      what was asked, and by whom
POST /echo      the same with the body
GET  /slow      answers after 2 s
GET  /stream    three watch events in odd pieces, then the end
GET  /forever   one watch event, then nothing
GET  /cut       half an answer, then closes
GET  /status    a Status, 409
"""
import http.server
import json
import ssl
import sys
import time


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    connections = 0

    def setup(self):
        super().setup()
        Handler.connections += 1

    def log_message(self, *args):
        pass

    def answer(self, code, body, length=None):
        data = json.dumps(body).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(length or len(data)))
        self.end_headers()
        self.wfile.write(data)

    def chunk(self, data):
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def start_stream(self):
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def echo(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        peer = self.connection.getpeercert() or {}
        name = [v for rdn in peer.get("subject", ()) for k, v in rdn if k == "commonName"]
        self.answer(200, {"method": self.command, "path": self.path, "body": body, "cn": name[0] if name else "",
                          "type": self.headers.get("Content-Type", ""), "agent": self.headers.get("User-Agent", ""),
                          "authorization": self.headers.get("Authorization", ""),
                          "accept": self.headers.get("Accept", ""), "connections": Handler.connections})

    def do_GET(self):
        path = self.path.split("?")[0].removeprefix("/api/v1")
        if path == "/slow":
            time.sleep(2)
            self.answer(200, {})
        elif path == "/stream":
            self.start_stream()
            for piece in (b'{"type":"ADDED","obj', b'ect":{"n":"1"}}\n{"type":"MODIFIED","object":{"n":"2"}}',
                          b'\n{"type":"DELETED","object":{"n":"3"}}\n', b""):
                self.chunk(piece)
        elif path == "/forever":
            self.start_stream()
            self.chunk(b'{"type":"ADDED","object":{"n":"1"}}\n')
            time.sleep(60)
        elif path == "/cut":
            self.answer(200, {"half": 1}, length=1000)
            self.close_connection = True
        elif path == "/status":
            self.answer(409, {"kind": "Status", "reason": "Conflict", "message": "modified", "code": 409})
        else:
            self.echo()

    do_POST = do_PUT = do_PATCH = do_DELETE = echo


cert, key, ca = sys.argv[1:]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(cert, key)
context.load_verify_locations(ca)
context.verify_mode = ssl.CERT_OPTIONAL
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
server.daemon_threads = True
server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_port, flush=True)
server.serve_forever()
