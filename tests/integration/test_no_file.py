"""Workers that have no model file: the leader says which model there is and sends the weights.
The tokens are those of workers with the file, whatever is killed, damaged or started again."""

import os
import re
import shutil
import signal

import pytest

import wire
from cluster import Daemons, until
from middle import Middle
from prompts import prompt
from wire import Peer, frame

PROMPT = prompt(50, 41)
ANSWER = 400
PIECE = re.compile(r" weights fetched=(\d+) fetched_bytes=(\d+) kept=(\d+)")

COMPLETE = re.compile(r" weights_complete fetched=(\d+) fetched_bytes=\d+ kept=(\d+)")


class NoFile(Daemons):
    """Daemons whose workers are not given the model."""

    def start(self, name, *more, **options):
        return super().start(name, "--model.path", "", *more, **options)

    def loaded(self, name):
        """Pieces that the running worker fetched, and that it had kept, for what it owns."""
        lines = PIECE.findall(self.workers[name].output())
        return sum(int(f) for f, _, _ in lines), sum(int(k) for _, _, k in lines)

    def folder_of(self, name):
        """Where the worker keeps this model's weights."""
        top = os.path.join(self.folder, name, "weights")
        return os.path.join(top, os.listdir(top)[0])

    def until_complete(self, name):
        """The worker has everything, also what others own. How much of it was fetched, and taken
        from the folder."""
        log = self.workers[name].output
        until(lambda: COMPLETE.search(log()), f"{name} has it all")
        return tuple(int(n) for n in COMPLETE.findall(log())[-1])


@pytest.fixture
def no_file(model):
    running = []

    def start(path=None, workers=2, **options):
        args = [f"--cluster.min_workers={workers}", *options.pop("leader_args", ())]
        running.append(NoFile(path or model, leader_args=args, **options))
        running[-1].start_all(workers)
        return running[-1]

    yield start
    for c in running:
        print(c.logs())
        c.close()


@pytest.fixture(scope="module")
def expected(model):
    """The tokens of workers with the file."""
    with Daemons(model, leader_args=["--cluster.min_workers=2"]) as c:
        c.start_all(2)
        return c.client.complete(PROMPT, ANSWER).tokens


@pytest.mark.parametrize("key", [False, True])
def test_same_tokens(no_file, expected, key):
    c = no_file(key=key)
    assert c.client.complete(PROMPT, ANSWER).tokens == expected
    fetched, kept = c.loaded("w1")
    assert fetched > 0 and kept == 0
    w1 = c.worker("w1")
    assert w1["weights_from"] == "leader" and w1["weights_sent_bytes"] > 0


@pytest.mark.quick
def test_beside_workers_with_the_file(no_file, expected):
    c = no_file()
    c.signal("w2", signal.SIGKILL)
    c.workers["w2"].wait()
    Daemons.start(c, "w2")
    c.until_serving(2)
    assert c.client.complete(PROMPT, ANSWER).tokens == expected
    assert c.worker("w2")["weights_from"] == "file"


@pytest.mark.parametrize("dtype", ["f32", "q8_0"])
def test_other_types(synth, no_file, dtype):
    path = synth("tiny-gqa3", dtype)
    with Daemons(path, leader_args=["--cluster.min_workers=2"]) as c:
        c.start_all(2)
        tokens = c.client.complete(PROMPT, ANSWER).tokens
    assert no_file(path).client.complete(PROMPT, ANSWER).tokens == tokens


def test_restart_fetches_nothing(no_file, expected):
    c = no_file()
    for name in ("w1", "w2"):
        assert c.until_complete(name)[0] > 0
    for name in ("w1", "w2"):
        assert c.workers[name].stop() == 0
    for name in ("w1", "w2"):
        c.start(name)
    c.until_serving(2)
    assert c.client.complete(PROMPT, ANSWER).tokens == expected
    both = [c.until_complete(name) for name in ("w1", "w2")]
    assert [fetched for fetched, _ in both] == [0, 0]
    assert any(kept > 0 for _, kept in both), "who owned nothing has looked into no file yet"


def test_killed_while_it_loads(synth, no_file):
    """Killed with some of its pieces here: the next start fetches the others only."""
    path = synth("smollm2-135m", "q8_0")
    with Daemons(path) as c:
        c.start_all(1)
        tokens = c.client.complete(PROMPT, 8).tokens
    c = NoFile(path)
    try:
        c.start("w1")
        top = os.path.join(c.folder, "w1", "weights")

        def pieces():
            try:
                return sum(not n.startswith(".") for n in os.listdir(c.folder_of("w1")))
            except (FileNotFoundError, IndexError):
                return 0

        until(lambda: pieces() > 50, "some pieces are here")
        c.signal("w1", signal.SIGKILL)
        c.workers["w1"].wait()
        had = pieces()
        assert not PIECE.search(c.workers["w1"].output()), f"all had come already: {top}"
        c.start("w1")
        c.until_serving(1)
        fetched, kept = c.loaded("w1")
        assert kept >= had - 1 and fetched > 0
        assert c.client.complete(PROMPT, 8).tokens == tokens
    finally:
        print(c.logs())
        c.close()


def test_damage_is_noticed(no_file, expected):
    c = no_file(workers=1)
    c.until_complete("w1")
    folder = c.folder_of("w1")
    c.workers["w1"].stop()
    damaged = sorted(os.listdir(folder))[::7]
    for name in damaged:
        with open(os.path.join(folder, name), "r+b") as f:
            f.seek(-5, os.SEEK_END)
            byte = f.read(1)
            f.seek(-5, os.SEEK_END)
            f.write(bytes([byte[0] ^ 1]))
    c.start("w1")
    c.until_serving(1)
    assert c.client.complete(PROMPT, ANSWER).tokens == expected
    assert c.loaded("w1")[0] == len(damaged)
    assert c.workers["w1"].output().count(" weights_damaged ") == len(damaged)


def damage_once():
    """A change of frames: a byte of the first weights is another; the frame's checksum is right."""
    left = [1]

    def change(f):
        if f.kind != wire.WEIGHTS or not left:
            return [f.raw]
        left.pop()
        return [frame(f.kind, f.body, f.payload[:-1] + bytes([f.payload[-1] ^ 1]))]

    return change


def test_other_weights_than_their_digest_says(model, expected):
    """They are not used; the worker says so and asks again."""
    with NoFile(model, leader_args=["--cluster.min_workers=2"]) as c:
        with Middle(("127.0.0.1", c.ports["cluster"]), down=damage_once()) as middle:
            c.start("w1", "--leader.address", f"127.0.0.1:{middle.port}")
            c.start("w2")
            c.until_serving(2)
            assert c.client.complete(PROMPT, ANSWER).tokens == expected
        assert c.workers["w1"].output().count("is not what its digest says") == 1


def test_lost_folder(no_file, expected):
    """Somebody empties the folder of a worker that runs: it is fetched again when it is needed."""
    c = no_file()
    for name in ("w1", "w2"):
        c.until_complete(name)
        shutil.rmtree(c.folder_of(name), ignore_errors=True)  # it may write just now
    stream = c.client.stream(PROMPT, ANSWER)
    stream.read_tokens(20)
    c.signal("w2", signal.SIGKILL)
    answer = stream.finish()
    assert answer.tokens == expected
    assert len(answer.failovers) == 1


@pytest.mark.parametrize("limit", ["16G", "0", "100K"])
@pytest.mark.parametrize("ready", [True, False])
def test_failover(no_file, expected, limit, ready):
    """A survivor takes over heads whose weights it may have, or has to ask for."""
    c = no_file(workers=3, worker_args=["--weights.cache_limit", limit])
    if ready:
        c.until_complete("w1")
        c.until_complete("w3")
    stream = c.client.stream(PROMPT, ANSWER)
    stream.read_tokens(10)
    c.signal("w2", signal.SIGKILL)
    stream.read_tokens(60)
    c.signal("w3", signal.SIGKILL)
    answer = stream.finish()
    assert answer.tokens == expected
    assert [f["rows_replayed"] for f in answer.failovers] == [0, 0]
    if ready and limit == "16G":
        assert sum(int(m[0]) for m in PIECE.findall(c.workers["w1"].output())[1:]) == 0


def test_standby(no_file, expected):
    """Held units are loaded beside the steps; the takeover finds them ready."""
    c = no_file(workers=3, leader_args=["--recovery.policy=standby"])
    assert c.client.complete(PROMPT, ANSWER).tokens == expected
    c.until_status(
        lambda s: s["cluster"]["moves"]["units_without_copy"] == 0
        and not s["cluster"]["moves"]["moving"],
        "every unit has a copy",
    )
    stream = c.client.stream(PROMPT, ANSWER)
    stream.read_tokens(10)
    c.signal("w2", signal.SIGKILL)
    assert stream.finish().tokens == expected


def test_comes_back_while_others_serve(no_file, expected):
    c = no_file(workers=3)
    stream = c.client.stream(PROMPT, 1000)
    stream.read_tokens(10)
    c.signal("w2", signal.SIGKILL)
    stream.read_tokens(30)
    shutil.rmtree(os.path.join(c.folder, "w2"))
    c.rejoin("w2")
    assert stream.finish().tokens[:ANSWER] == expected


def test_waits_for_its_leader(model):
    """Started before its leader: it asks on; SIGTERM ends it at once."""
    with NoFile(model) as c:
        c.leader.stop()
        w = c.start("w1")
        until(lambda: w.output().count(" no_leader ") >= 3, "it asks on")
        assert w.stop() == 0


def test_strangers_ask_for_the_model(no_file, expected):
    """Twice over one connection, or for weights before a Hello: cut off. Nobody else is harmed."""
    c = no_file()
    for data in (
        frame(wire.MODEL_REQUEST) * 2,
        frame(wire.WEIGHTS_REQUEST, wire.number(1, 0)),
        frame(wire.MODEL_REQUEST, b"\x0a" * 300),
    ):
        with Peer(c.ports["cluster"]) as peer:
            peer.send(data)
            peer.until_cut_off()
    assert c.client.complete(PROMPT, ANSWER).tokens == expected
