"""HTTP with a key, HTTPS, and what the command line makes of them."""

import http.client
import json
import os
import secrets
import ssl
import subprocess

import pytest

import cluster
from client import HEADERS, body_of
from cluster import HYDAC, LEADER
from prompts import prompt

PROMPT = prompt(20, 71)


@pytest.fixture(scope="module")
def key_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("keys") / "api.key"
    path.write_text(secrets.token_hex(24) + "\n")
    os.chmod(path, 0o600)
    return path


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """(certificate, key) for 127.0.0.1, self-signed."""
    folder = tmp_path_factory.mktemp("certificate")
    cert, key = str(folder / "cert.pem"), str(folder / "key.pem")
    args = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    args += ["-nodes", "-days", "1", "-subj", "/CN=hydac", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*args, "-keyout", key, "-out", cert], check=True, capture_output=True)
    os.chmod(key, 0o600)
    return cert, key


def hydac(*args, **environment):
    return subprocess.run(
        [HYDAC, *args],
        capture_output=True,
        text=True,
        timeout=cluster.LIMIT,
        env={**os.environ, **environment},
        check=False,
    )


def test_key(daemons, key_file):
    c = daemons(leader_args=["--api-key-file", str(key_file)])
    key = key_file.read_text().strip()
    good = {**HEADERS, "Authorization": f"Bearer {key}"}
    c.start("w1")
    cluster.until(lambda: c.client.request("GET", "/health")[0] == 200, "the cluster serves")
    ask = ("POST", "/v1/completions", body_of(PROMPT, 8))
    for headers in (HEADERS, {**HEADERS, "Authorization": f"Bearer {key[:-1]}"}):
        status, _, body = c.client.request(*ask, headers)
        assert status == 401
        assert json.loads(body)["error"]["code"] == "invalid_api_key"
        assert key not in body.decode()
    assert c.client.request("GET", "/hydac/status")[0] == 401
    for headers in (good, {**HEADERS, "X-Api-Key": key}):
        status, _, body = c.client.request(*ask, headers)
        assert (status, len(json.loads(body)["hydac"]["tokens"])) == (200, 8)
    assert key not in c.leader.output()


def test_a_key_file_from_another_system(daemons, key_file, tmp_path):
    copy = tmp_path / "copy.key"
    copy.write_bytes(b"\xef\xbb\xbf" + key_file.read_bytes().replace(b"\n", b"\r\n"))
    os.chmod(copy, 0o600)
    c = daemons(leader_args=["--api-key-file", str(copy)])
    for file in (copy, key_file):
        said = hydac("status", "--leader", c.client.url, "--api-key-file", str(file))
        assert said.returncode == 0, said.stderr


def test_command_line(daemons, key_file, tmp_path):
    c = daemons(leader_args=["--api-key-file", str(key_file)])
    c.start("w1")
    cluster.until(lambda: c.client.request("GET", "/health")[0] == 200, "the cluster serves")
    leader = ["--leader", c.client.url]
    run = ["run", *leader, "--prompt-tokens", "1,2,3", "--max-tokens", "4", "--json"]
    drain = ["drain", *leader, "--no-wait", "w1"]
    for command in (run, ["status", *leader], drain, ["rebalance", *leader]):
        said = hydac(*command)
        assert said.returncode == 1 and "API key" in said.stderr
        said = hydac(*command, "--api-key-file", str(key_file))
        assert said.returncode == 0, said.stderr
        said = hydac(*command, HYDAC_API_KEY=key_file.read_text().strip())
        assert said.returncode == 0, said.stderr
        said = hydac(*command, HYDAC_API_KEY="short")
        assert said.returncode == 1 and "$HYDAC_API_KEY: the API key has 5 bytes" in said.stderr
        said = hydac(*command, "--api-key-file", str(tmp_path / "none"))
        assert said.returncode == 1 and "cannot read" in said.stderr


def test_admin_key(daemons, key_file, tmp_path):
    """What changes the cluster needs a key of its own, and the command line gives it."""
    admin = tmp_path / "admin.key"
    admin.write_text(secrets.token_hex(24))
    os.chmod(admin, 0o600)
    args = ["--api-key-file", str(key_file), "--admin-key-file", str(admin)]
    c = daemons(leader_args=[*args, "--cluster.min_workers=2"])
    c.start("w1")
    c.start("w2")
    cluster.until(lambda: c.client.request("GET", "/health")[0] == 200, "the cluster serves")
    drain = ["drain", "--leader", c.client.url, "w1"]
    for command in (drain, ["rebalance", "--leader", c.client.url]):
        said = hydac(*command, "--api-key-file", str(key_file))
        assert said.returncode == 1 and "--admin-key-file FILE" in said.stderr
        said = hydac(*command, "--admin-key-file", str(admin))
        assert said.returncode == 0, said.stderr
        said = hydac(*command, HYDAC_ADMIN_KEY=admin.read_text())
        assert said.returncode == 0, said.stderr
    assert "owns nothing" in hydac(*drain, "--admin-key-file", str(admin)).stdout
    for key in (key_file, admin):
        assert key.read_text().strip() not in c.leader.output()


def test_https(daemons, certificate, key_file):
    cert, key = certificate
    args = [f"--http.cert={cert}", f"--http.cert_key={key}", "--api-key-file", str(key_file)]
    c = daemons(leader_args=args)
    port = c.ports["http"]
    c.start("w1")
    context = ssl.create_default_context(cafile=cert)
    headers = {**HEADERS, "Authorization": f"Bearer {key_file.read_text().strip()}"}

    def ask(method, path, body=None):
        connection = http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=60)
        connection.request(method, path, json.dumps(body) if body else None, headers)
        response = connection.getresponse()
        data = response.read()
        connection.close()
        return response.status, data

    cluster.until(lambda: ask("GET", "/health")[0] == 200, "the cluster serves")
    status, whole = ask("POST", "/v1/completions", body_of(PROMPT, 40))
    assert status == 200
    status, events = ask("POST", "/v1/completions", body_of(PROMPT, 40, stream=True))
    tokens = []
    for line in events.split(b"\n"):
        if line.startswith(b"data: {"):
            tokens += json.loads(line[6:]).get("hydac", {}).get("tokens", [])
    assert tokens == json.loads(whole)["hydac"]["tokens"] and len(tokens) == 40
    said = hydac(
        "status",
        "--leader",
        f"https://127.0.0.1:{port}",
        "--api-key-file",
        str(key_file),
        CURL_CA_BUNDLE=cert,
    )
    assert said.returncode == 0, said.stderr
    with pytest.raises((http.client.HTTPException, OSError)):
        c.client.request("GET", "/health")  # plain HTTP at the HTTPS port


def leader(model, tmp_path, *args):
    args = [LEADER, "--model", model, "--state", str(tmp_path), "--listen", "127.0.0.1:0", *args]
    return subprocess.run(args, capture_output=True, text=True, timeout=60, check=False)


def test_what_is_refused(model, tmp_path, certificate, key_file):
    cert, key = certificate
    for at in ("0.0.0.0:0", "[::]:0"):
        said = leader(model, tmp_path, "--http", at)
        assert said.returncode == 2
        assert "--api-key-file FILE" in said.stderr and "http.open: true" in said.stderr
    local = ["--http", "127.0.0.1:0"]
    loose = tmp_path / "loose"
    loose.write_text(key_file.read_text())
    os.chmod(loose, 0o644)
    for args, why in (
        (["--api-key-file", str(loose)], "chmod 600"),
        (["--api-key-file", str(tmp_path / "none")], "cannot read"),
        ([f"--http.cert={cert}", f"--http.cert_key={cert}"], "chmod 600"),
        ([f"--http.cert={key}", f"--http.cert_key={key}"], "HTTPS does not start"),
        ([f"--http.cert={key_file}", f"--http.cert_key={key}"], "HTTPS does not start"),
        ([f"--http.cert={tmp_path}/none", f"--http.cert_key={key}"], "cannot read"),
    ):
        said = leader(model, tmp_path, *local, *args)
        assert said.returncode == 1, args
        assert why in said.stderr, said.stderr


def test_open_by_choice(daemons):
    c = daemons(leader_args=["--http.listen", "0.0.0.0:0", "--http.open", "true"])
    c.start("w1")
    c.until_serving(1)
    assert c.client.complete(PROMPT, 4).tokens


def test_keygen(tmp_path):
    """A key that the daemons take, whatever the umask; another one each time."""
    keys = set()
    for name in ("a", "b"):
        path = cluster.keygen(tmp_path / name)
        assert path.stat().st_mode & 0o777 == 0o600
        keys.add(path.read_text())
    assert len(keys) == 2
    assert all(k.startswith("hydac-cluster-key-1\n") and len(k) == 85 for k in keys)
    said = hydac("keygen", "file")
    assert said.returncode == 2 and "unexpected argument" in said.stderr
    with open("/dev/full", "wb") as full:
        said = subprocess.run([HYDAC, "keygen"], stdout=full, stderr=subprocess.PIPE, check=False)
    assert said.returncode == 1 and b"cannot write the key" in said.stderr
