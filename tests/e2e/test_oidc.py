"""An OpenID Connect issuer, played by a small HTTPS server, and users who come with its tokens."""
import base64
import contextlib
import http.server
import json
import pathlib
import ssl
import subprocess
import threading
import time

import pytest
from cluster import wait_for
from server import Server


def openssl(*words, data: bytes | None = None) -> bytes:
    return subprocess.run(["openssl", *map(str, words)], input=data, capture_output=True, check=True).stdout


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Issuer:
    def __init__(self, folder: pathlib.Path):
        self.folder, self.keys, self.requests = folder, {}, []
        cert, key = folder / "issuer.crt", folder / "issuer.key"
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out", cert,
                "-days", 2, "-subj", "/CN=issuer", "-addext", "subjectAltName=DNS:localhost")
        self.ca, issuer = cert, self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                issuer.requests.append(self.path)
                answer = issuer.answer(self.path)
                text = json.dumps(answer or {}).encode()
                self.send_response(200 if answer else 404)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *args):
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert, key)
        self.http.socket = context.wrap_socket(self.http.socket, server_side=True)
        self.url = f"https://localhost:{self.http.server_address[1]}/realm"
        self.claimed = self.url
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def answer(self, path):
        if path == "/realm/.well-known/openid-configuration":
            return {"issuer": self.claimed, "jwks_uri": self.url + "/keys"}
        if path == "/realm/keys":
            return {"keys": [jwk for _, jwk in self.keys.values()]}
        return None

    def add_key(self, kid: str):
        file = self.folder / f"{kid}.pem"
        openssl("genrsa", "-out", file, "2048")
        modulus = bytes.fromhex(openssl("rsa", "-in", file, "-noout", "-modulus").decode().strip().split("=")[1])
        self.keys[kid] = file, {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": kid, "n": b64(modulus), "e": "AQAB"}

    def token(self, kid: str, **claims) -> str:
        claims = {"iss": self.url, "aud": "godwit", "sub": "u-1", "exp": int(time.time()) + 600} | claims
        text = ".".join(b64(json.dumps(part).encode()) for part in ({"alg": "RS256", "kid": kid}, claims))
        return f"{text}.{b64(openssl('dgst', '-sha256', '-sign', self.keys[kid][0], data=text.encode()))}"


@pytest.fixture
def issuer(tmp_path):
    issuer = Issuer(tmp_path)
    issuer.add_key("one")
    yield issuer
    issuer.http.shutdown()
    issuer.http.server_close()


@pytest.fixture
def server(issuer, tmp_path):
    with contextlib.ExitStack() as stack:
        def start(*options) -> Server:
            folder = tmp_path / f"server{len(list(tmp_path.glob('server*')))}"
            folder.mkdir()
            server = Server(folder, f"--oidc-issuer-url={issuer.url}", "--oidc-client-id=godwit", f"--oidc-ca-file={issuer.ca}",
                            *options)
            server.start()
            stack.callback(server.stop)
            return server
        yield start


def whoami(server: Server, token: str):
    """Name and groups, or the code of a refusal."""
    code, body = server.curl("/apis/user.openshift.io/v1/users/~", "-H", f"Authorization: Bearer {token}")
    return (json.loads(body)["metadata"]["name"], json.loads(body)["groups"]) if code == 200 else code


def test_users_of_an_issuer(issuer, server):
    one = server("--oidc-username-claim=email", "--oidc-groups-claim=groups", "--oidc-groups-prefix=oidc:",
                 "--oidc-required-claim=hd=example.org")
    claims = {"email": "alice@example.org", "groups": ["dev"], "hd": "example.org"}
    wait_for("the keys are known", lambda: whoami(one, issuer.token("one", **claims)) != 401, 10)
    assert whoami(one, issuer.token("one", **claims)) == ("alice@example.org", ["oidc:dev", "system:authenticated"])
    for wrong in ({"hd": "x"}, {"aud": "x"}, {"exp": int(time.time()) - 1}, {"iss": "https://x"}, {"email_verified": False}):
        assert whoami(one, issuer.token("one", **claims | wrong)) == 401
    assert "oidc: it lacks the claim hd=example.org" in (one.home / "log").read_text()
    # A token of the server's own is not the issuer's business.
    wait_for("the default account", lambda: "default" in one.kubectl("get", "sa", "-n", "default"), 5)
    own = one.kubectl("create", "token", "default").strip()
    assert whoami(one, own)[0] == "system:serviceaccount:default:default"
    # Another key, of which nobody told: the first who comes with it makes the server look, soon but not at once.
    issuer.add_key("two")
    assert whoami(one, issuer.token("two", **claims)) == 401
    wait_for("the new key is known", lambda: whoami(one, issuer.token("two", **claims)) != 401, 15)
    n = len(issuer.requests)
    issuer.add_key("three")
    for _ in range(5):
        assert whoami(one, issuer.token("two", **claims)) != 401
        assert whoami(one, issuer.token("three", **claims)) == 401
    assert len(issuer.requests) <= n + 2


def test_an_issuer_that_is_another(issuer, server):
    issuer.claimed = "https://localhost/other"
    one = server()
    wait_for("it says so", lambda: 'it says that the issuer is "https://localhost/other"' in (one.home / "log").read_text(), 10)
    assert whoami(one, issuer.token("one")) == 401
