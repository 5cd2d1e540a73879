"""Two machines with leaders and two with workers, booted with systemd as deploy/README.md has it: the service of
the leader that serves is killed in the middle of an answer; whoever resumes at the other one has the same tokens,
and the one that systemd has started again stands by. Needs what test_machines.py needs."""

import pytest

from client import Client
from cluster import until
from leaders import Stream
from nspawn import Switch
from prompts import prompt
from test_machines import LEADER, LONG, WORKER, Machines, key, settings_folder, tree  # noqa: F401 (a fixture)

BODY = {"prompt": prompt(40, 91), "max_tokens": 120, "stream": True, "ignore_eos": True, "temperature": 0}


class TwoLeaders(Machines):
    """leader1 and leader2 by their addresses 1 and 2."""

    def __init__(self):
        self.switch, self.machines, self.key = Switch(), {}, key()

    def boot(self, tree, model):  # noqa: F811
        etc, at = settings_folder(), [self.switch.address(n) for n in (1, 2)]
        both = ",".join(f"{a}:7400" for a in at)
        worker = f"model: {{path: /var/lib/hydac/model.gguf}}\nleader: {{address: '{both}'}}\ncompute: {{threads: 1}}\n"
        for i, a in enumerate(at):
            leader = f"model: {{path: /var/lib/hydac/model.gguf}}\ncluster: {{listen: '{a}:7400', leaders: '{both}'}}\n"
            leader += f"http: {{listen: '{a}:8080', open: true, public_url: 'http://{a}:8080'}}\nstate: {{journal: true}}\n"
            self.add(1 + i, f"leader{1 + i}", tree, {f"{etc}/leader.yaml": leader}, LEADER, model)
        for i in (3, 4):
            self.add(i, f"w{i}", tree, {f"{etc}/worker.yaml": worker}, WORKER, model)
        self.clients = {f"leader{1 + i}": Client(f"http://{a}:8080") for i, a in enumerate(at)}

    def serves(self, name):
        try:
            return self.clients[name].request("GET", "/health")[0] == 200
        except OSError:
            return False

    def until_settled(self):
        """One serves with both workers, and the other one follows it; (who serves, the other)."""

        def settled():
            for name, other in (("leader1", "leader2"), ("leader2", "leader1")):
                if self.serves(name):
                    s = self.clients[name].get("/hydac/status")
                    owners = [w for w in s["workers"] if w["heads"]]
                    if len(owners) == 2 and s["records"]["followers"] == 1:
                        return name, other
            return None

        return until(settled, "one serves and is followed", LONG)


@pytest.fixture
def cluster(tree, slow_model):  # noqa: F811
    c = TwoLeaders()
    try:
        c.boot(tree, slow_model)
        yield c
    finally:
        print(c.logs())
        c.close()


def test_a_leader_dies_in_the_middle(cluster):
    name, other = cluster.until_settled()
    expected = Stream(cluster.clients[name].url, "/v1/completions", BODY).read().events

    def disturbed(name, other, request, kill):
        first = Stream(cluster.clients[name].url, "/v1/completions", BODY, X_Request_Id=request).read(20)
        kill()
        first.connection.close()
        assert not first.whole and first.last
        until(lambda: cluster.serves(other), f"{other} serves", LONG)
        headers = {"X_Request_Id": request, "Last_Event_ID": first.last}
        rest = Stream(cluster.clients[other].url, "/v1/completions", BODY, **headers).going_on(first).read()
        assert rest.whole and rest.events == expected

    machine = cluster.machines[name]
    disturbed(name, other, "of-a-service", lambda: machine.check("systemctl", "kill", "--kill-whom=main", "--signal=KILL", LEADER))
    cluster.until_settled()  # systemd has started the other one again, which follows
