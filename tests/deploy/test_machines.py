"""The installed services on machines booted with systemd: start, kill, hang, stop, reboot, upgrade. The
tokens of an answer are the same each time. Needs root, systemd-nspawn and debootstrap."""

import os
import shutil

import pytest

from client import Client
from cluster import BUILD, HYDAC, Base, until
from files import check, tool
from nspawn import Machine, Switch
from prompts import prompt
from root import debian, need_root, runtime_packages

PROMPT = prompt(40, 91)
ANSWER = 120
LEADER, WORKER = "hydac-leader.service", "hydac-worker.service"
WORKERS = ("w1", "w2", "w3")
LONG = 120.0  # seconds; four daemons and four systemds share this machine


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A Debian tree with hydac as meson installs it."""
    need_root()
    tool("systemd-nspawn", "systemd-container")
    base = debian("bookworm-systemd", ["systemd", "systemd-sysv", *runtime_packages()])
    folder = tmp_path_factory.mktemp("installed")
    check(["meson", "install", "-C", BUILD, "--no-rebuild", "--destdir", str(folder)])
    return f"{folder}:{base}"


def settings_folder():
    """Where the units look: as the build was configured."""
    with open(os.path.join(BUILD, "deploy", WORKER), encoding="utf-8") as f:
        return os.path.dirname(f.read().split("--config ")[1].split()[0])


def key():
    return check([HYDAC, "keygen"])


class Machines(Base):
    def __init__(self, tree, model):
        self.switch, self.machines, self.key = Switch(), {}, key()
        at, etc = self.switch.address(1), settings_folder()
        leader = f"model: {{path: /var/lib/hydac/model.gguf}}\ncluster: {{listen: '{at}:7400', "
        leader += f"min_workers: 3}}\nhttp: {{listen: '{at}:8080', open: true}}\n"
        worker = "model: {path: /var/lib/hydac/model.gguf}\n"
        worker += f"leader: {{address: '{at}:7400'}}\ncompute: {{threads: 1}}\n"
        try:
            self.add(1, "leader", tree, {f"{etc}/leader.yaml": leader}, LEADER, model)
            for i, name in enumerate(WORKERS):
                self.add(2 + i, name, tree, {f"{etc}/worker.yaml": worker}, WORKER, model)
            self.client = Client(f"http://{at}:8080")
            self.until_all()
        except BaseException:
            print(self.logs())
            self.close()
            raise

    def add(self, number, name, tree, files, unit, model):
        m = self.machines[name] = Machine(self.switch, number, name, tree, files, model)
        check(["systemctl", f"--root={m.root}", "enable", unit])
        self.give_key(name, self.key)
        m.boot()

    def give_key(self, name, text):
        self.machines[name].write(f"{settings_folder()}/cluster.key", text, 0o600)

    def until_all(self):
        """Every worker owns heads and the cluster serves."""

        def serving():
            try:
                self.until_serving(len(WORKERS))
                return True
            except OSError:  # the leader does not listen yet
                return False

        until(serving, "the cluster serves", LONG)

    def joins(self, name):
        return self.worker(name)["joins"]

    def until_back(self, name, joins):
        self.until_status(
            lambda s: (self.worker(name, s) or {}).get("joins", 0) > joins, f"{name} is back", LONG
        )
        self.until_all()

    def close(self):
        for m in self.machines.values():
            m.close()
        self.switch.close()

    def logs(self):
        return "\n".join(f"---- {m.name}\n{m.journal('hydac-*')}" for m in self.machines.values())


@pytest.fixture(scope="module")
def cluster(tree, slow_model):
    c = Machines(tree, slow_model)
    yield c
    c.close()


@pytest.fixture(scope="module")
def tokens(cluster):
    return cluster.client.complete(PROMPT, ANSWER).tokens


@pytest.fixture(autouse=True)
def show_logs(request, cluster):
    yield
    print(cluster.logs())  # pytest shows it only for a test that failed


def disturbed(cluster, tokens, disturb, losses=1):
    """An answer with `disturb` in the middle of it has the same tokens."""
    stream = cluster.client.stream(PROMPT, ANSWER)
    assert stream.read_tokens(20) < ANSWER
    disturb()
    answer = stream.finish()
    assert answer.tokens == tokens
    assert len(answer.failovers) == losses
    return answer


def owners(cluster):
    return {w["name"] for w in cluster.status()["workers"] if w["heads"]}


def processes(machine, unit):
    group = machine.show(unit, "ControlGroup")
    said = machine.run(
        "sh",
        "-c",
        f"cat /sys/fs/cgroup{group}/cgroup.procs "
        f"/sys/fs/cgroup/systemd{group}/cgroup.procs 2>/dev/null",
    )
    return said.stdout.split()


def test_started_by_booting(cluster, tokens):
    assert len(tokens) == ANSWER
    for name, m in cluster.machines.items():
        unit = LEADER if name == "leader" else WORKER
        assert m.show(unit, "ActiveState") == "active"
        assert m.show(unit, "NRestarts") == "0"
    leader = cluster.machines["leader"]
    assert leader.show(LEADER, "StatusText") == "serving requests"
    assert "works for" in cluster.machines["w1"].show(WORKER, "StatusText")
    assert [w["name"] for w in cluster.status()["workers"]] and set(
        w["name"] for w in cluster.status()["workers"]
    ) == set(WORKERS), "a worker's name is its machine's"


def test_confined(cluster):
    """Not root, no capabilities, a seccomp filter; the state is where systemd has put it."""
    m = cluster.machines["w1"]
    pid = m.show(WORKER, "MainPID")
    status = dict(
        line.split(":\t", 1) for line in m.check("cat", f"/proc/{pid}/status").splitlines()
    )
    assert "0" not in status["Uid"].split()
    assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0
    assert status["NoNewPrivs"].strip() == "1"
    assert status["Seccomp"].strip() == "2"
    assert m.run("test", "-d", "/var/lib/private/hydac-worker").returncode == 0


def test_the_key_is_shown_to_the_service_alone(cluster):
    for name, unit in (("leader", LEADER), ("w1", WORKER)):
        m = cluster.machines[name]
        user = m.check("stat", "--format=%u", f"/proc/{m.show(unit, 'MainPID')}")
        for who, reads in ((user, True), ("65534", False)):
            read = ("cat", f"/run/credentials/{unit}/cluster.key")
            said = m.run("setpriv", f"--reuid={who}", "--clear-groups", *read)
            assert (said.stdout == cluster.key) == reads, said.stderr


def test_main_process_is_the_worker(cluster):
    """... and not its keeper, which is in the service's group too."""
    m = cluster.machines["w1"]
    pid = m.show(WORKER, "MainPID")
    assert m.check("cat", f"/proc/{pid}/comm") == "hydac-worker"
    assert len(processes(m, WORKER)) == 2
    assert pid in processes(m, WORKER)


def test_kill(cluster, tokens):
    m, joins = cluster.machines["w2"], cluster.joins("w2")
    kill = ("systemctl", "kill", "--signal=KILL", "--kill-whom=main", WORKER)
    answer = disturbed(cluster, tokens, lambda: m.check(*kill))
    assert answer.failovers[0]["worker"] == "w2"
    assert answer.failovers[0]["cause"] == "closed"
    cluster.until_back("w2", joins)
    assert m.show(WORKER, "NRestarts") == "1"
    assert len(processes(m, WORKER)) == 2, "nothing of the killed one is left"


def test_kill_of_all_its_processes(cluster, tokens):
    m, joins = cluster.machines["w3"], cluster.joins("w3")
    # Its status is of no use: the keeper may have ended before its own signal came.
    disturbed(cluster, tokens, lambda: m.run("systemctl", "kill", "--signal=KILL", WORKER))
    cluster.until_back("w3", joins)
    assert len(processes(m, WORKER)) == 2


def test_hang(cluster, tokens):
    """A stopped worker is silence for the leader; systemd's watchdog makes a new one of it."""
    m, joins = cluster.machines["w1"], cluster.joins("w1")
    restarts = int(m.show(WORKER, "NRestarts"))
    stop = ("systemctl", "kill", "--signal=STOP", "--kill-whom=main", WORKER)
    answer = disturbed(cluster, tokens, lambda: m.check(*stop))
    assert answer.failovers[0]["cause"] == "silent"
    cluster.until_back("w1", joins)
    assert int(m.show(WORKER, "NRestarts")) == restarts + 1
    assert "Watchdog timeout" in m.journal(WORKER)


def test_stop(cluster, tokens):
    """Others take over what the worker has, beside the answer: no failover at all."""
    m, joins = cluster.machines["w1"], cluster.joins("w1")
    assert cluster.worker("w1")["heads"]
    disturbed(cluster, tokens, lambda: m.check("systemctl", "stop", WORKER), losses=0)
    assert m.show(WORKER, "ActiveState") == "inactive"
    assert m.show(WORKER, "Result") == "success"
    assert processes(m, WORKER) == []
    m.check("systemctl", "start", WORKER)
    cluster.until_back("w1", joins)


def test_reboot(cluster, tokens):
    """An orderly end of the service, too: nothing is lost."""
    m, joins = cluster.machines["w2"], cluster.joins("w2")
    disturbed(cluster, tokens, lambda: m.check("systemctl", "reboot"), losses=0)
    m.until_rebooted()
    cluster.until_back("w2", joins)
    assert m.show(WORKER, "NRestarts") == "0", "a fresh systemd started it"


def test_upgrade(cluster, tokens):
    """Another binary takes the place of the running one, then the service is restarted."""
    m, joins = cluster.machines["w3"], cluster.joins("w3")
    program = m.show(WORKER, "ExecStart").split("path=")[1].split()[0]
    before = m.show(WORKER, "MainPID")
    with open(m.path(program + ".new"), "wb") as new, open(m.path(program), "rb") as old:
        shutil.copyfileobj(old, new)
        new.write(b"another release")  # behind the end of what the loader reads
    os.chmod(m.path(program + ".new"), 0o755)

    def upgrade():
        m.check("mv", program + ".new", program)
        m.check("systemctl", "restart", WORKER)

    disturbed(cluster, tokens, upgrade, losses=0)
    cluster.until_back("w3", joins)
    pid = m.show(WORKER, "MainPID")
    assert pid != before
    running = m.check("stat", "--dereference", "--format=%i", f"/proc/{pid}/exe")
    assert running == m.check("stat", "--format=%i", program)
    assert m.show(WORKER, "Result") == "success"


def test_bad_settings_are_not_tried_again(cluster):
    m, etc = cluster.machines["w3"], settings_folder()
    good = m.check("cat", f"{etc}/worker.yaml")
    m.write(f"{etc}/worker.yaml", good + "\nspeed: {limit: none}\n")
    m.run("systemctl", "restart", WORKER)
    until(lambda: m.show(WORKER, "ActiveState") == "failed", "the service has failed")
    assert m.show(WORKER, "ExecMainStatus") == "2"
    assert "worker.yaml:" in m.journal(WORKER), "the journal says where"
    joins = cluster.joins("w3")
    m.write(f"{etc}/worker.yaml", good + "\n")
    m.check("systemctl", "restart", WORKER)
    cluster.until_back("w3", joins)


def test_another_key_is_refused(cluster, tokens):
    m, joins = cluster.machines["w3"], cluster.joins("w3")
    cluster.give_key("w3", key())
    m.check("systemctl", "restart", WORKER)
    until(lambda: "another cluster key" in m.journal(WORKER), "the journal says so")
    until(lambda: "w3" not in owners(cluster), "it owns nothing")
    assert cluster.client.complete(PROMPT, ANSWER).tokens == tokens, "the others serve"
    assert cluster.joins("w3") == joins
    assert m.show(WORKER, "ActiveState") == "active", "it tries again, ever more slowly"
    cluster.give_key("w3", cluster.key)
    m.check("systemctl", "restart", WORKER)
    cluster.until_back("w3", joins)


def test_without_a_key_nothing_starts(cluster):
    m, joins, path = cluster.machines["w3"], cluster.joins("w3"), f"{settings_folder()}/cluster.key"
    m.check("systemctl", "stop", WORKER)
    os.remove(m.path(path))
    said = m.run("systemctl", "start", WORKER)
    assert said.returncode != 0
    assert f"AssertPathExists={path} was not met" in m.run("systemctl", "status", WORKER).stdout
    cluster.give_key("w3", cluster.key)
    m.check("systemctl", "start", WORKER)
    cluster.until_back("w3", joins)


def test_restart_of_the_leader(cluster, tokens):
    """Workers find the new one by themselves."""
    m = cluster.machines["leader"]
    m.check("systemctl", "restart", LEADER)
    cluster.until_all()
    assert cluster.client.complete(PROMPT, ANSWER).tokens == tokens
