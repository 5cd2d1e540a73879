"""deploy/docker: a cluster of containers loses workers in every way that docker knows, in the
middle of an answer; the tokens are the same each time, and who comes back gets its heads back.

Needs docker and either docker-compose or `docker compose`. Without the image debian:bookworm-slim
one is made with debootstrap. The programs are those of the build under test, put on top of the
Dockerfile's own runtime stage; the last test builds the whole Dockerfile."""

import json
import os
import shutil
import subprocess

import pytest

from client import Client
from cluster import HYDAC, LEADER, WORKER, Base, until
from files import TOP, path_of, run
from image import BASE, make_base, need_docker, remove_base
from leaders import Stream
from ports import free_port
from prompts import prompt

PROMPT = prompt(40, 91)
ANSWER = 120
LONG = 120.0  # seconds
BUILD_LIMIT = 1800


def docker(*args, **more):
    said = run(["docker", *args], **more)
    assert said.returncode == 0, f"docker {' '.join(args)}: {said.stdout}{said.stderr}"
    return said.stdout.strip()


def compose_command():
    for command in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(command[0]) and run([*command, "version"]).returncode == 0:
            return command
    pytest.skip("neither `docker compose` nor docker-compose is there")


@pytest.fixture(scope="module")
def base():
    """The base image, made here, and for these tests only, when no registry has given it."""
    need_docker()
    made = make_base()
    yield BASE
    if made:
        remove_base()


def build(tag, folder, *args):
    """docker build; where the bridge leads to no network, on the host's."""
    env = {**os.environ, "DOCKER_BUILDKIT": "0"}  # works without the plugin buildx
    for network in ("default", "host"):
        said = subprocess.run(
            ["docker", "build", f"--network={network}", "-t", tag, *args, folder],
            capture_output=True,
            text=True,
            timeout=BUILD_LIMIT,
            env=env,
            check=False,
        )
        if said.returncode == 0:
            return tag
    raise AssertionError(f"{tag}: {said.stdout[-4000:]}{said.stderr[-2000:]}")


def dockerfile():
    return ["-f", path_of("docker", "Dockerfile")]


@pytest.fixture(scope="module")
def image(base, tmp_path_factory):
    """The Dockerfile's runtime stage with the programs of this build."""
    tag = f"hydac-test-{os.getpid()}"
    build(f"{tag}-runtime", TOP, *dockerfile(), "--target=runtime")
    folder = tmp_path_factory.mktemp("image")
    for program in (HYDAC, LEADER, WORKER):
        shutil.copy(program, folder)
    (folder / "Dockerfile").write_text(
        f"FROM {tag}-runtime\nCOPY hydac hydac-leader hydac-worker /usr/bin/\n"
    )
    yield build(tag, str(folder))
    run(["docker", "rmi", "--force", tag, f"{tag}-runtime"])


class Composed(Base):
    """The cluster of compose.yaml, with another image and ports of its own."""

    files, services, label = ("compose.yaml",), ("key", "leader", "worker"), ""

    def __init__(self, image, model, folder):
        self.project, port = f"hydactest{self.label}{os.getpid()}", free_port()
        other = folder / "image.yaml"
        services = {name: {"image": image} for name in self.services}
        other.write_text(json.dumps({"services": services}))
        files = [w for f in self.files for w in ("-f", path_of("docker", f))] + ["-f", str(other)]
        self.command = [*compose_command(), *files, "-p", self.project]
        self.env = {**os.environ, "HYDAC_MODEL": model, "HYDAC_HTTP": f"127.0.0.1:{port}"}
        self.env.update(HYDAC_THREADS="1", HYDAC_MIN_WORKERS="3")
        self.client = Client(f"http://127.0.0.1:{port}")

    def compose(self, *args):
        said = run([*self.command, *args], env=self.env)
        assert said.returncode == 0, said.stdout + said.stderr
        return said.stdout.strip()

    def up(self, workers=3):
        self.compose("up", "--detach", "--no-build", "--scale", f"worker={workers}")

    def ids(self, service):
        return self.compose("ps", "--quiet", service).split()

    def name_of(self, container):
        """A worker's name is its container's host name."""
        return docker("inspect", "--format", "{{.Config.Hostname}}", container)

    def network(self):
        return f"{self.project}_default"

    def until_all(self, workers=3):
        def serving():
            try:
                self.until_serving(workers)
                return True
            except OSError:  # the leader does not listen yet
                return False

        until(serving, "the cluster serves", LONG)

    def until_back(self, name, joins):
        """It has joined again, and after the answers that ran it has heads again."""
        self.until_status(
            lambda s: (self.worker(name, s) or {}).get("joins", 0) > joins, f"{name} is back", LONG
        )
        self.until_status(lambda s: self.worker(name, s)["heads"], f"{name} owns heads", LONG)
        self.until_all()

    def logs(self):
        return run([*self.command, "logs", "--tail=60"], env=self.env).stdout

    def down(self):
        run([*self.command, "down", "--volumes", "--timeout", "15"], env=self.env)


@pytest.fixture(scope="module")
def cluster(image, slow_model, tmp_path_factory):
    c = Composed(image, slow_model, tmp_path_factory.mktemp("compose"))
    try:
        c.up()
        c.until_all()
        yield c
    finally:
        print(c.logs())
        c.down()


@pytest.fixture(scope="module")
def tokens(cluster):
    return cluster.client.complete(PROMPT, ANSWER).tokens


def disturbed(cluster, tokens, disturb, *causes):
    """An answer with `disturb` in the middle of it: the same tokens, losses for these causes."""
    stream = cluster.client.stream(PROMPT, ANSWER)
    assert stream.read_tokens(20) < ANSWER
    disturb()
    answer = stream.finish()
    assert answer.tokens == tokens
    assert [f["cause"] for f in answer.failovers] == list(causes)
    assert not any(f["rows_replayed"] for f in answer.failovers)
    return answer


def victim(cluster, nth):
    """A worker's container, its name, and how often it has joined."""
    container = cluster.ids("worker")[nth]
    name = cluster.name_of(container)
    return container, name, cluster.worker(name)["joins"]


def test_containers_are_confined(cluster, tokens):
    assert len(tokens) == ANSWER
    for container in cluster.ids("leader") + cluster.ids("worker"):
        assert docker("exec", container, "id", "-u") == "10001"
        assert run(["docker", "exec", container, "touch", "/etc/x"]).returncode != 0
        assert docker("exec", container, "sh", "-c", "grep CapEff /proc/1/status").endswith(
            "0000000000000000"
        )


def test_names_are_the_containers(cluster):
    names = {w["name"] for w in cluster.status()["workers"]}
    assert names == {cluster.name_of(c) for c in cluster.ids("worker")}


def health(container):
    return json.loads(docker("inspect", "--format", "{{json .State.Health}}", container))


def test_health(cluster):
    for container in cluster.ids("leader") + cluster.ids("worker"):
        until(lambda c=container: health(c)["Status"] == "healthy", "a container is healthy", LONG)


def test_kill(cluster, tokens):
    container, name, joins = victim(cluster, 0)
    disturbed(cluster, tokens, lambda: docker("kill", container), "closed")
    docker("start", container)
    cluster.until_back(name, joins)


def test_crash(cluster, tokens):
    """Nobody asked for it: docker starts it again by itself."""
    container, name, joins = victim(cluster, 1)
    pid = docker("inspect", "--format", "{{.State.Pid}}", container)
    disturbed(cluster, tokens, lambda: os.kill(int(pid), 9), "closed")
    cluster.until_back(name, joins)
    assert docker("inspect", "--format", "{{.RestartCount}}", container) == "1"


def test_stop(cluster, tokens):
    """Others take over what it has, beside the answer, in the time that docker gives: no failover."""
    container, name, joins = victim(cluster, 2)
    assert cluster.worker(name)["heads"]
    disturbed(cluster, tokens, lambda: docker("stop", container))
    assert docker("inspect", "--format", "{{.State.ExitCode}}", container) == "0"
    docker("start", container)
    cluster.until_back(name, joins)


def test_pause(cluster, tokens):
    container, name, joins = victim(cluster, 0)
    disturbed(cluster, tokens, lambda: docker("pause", container), "silent")
    docker("unpause", container)
    cluster.until_back(name, joins)


def test_network_is_pulled(cluster, tokens):
    """Silence: no FIN, no RST ever comes."""
    container, name, joins = victim(cluster, 1)
    pull = ("network", "disconnect", cluster.network(), container)
    disturbed(cluster, tokens, lambda: docker(*pull), "silent")
    until(lambda: health(container)["Status"] == "unhealthy", "it is unhealthy", LONG)
    docker("network", "connect", cluster.network(), container)
    cluster.until_back(name, joins)
    until(lambda: health(container)["Status"] == "healthy", "it is healthy again", LONG)


def test_key(cluster):
    """One file, of the daemons' user alone, and the same after another `up`."""
    read = ("sh", "-c", "stat --format='%u %a %n' /etc/hydac/* && cat /etc/hydac/cluster.key")
    (leader,) = cluster.ids("leader")
    said = docker("exec", leader, *read)
    mode, text = said.split("\n", 1)
    assert mode == "10001 600 /etc/hydac/cluster.key"
    assert text.startswith("hydac-cluster-key-1\n")
    assert run(["docker", "exec", leader, "touch", "/etc/hydac/x"]).returncode != 0, "read-only"
    cluster.up()
    assert {docker("exec", c, *read) for c in cluster.ids("worker")} == {said}


def test_a_stranger_is_refused(cluster, image, slow_model):
    """A worker in the cluster's network with a key of its own."""
    command = "hydac keygen >/tmp/key && exec hydac-worker --model=/model --key=/tmp/key "
    command += "--leader=leader:7400 --name=stranger --state=/tmp"
    options = ["--detach", "--network", cluster.network(), "--volume", f"{slow_model}:/model:ro"]
    container = docker("run", *options, image, "sh", "-c", command)
    try:

        def refused():
            said = run(["docker", "logs", container])
            return "another cluster key" in said.stdout + said.stderr

        until(refused, "its log says so", LONG)
        assert not cluster.worker("stranger")
    finally:
        docker("rm", "--force", "--volumes", container)


def test_scale(cluster, tokens):
    cluster.up(workers=4)
    cluster.until_status(
        lambda s: len([w for w in s["workers"] if w["state"] == "online"]) == 4, "four are online"
    )
    assert cluster.client.complete(PROMPT, ANSWER).tokens == tokens


class TwoLeaders(Composed):
    """With compose.leaders.yaml, asked through its proxy."""

    files, services, label = ("compose.yaml", "compose.leaders.yaml"), ("key", "leader", "leader2", "worker"), "two"

    def __init__(self, image, model, folder, haproxy):
        super().__init__(image, model, folder)
        port = free_port()
        self.env.update(HYDAC_HAPROXY=haproxy, HYDAC_PROXY=f"127.0.0.1:{port}")
        self.client = Client(f"http://127.0.0.1:{port}")


@pytest.fixture
def two_leaders(base, image, slow_model, tmp_path):
    tag = f"hydac-test-haproxy-{os.getpid()}"
    (tmp_path / "Dockerfile").write_text(
        f"FROM {base}\nRUN apt-get update && apt-get install -y --no-install-recommends haproxy\n"
    )
    build(tag, str(tmp_path))
    c = TwoLeaders(image, slow_model, tmp_path, tag)
    try:
        c.up()
        yield c
    finally:
        print(c.logs())
        c.down()
        run(["docker", "rmi", "--force", tag])


def test_the_leader_is_killed(two_leaders):
    """The answer goes on through the proxy, from the other leader: the same text."""
    c = two_leaders
    c.until_all()
    followed = lambda: c.client.get("/hydac/status")["records"]["followers"] == 1  # noqa: E731
    until(followed, "the standby follows", LONG)
    body = {"prompt": PROMPT, "max_tokens": ANSWER, "stream": True, "ignore_eos": True, "temperature": 0}
    expected = Stream(c.client.url, "/v1/completions", body).read().events
    first = Stream(c.client.url, "/v1/completions", body, X_Request_Id="mine").read(20)
    (leader,) = c.ids("leader")
    docker("kill", leader)
    first.read()
    assert not first.whole and first.last
    c.until_all()
    rest = Stream(c.client.url, "/v1/completions", body, X_Request_Id="mine", Last_Event_ID=first.last)
    assert rest.going_on(first).read().whole
    assert rest.events == expected


def test_whole_dockerfile(base):
    """Every stage, from the source."""
    tag = f"hydac-test-whole-{os.getpid()}"
    try:
        build(tag, TOP, *dockerfile())
        assert docker("run", "--rm", "--read-only", tag, "hydac", "--version").startswith("hydac ")
        for program in ("hydac-leader", "hydac-worker"):
            assert program in docker("run", "--rm", "--read-only", tag, program, "--version")
        config = json.loads(docker("image", "inspect", tag))[0]
        assert config["Config"]["User"] == "10001:10001"
        assert config["Config"]["Healthcheck"]["Test"]
        layers = run(["docker", "run", "--rm", tag, "sh", "-c", "ls /src /build; command -v gcc"])
        assert not layers.stdout.strip(), "what built it is in it"
        added = config["Size"] - json.loads(docker("image", "inspect", base))[0]["Size"]
        assert added < 120e6
    finally:
        run(["docker", "rmi", "--force", tag])
