"""`godwit server` by itself: first start, who may come in, certificates, kubectl's verbs, restarts."""
import base64
import json
import os
import pathlib
import signal
import stat
import subprocess
import time

import pytest

from server import KUBECTL, VM, Server, Watch


@pytest.fixture
def make_server(tmp_path):
    made = []

    def make(name="server", *options) -> Server:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        made.append(Server(folder, *options))
        made[-1].start()
        return made[-1]

    yield make
    for server in made:
        if server.child.poll() is None:
            assert server.stop() == 0


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("server"))
    server.start()
    yield server
    assert server.stop() == 0


MADE_HERE = "/api/v1/namespaces/default/configmaps?fieldSelector=metadata.name!%3Dkube-root-ca.crt"  # which the server makes


def config_map(name, **data) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data})


def test_secrets_are_for_the_owner_alone(server):
    for name in ("ca.key", "migration-ca.key", "server.key", "service-account.key", "bootstrap-token", "admin.kubeconfig", "store.db"):
        assert stat.S_IMODE((server.dir / name).stat().st_mode) == 0o600, name
    assert stat.S_IMODE(server.dir.stat().st_mode) == 0o700


def test_health_is_for_everybody_and_nothing_else_is(server):
    for path in ("/livez", "/readyz", "/healthz", "/livez/ping", "/readyz/serving"):
        assert server.curl(path) == (200, "ok")
    assert server.curl("/livez?verbose") == (200, "[+]ping ok\nlivez check passed\n")
    assert server.curl("/readyz?verbose&exclude=serving") == (200, "[+]ping ok\n[+]serving excluded: ok\nreadyz check passed\n")
    assert server.curl("/livez/none")[0] == 404
    assert server.curl("/version")[0] == 200
    for path in ("/apis", "/openapi/v3"):
        code, body = server.curl(path)
        assert code == 403 and f'forbidden: User \\"system:anonymous\\" cannot get path \\"{path}\\"' in body
    code, body = server.curl("/api/v1/nodes")
    assert code == 403
    status = json.loads(body)
    assert status["reason"] == "Forbidden" and 'User "system:anonymous" cannot list resource "nodes"' in status["message"]


def test_unknown_tokens_are_unauthorized(server):
    code, body = server.curl("/api/v1/nodes", "-H", "Authorization: Bearer nobody-knows-this")
    assert code == 401
    assert json.loads(body) == {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                                "message": "Unauthorized", "reason": "Unauthorized", "code": 401}


def test_certificates_of_another_authority_are_unauthorized(server, make_server):
    other = make_server("other")
    assert server.curl("/api/v1/nodes", *server.credentials())[0] == 200
    assert server.curl("/api/v1/nodes", *other.credentials())[0] == 401
    assert server.curl("/readyz", ca=other.dir / "ca.crt")[0] == 0


def test_authorities_are_published(server):
    data = json.loads(server.kubectl("get", "--raw", "/api/v1/namespaces/kube-system/configmaps/godwit-ca"))["data"]
    assert data["cluster-ca.crt"] == (server.dir / "ca.crt").read_text()
    assert data["migration-ca.crt"] == (server.dir / "migration-ca.crt").read_text()


def test_large_and_broken_bodies_are_refused(server):
    admin = server.credentials()
    path = "/api/v1/namespaces/default/configmaps"
    big = server.home / "big.json"
    big.write_text(config_map("big", text="x" * (4 << 20)))
    code, body = server.curl(path, *admin, "-H", "Content-Type: application/json", "--data-binary", f"@{big}")
    assert code == 413 and json.loads(body)["reason"] == "RequestEntityTooLarge"
    code, body = server.curl(path, *admin, "-H", "Content-Type: application/json", "-d", "{broken")
    assert code == 400 and json.loads(body)["reason"] == "BadRequest"
    assert server.curl("/api/v1/nodes?labelSelector=%zz", *admin)[0] == 400


def join(server, node, token):
    """What an agent does to join: key, request, certificate."""
    key, csr = server.home / f"{node}.key", server.home / f"{node}.csr"
    subprocess.run(["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key,
                    "-out", csr, "-subj", f"/O=system:nodes/CN=system:node:{node}"], check=True, capture_output=True)
    request = {"apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest", "metadata": {"name": f"join-{node}"},
               "spec": {"request": base64.b64encode(csr.read_bytes()).decode(), "usages": ["client auth"],
                        "signerName": "kubernetes.io/kube-apiserver-client-kubelet"}}
    bearer = ("-H", f"Authorization: Bearer {token}")
    path = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
    code, body = server.curl(path, *bearer, "-H", "Content-Type: application/json", "-d", json.dumps(request))
    assert code == 201, body
    for _ in range(100):
        code, body = server.curl(f"{path}/join-{node}", *bearer)
        assert code == 200, body
        if certificate := json.loads(body).get("status", {}).get("certificate"):
            (server.home / f"{node}.crt").write_bytes(base64.b64decode(certificate))
            return "--cert", server.home / f"{node}.crt", "--key", key
        time.sleep(0.05)
    raise AssertionError(body)


def test_a_node_joins_with_the_bootstrap_token(server):
    agent = join(server, "node-x", (server.dir / "bootstrap-token").read_text().strip())
    node = json.dumps({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-x"}})
    code, body = server.curl("/api/v1/nodes", *agent, "-H", "Content-Type: application/json", "-d", node)
    assert code == 201, body
    assert server.curl("/api/v1/nodes/node-x", *agent)[0] == 200
    code, body = server.curl("/api/v1/nodes/node-y", *agent)
    assert code in (403, 404)
    assert server.curl("/api/v1/nodes", *agent)[0] == 403


def test_watches_resume_after_a_restart(make_server):
    server = make_server()
    server.kubectl("create", "--raw", "/api/v1/namespaces/default/configmaps", "-f", "-", text=config_map("one"))
    watch = Watch(server, f"{MADE_HERE}&watch=true&resourceVersion=0")
    event = watch.next()
    assert event["type"] == "ADDED" and event["object"]["metadata"]["name"] == "one"
    assert server.stop() == 0
    assert watch.next() is None  # ended in good order
    server.start()
    server.kubectl("create", "--raw", "/api/v1/namespaces/default/configmaps", "-f", "-", text=config_map("two"))
    again = Watch(server, f"{MADE_HERE}&watch=true&resourceVersion={event['object']['metadata']['resourceVersion']}")
    assert again.next()["object"]["metadata"]["name"] == "two"


def test_secrets_are_encrypted_on_disk(make_server, tmp_path):
    keys = tmp_path / "keys"
    keys.write_text(base64.b64encode(os.urandom(32)).decode() + "\n")
    keys.chmod(0o600)
    server = make_server()

    def make(name, marker):
        server.kubectl("create", "--raw", "/api/v1/namespaces/default/secrets", "-f", "-", text=json.dumps(
            {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": {"a": "b"}, "type": marker}))

    def on_disk(marker):
        return any(marker.encode() in file.read_bytes() for file in server.dir.glob("store.db*"))

    make("before", "marker-before")
    assert on_disk("marker-before")
    assert server.stop() == 0
    server.options = (f"--encryption-key-file={keys}",)
    server.start()
    watch = Watch(server, "/api/v1/namespaces/default/secrets?watch=true&resourceVersion=0")
    assert watch.next()["object"]["type"] == "marker-before"
    make("after", "marker-after")
    event = watch.next()
    assert event["object"]["type"] == "marker-after" and event["object"]["data"] == {"a": "Yg=="}
    assert server.kubectl("get", "secrets", "-o", "name").split() == ["secret/after", "secret/before"]
    assert server.stop() == 0
    assert not on_disk("marker-before") and not on_disk("marker-after")

    server.options = ()
    with pytest.raises(AssertionError, match="encryption-key-file.*are encrypted, and no key was given"):
        server.start()
    server.options = (f"--encryption-key-file={keys}",)
    server.start()
    assert server.kubectl("get", "secret", "before", "-o", "jsonpath={.type}") == "marker-before"


def test_nothing_acknowledged_is_lost_when_killed(make_server):
    server = make_server()
    token, kubeconfig = ((server.dir / name).read_text() for name in ("bootstrap-token", "admin.kubeconfig"))
    for number in range(10):
        server.kubectl("create", "--raw", "/api/v1/namespaces/default/configmaps", "-f", "-", text=config_map(f"c{number}"))
    server.stop(signal.SIGKILL)
    server.start()
    items = json.loads(server.kubectl("get", "--raw", MADE_HERE))["items"]
    assert [item["metadata"]["name"] for item in items] == [f"c{number}" for number in range(10)]
    assert (server.dir / "bootstrap-token").read_text() == token
    assert (server.dir / "admin.kubeconfig").read_text() == kubeconfig


def open_ends(server, clients: set[int]) -> set[int]:
    """Which of these client ports the server still holds the other end of. Its open files would be no measure: the store's
    readers, controllers and earlier tests' clients come and go among them."""
    held = set()
    for line in pathlib.Path(f"/proc/{server.child.pid}/net/tcp").read_text().splitlines()[1:]:
        local, remote, state = line.split()[1:4]
        if int(local.split(":")[1], 16) == server.port and state in ("01", "08"):  # ESTABLISHED, CLOSE_WAIT
            held.add(int(remote.split(":")[1], 16))
    return held & clients


@pytest.fixture
def small_disk(tmp_path):
    """A file system of a few MiB where the server called "small" keeps its data; fill() leaves no room on it."""
    data, ballast = tmp_path / "small/data", tmp_path / "small/data/ballast"
    data.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m,mode=0700", "tmpfs", data], check=True)

    def fill():
        with open(ballast, "wb", buffering=0) as file, pytest.raises(OSError, match="No space left"):
            while True:
                file.write(bytes(4096))

    yield fill, ballast.unlink
    subprocess.run(["umount", "-l", data], check=True)


def test_a_full_disk_refuses_writes_and_keeps_the_rest(small_disk, make_server):
    fill, make_room = small_disk
    server = make_server("small")
    admin, path = server.credentials(), "/api/v1/namespaces/default/configmaps"
    body = server.home / "body.json"

    def write(name):
        body.write_text(config_map(name, text="x" * 100_000))
        return server.curl(path, *admin, "-H", "Content-Type: application/json", "--data-binary", f"@{body}")

    def names():
        return {o["metadata"]["name"] for o in json.loads(server.curl(path, *admin)[1])["items"]}

    kept = {f"kept{i}" for i in range(3)}
    assert {write(name)[0] for name in kept} == {201}
    fill()
    for number in range(100):  # what the log has room for is still taken
        code, answer = write(f"late{number}")
        if code != 201:
            break
        kept.add(f"late{number}")
    assert code == 507, answer
    status = json.loads(answer)
    assert status["status"] == "Failure" and status["reason"] == "InsufficientStorage" and "full" in status["message"]
    assert "is full" in server.kubectl("create", "configmap", "by-kubectl", f"--from-file={body}", ok=False)
    assert kept <= names() and f"late{number}" not in names()
    make_room()
    assert write("after")[0] == 201
    server.stop(signal.SIGKILL)
    server.start()
    assert kept | {"after"} <= names() and f"late{number}" not in names()


def test_idle_watches_notice_that_their_client_left(server):
    watches = [Watch(server, "/api/v1/configmaps?watch=true") for _ in range(20)]
    clients = {watch.socket.getsockname()[1] for watch in watches}
    assert open_ends(server, clients) == clients
    for watch in watches:
        watch.file.close()
        watch.socket.close()
    end = time.monotonic() + 10
    while open_ends(server, clients):
        assert time.monotonic() < end
        time.sleep(0.02)


def test_writes_are_audited(make_server, tmp_path):
    log = tmp_path / "audit.log"
    server = make_server("audited", f"--audit-log={log}")
    server.kubectl("create", "secret", "generic", "hidden", "--from-literal=key=quite-secret")
    server.kubectl("get", "secrets")
    assert "already exists" in server.kubectl("create", "secret", "generic", "hidden", ok=False)
    server.kubectl("delete", "secret", "hidden", "--as=kubernetes-helper", "--as-group=system:masters")
    assert server.curl("/api/v1/namespaces/default/secrets", "-X", "POST", "-d", "{}")[0] == 403
    assert server.curl("/api/v1/namespaces/default/secrets", "-H", "Authorization: Bearer stolen")[0] == 401
    big = server.home / "big"
    big.write_text(" " * (4 << 20))
    assert server.curl("/api/v1/namespaces/default/secrets", *server.credentials(), "--data-binary", f"@{big}")[0] == 413
    text = log.read_text()
    assert "quite-secret" not in text and "stolen" not in text and "cXVpdGUtc2VjcmV0" not in text
    events = [json.loads(line) for line in text.splitlines()]
    ours = [e for e in events if e["objectRef"]["resource"] == "secrets"]
    assert [(e["verb"], e["responseStatus"]["code"], e["user"].get("username", "")) for e in ours] == [
        ("create", 201, "kubernetes-admin"), ("create", 409, "kubernetes-admin"), ("delete", 200, "kubernetes-admin"),
        ("create", 403, "system:anonymous"), ("list", 401, ""), ("create", 413, "kubernetes-admin")]
    assert ours[2]["impersonatedUser"]["username"] == "kubernetes-helper" and "impersonatedUser" not in ours[1]
    made = ours[0]
    assert made["apiVersion"] == "audit.k8s.io/v1" and made["kind"] == "Event" and made["level"] == "Metadata"
    assert made["objectRef"] == {"resource": "secrets", "namespace": "default", "name": "hidden", "apiVersion": "v1"}
    assert made["sourceIPs"] == ["127.0.0.1"] and made["userAgent"].startswith("kubectl") and "system:masters" in made["user"]["groups"]
    assert made["requestReceivedTimestamp"] <= made["stageTimestamp"] and len({e["auditID"] for e in events}) == len(events)
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


# --- kubectl's verbs ---


def test_kubectl_creates_shows_changes_and_deletes(server):
    kubectl = server.kubectl
    assert "created" in kubectl("create", "-f", "-", text=VM % "vm1")
    assert "AlreadyExists" in kubectl("create", "-f", "-", text=VM % "vm1", ok=False)
    assert kubectl("get", "vm").split()[:4] == ["NAME", "AGE", "STATUS", "READY"]
    assert "vm1" in kubectl("get", "vm", "-l", "app=demo", "-o", "name")
    assert "runStrategy: Halted" in kubectl("get", "vm", "vm1", "-o", "yaml")
    assert "Run Strategy:  Halted" in kubectl("describe", "vm", "vm1")
    kubectl("label", "vm", "vm1", "tier=web")
    kubectl("annotate", "vm", "vm1", "note=hello")
    kubectl("patch", "vm", "vm1", "--type=merge", "-p", '{"spec":{"runStrategy":"Manual"}}')
    kubectl("patch", "vm", "vm1", "--type=json", "-p", '[{"op":"replace","path":"/spec/runStrategy","value":"Halted"}]')
    vm = json.loads(kubectl("get", "vm", "vm1", "-o", "json"))
    assert vm["metadata"]["labels"] == {"app": "demo", "tier": "web"}
    assert vm["metadata"]["annotations"]["note"] == "hello"
    assert vm["spec"]["runStrategy"] == "Halted"
    kubectl("wait", "vm", "vm1", "--for=jsonpath={.spec.runStrategy}=Halted", "--timeout=10s")
    assert "deleted" in kubectl("delete", "vm", "vm1", "--timeout=20s", "--wait=false")


def test_kubectl_applies(server):
    assert "created" in server.kubectl("apply", "-f", "-", text=config_map("applied", a="1"))
    assert "unchanged" in server.kubectl("apply", "-f", "-", text=config_map("applied", a="1"))
    assert "configured" in server.kubectl("apply", "-f", "-", text=config_map("applied", a="2"))
    assert server.kubectl("get", "cm", "applied", "-o", "jsonpath={.data.a}") == "2"


def test_kubectl_edits(server):
    editor = server.home / "editor"
    editor.write_text("#!/bin/sh\nsed -i 's/a: .*/a: two/' \"$1\"\n")
    editor.chmod(0o755)
    server.kubectl("create", "configmap", "edited", "--from-literal=a=1")
    env = dict(os.environ, KUBECONFIG=str(server.dir / "admin.kubeconfig"), HOME=str(server.home), KUBE_EDITOR=str(editor))
    subprocess.run([KUBECTL, "edit", "configmap", "edited"], check=True, env=env, capture_output=True, timeout=60)
    assert server.kubectl("get", "cm", "edited", "-o", "jsonpath={.data.a}") == "two"


def test_kubectl_explains_and_lists_resources(server):
    assert "runStrategy" in server.kubectl("explain", "vm.spec")
    resources = server.kubectl("api-resources", "-o", "name").split()
    for name in ("virtualmachines.kubevirt.io", "virtualmachineinstancemigrations.kubevirt.io", "nodes", "pods",
                 "certificatesigningrequests.certificates.k8s.io"):
        assert name in resources
    assert "kubevirt.io/v1" in server.kubectl("api-versions").split()
    assert "Server Version" in server.kubectl("version")


def test_kubectl_makes_namespaces_by_protobuf_and_watches(server):
    env = dict(os.environ, KUBECONFIG=str(server.dir / "admin.kubeconfig"), HOME=str(server.home))
    watch = subprocess.Popen([KUBECTL, "get", "namespaces", "-w", "--no-headers"], stdout=subprocess.PIPE, text=True, env=env)
    try:
        assert watch.stdout.readline()
        server.kubectl("create", "namespace", "watched")
        while not watch.stdout.readline().startswith("watched"):
            assert watch.poll() is None
    finally:
        watch.kill()
        watch.wait()
    assert "watched" in server.kubectl("get", "ns", "watched")


def test_administrators_approve_certificates(server):
    key, csr = server.home / "other.key", server.home / "other.csr"
    agent = join(server, "node-p", (server.dir / "bootstrap-token").read_text().strip())
    subprocess.run(["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key,
                    "-out", csr, "-subj", "/O=system:nodes/CN=system:node:node-q"], check=True, capture_output=True)
    request = {"apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest", "metadata": {"name": "asked"},
               "spec": {"request": base64.b64encode(csr.read_bytes()).decode(), "usages": ["client auth"],
                        "signerName": "kubernetes.io/kube-apiserver-client-kubelet"}}
    path = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
    assert server.curl(path, *agent, "-H", "Content-Type: application/json", "-d", json.dumps(request))[0] == 201
    time.sleep(0.5)
    assert "Pending" in server.kubectl("get", "csr", "asked") or server.kubectl(
        "get", "csr", "asked", "-o", "jsonpath={.status.certificate}") == ""
    server.kubectl("certificate", "approve", "asked")
    server.kubectl("wait", "csr", "asked", "--for=jsonpath={.status.certificate}", "--timeout=10s")




def test_custom_resource_definitions_are_served(make_server):
    server = make_server()
    crd = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "birds.example.com"},
           "spec": {"group": "example.com", "scope": "Namespaced",
                    "names": {"plural": "birds", "singular": "bird", "kind": "Bird", "listKind": "BirdList"},
                    "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {
                        "type": "object", "properties": {"spec": {"type": "object", "properties": {"wings": {"type": "integer"}}}}}}}]}}
    server.kubectl("create", "-f", "-", text=json.dumps(crd))
    server.kubectl("wait", "crd", "birds.example.com", "--for=condition=Established", "--timeout=10s")
    bird = {"apiVersion": "example.com/v1", "kind": "Bird", "metadata": {"name": "godwit", "finalizers": ["example.com/hold"]},
            "spec": {"wings": 2}}
    server.kubectl("create", "-f", "-", text=json.dumps(bird))
    assert server.kubectl("get", "birds", "godwit", "-o", "jsonpath={.spec.wings}") == "2"
    # A definition waits for its objects, also over a restart.
    server.kubectl("delete", "crd", "birds.example.com", "--wait=false")
    assert server.stop() == 0
    server.start()
    server.kubectl("wait", "crd", "birds.example.com", "--for=condition=Terminating", "--timeout=10s")
    server.kubectl("patch", "birds", "godwit", "--type=merge", "-p", '{"metadata":{"finalizers":[]}}')
    server.kubectl("wait", "crd", "birds.example.com", "--for=delete", "--timeout=20s")
    time.sleep(0.5)
    assert server.curl("/apis/example.com/v1/namespaces/default/birds", *server.credentials())[0] == 404


def definition(plural, kind) -> str:
    return json.dumps({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": f"{plural}.example.com"},
        "spec": {"group": "example.com", "scope": "Namespaced", "names": {"plural": plural, "kind": kind},
                 "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {"type": "object"}}}]}})


def test_two_definitions_of_one_kind(make_server):
    """The second has to wait; that it goes is nothing to the objects of the first."""
    server = make_server()

    def waits(plural, condition):
        server.kubectl("wait", "crd", f"{plural}.example.com", f"--for=condition={condition}", "--timeout=20s")

    server.kubectl("create", "-f", "-", text=definition("fowls", "Bird"))
    waits("fowls", "Established")
    server.kubectl("create", "-f", "-", text=json.dumps({"apiVersion": "example.com/v1", "kind": "Bird", "metadata": {"name": "godwit"}}))
    for _ in range(2):
        server.kubectl("create", "-f", "-", text=definition("birds", "Bird"))  # which is listed before the other
        waits("birds", "NamesAccepted=False")
        assert server.stop() == 0
        server.start()
        waits("birds", "Established=False")
        assert "fowls.example.com" in server.kubectl("get", "crd", "birds.example.com", "-o", "jsonpath={.status.conditions[*].message}")
        server.kubectl("delete", "crd", "birds.example.com", "--timeout=20s")
        assert "godwit" in server.kubectl("get", "fowls")
    server.kubectl("create", "-f", "-", text=definition("birds", "Bird"))
    waits("birds", "NamesAccepted=False")
    server.kubectl("delete", "crd", "fowls.example.com", "--timeout=20s")
    waits("birds", "Established")


def test_others_can_check_tokens_of_service_accounts(server):
    token = server.kubectl("create", "token", "default").strip()
    bearer = ("-H", f"Authorization: Bearer {token}")
    code, body = server.curl("/.well-known/openid-configuration", *bearer)
    configuration = json.loads(body)
    assert code == 200 and configuration["id_token_signing_alg_values_supported"] == ["ES256"]
    claims, head = (json.loads(base64.urlsafe_b64decode(part + "==")) for part in token.split(".")[1::-1])
    assert configuration["issuer"] == claims["iss"]
    assert configuration["jwks_uri"] == f"https://127.0.0.1:{server.port}/openid/v1/jwks"
    code, body = server.curl("/openid/v1/jwks", *bearer)
    assert code == 200 and [(key["kid"], key["alg"]) for key in json.loads(body)["keys"]] == [(head["kid"], head["alg"])]
    for path in ("/.well-known/openid-configuration", "/openid/v1/jwks"):
        assert server.curl(path)[0] in (401, 403)
        assert server.curl(path, *bearer, "-X", "POST")[0] in (403, 405)
