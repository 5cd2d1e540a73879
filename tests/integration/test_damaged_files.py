"""Model files as they are: damaged copies, files that shrink or are overwritten while they are in
use, on a worker and on the leader. Tokens are those of whole files, or there is a sentence."""

import os
import re
import shutil
import signal
import threading

import pytest

import gguf
from client import HttpError
from cluster import Daemons, until
from prompts import prompt

PROMPT = prompt(40, 51)
ANSWER = 100
REFUSED = re.compile(r" weights_refused pieces=(\d+)")
FETCHED = re.compile(r" weights fetched=(\d+) ")
WHERE = re.compile(r" piece_refused reason=\"(.*) of layer \d+ is not the leader's: (.*), from byte")


def total(pattern, process):
    return sum(int(n) for n in pattern.findall(process.output()))


@pytest.fixture
def start(tmp_path):
    """start(model, {worker: path, ...}, ...): a leader with `model`, workers with theirs."""
    running = []

    def begin(model, workers, **options):
        args = [f"--cluster.min_workers={len(workers)}", "--integrity.audit=0"]
        running.append(Daemons(model, args, **options))  # audits load pieces of others
        for name, path in workers.items():
            running[-1].start(name, "--model.path", path)
        running[-1].until_serving(len(workers))
        return running[-1]

    yield begin
    for c in running:
        print(c.logs())
        c.close()


@pytest.fixture
def copy(tmp_path):
    """copy(path): a copy that is the test's own."""

    def make(path, name="copy.gguf"):
        return shutil.copy(path, tmp_path / name)

    return make


@pytest.fixture(scope="module", params=["synth", "smollm2"])
def whole(request, synth):
    """A model file, and its tokens."""
    path = synth("smollm2-135m", "q4_0")
    if request.param == "smollm2":
        path = os.environ.get("HYDAC_SMOLLM2") or pytest.skip("HYDAC_SMOLLM2 is not set")
    with Daemons(path) as c:
        c.start_all(1)
        return path, c.client.complete(PROMPT, 24).tokens


def test_damaged_copy(whole, start, copy):
    path, tokens = whole
    bad = copy(path)
    layers = gguf.zero_middle(bad, ".ffn_down.weight", 128 << 10)
    c = start(path, {"w1": path, "w2": bad})
    assert c.client.complete(PROMPT, 24).tokens == tokens
    w2 = c.workers["w2"]
    pieces = total(REFUSED, w2)
    assert pieces >= layers, "at least one FFN block of each layer"
    assert total(FETCHED, w2) == pieces
    what, where = WHERE.findall(w2.output())[0]
    assert what.startswith("FFN block ") and where == str(bad)
    assert total(REFUSED, c.workers["w1"]) == 0
    damage = r" damage worker=w2 kind=file .*repaired=true .*text=\"FFN block "
    told = re.findall(damage, c.leader.output())
    assert len(told) == pieces
    status = c.status()
    assert c.worker("w2", status)["weights_from"] == "file and leader"
    assert c.worker("w1", status)["weights_from"] == "file"


def cut(path):
    os.truncate(path, os.path.getsize(path) // 3)


def overwrite(path):
    gguf.zero_middle(path, ".weight", 1 << 20)


def vanish(path):
    os.truncate(path, 0)


@pytest.mark.parametrize("damage", [cut, overwrite, vanish])
def test_survivors_load_from_a_file_that_changes(model, start, copy, damage):
    """w1's copy changes while it serves; then w2 dies, and w1 must load what w2 had."""
    expected = start(model, {"w1": model}).client.complete(PROMPT, ANSWER).tokens
    own = copy(model)
    c = start(model, {"w1": own, "w2": model})
    stream = c.client.stream(PROMPT, ANSWER)
    stream.read_tokens(10)
    damage(own)
    c.signal("w2", signal.SIGKILL)
    answer = stream.finish()
    assert answer.tokens == expected
    assert [f["worker"] for f in answer.failovers] == ["w2"]
    assert total(REFUSED, c.workers["w1"]) > 0
    assert c.workers["w1"].running()
    assert c.client.complete(PROMPT, ANSWER).tokens == expected


# ---- The leader's own file


def until_changed(c, word):
    """The leader says that its model has changed: where everybody looks."""

    def unhealthy():
        status, _, body = c.client.request("GET", "/health")
        return status == 503 and b"not what it was when the leader began" in body and body.decode()

    assert word in until(unhealthy, "the leader says that its model has changed")
    with pytest.raises(HttpError) as refusal:
        c.client.complete(PROMPT, 1)
    assert refusal.value.status == 503 and word in refusal.value.body.decode()
    cluster = c.status()["cluster"]
    assert cluster["state"] == "model_changed" and word in cluster["reason"]
    assert word in c.hydac("status")
    assert " model_changed reason=" in c.leader.output()


def test_leaders_file_is_cut(model, start, copy):
    """What runs ends as it would have, since it needs nothing of what is gone."""
    own = copy(model)
    c = start(own, {"w1": model, "w2": model})
    expected = c.client.complete(PROMPT, ANSWER).tokens
    stream = c.client.stream(PROMPT, ANSWER)
    stream.read_tokens(3)
    os.truncate(own, os.path.getsize(own) - 100)
    until_changed(c, "has changed since it was opened")
    assert stream.finish().tokens == expected
    c.start("w3", "--model.path", model)
    until(lambda: "not what it was" in c.workers["w3"].output(), "w3 is told why it is refused")


def touched(c):
    return re.findall(r" model_touched reason=\"([^\"]*)\"", c.leader.output())


def test_leaders_file_is_touched(model, start, copy):
    """Requests are refused until it was read once more; what runs goes on, and so do workers."""
    own = copy(model)
    c = start(own, {"w1": model, "w2": model})
    expected = c.client.complete(PROMPT, ANSWER).tokens
    stream = c.client.stream(PROMPT, ANSWER)
    stream.read_tokens(3)
    for n in range(1, 3):
        os.utime(own)
        until(lambda n=n: c.leader.output().count(" model_same ") == n, "it was read once more")
        assert len(touched(c)) == n and str(own) in touched(c)[-1] and "once more" in touched(c)[-1]
        c.until_serving(2)
        assert c.client.complete(PROMPT, ANSWER).tokens == expected
    assert stream.finish().tokens == expected
    assert c.status()["cluster"]["state"] == "ready"


def test_leaders_file_is_written_to_without_an_end(model, start, copy):
    """As long as that lasts nobody knows what it will be."""
    own = copy(model)
    c = start(own, {"w1": model, "w2": model})
    expected = c.client.complete(PROMPT, 8).tokens
    stop = threading.Event()

    def write():
        while not stop.wait(0.01):
            os.utime(own)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        c.until_status(lambda s: s["cluster"]["state"] == "model_touched", "it is told")
        with pytest.raises(HttpError) as refusal:
            c.client.complete(PROMPT, 1)
        assert refusal.value.status == 503
        assert "has been written to" in refusal.value.body.decode()
    finally:
        stop.set()
        writer.join()
    c.until_serving(2)
    assert c.client.complete(PROMPT, 8).tokens == expected


def test_leaders_file_is_overwritten(model, start, copy):
    """Other bytes, found by reading it once more though nobody needs them."""
    own = copy(model)
    c = start(own, {"w1": model, "w2": model})
    offset, _ = gguf.tensors(own)["blk.1.ffn_up.weight"]
    gguf.write_at(own, offset, bytes(64))
    until_changed(c, "FFN block 0 of layer 1 is wrong")


def rewrite(path, offset, data):
    """As a failing disk does it: other bytes, the same size and times."""
    before = os.stat(path)
    gguf.write_at(path, offset, data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_leaders_embedding_is_wrong(model, start, copy):
    """Found when the row is looked up; other rows are still right."""
    own = copy(model)
    c = start(own, {"w1": model, "w2": model})
    expected = c.client.complete([5] * 20, 1).tokens
    offset, size = gguf.tensors(own)["token_embd.weight"]
    row = size // c.status()["model"]["vocab"]
    rewrite(own, offset + 200 * row, bytes(row))
    assert c.client.complete([5] * 20, 1).tokens == expected
    with pytest.raises(HttpError) as error:
        c.client.complete([5] * 19 + [200], 1)
    assert error.value.status == 503 and "embedding of token 200" in error.value.body.decode()
    until_changed(c, "embedding of token 200")


def test_leaders_piece_is_wrong(model, start, copy):
    """A worker without a file needs it; it is not sent, and the leader says why."""
    own = copy(model)
    c = start(own, {"w1": model, "w2": model})
    offset, _ = gguf.tensors(own)["blk.1.ffn_up.weight"]
    rewrite(own, offset, bytes(64))
    c.start("w3", "--model.path", "")
    until_changed(c, "FFN block 0 of layer 1 is wrong")
    until(lambda: "not what it was" in c.workers["w3"].output(), "w3 is told why it goes")


# ---- What the leader keeps


def digests_from(process):
    """Where the leader has its digests from, start by start."""
    return re.findall(r" digests pieces=\d+ from=(\w+) ", process.output())


def one_start(model, state):
    with Daemons(model, ["--state.dir", str(state)]) as c:
        c.start_all(1)
        return digests_from(c.leader), c.client.complete(PROMPT, 8).tokens, c.leader.output()


def test_digests_are_kept(model, copy, tmp_path):
    own, state = copy(model), tmp_path / "state"
    froms = [one_start(own, state)[0] for _ in range(2)]
    os.utime(own)
    froms += [one_start(own, state)[0] for _ in range(2)]
    shutil.copy(own, tmp_path / "new")
    os.replace(tmp_path / "new", own)
    froms += [one_start(own, state)[0] for _ in range(2)]
    assert froms == [["files"], ["state"]] * 3


def test_a_file_that_rots_between_two_starts(model, copy, tmp_path):
    """Its size and times are the same; what was right at the first start still counts."""
    own, state = copy(model), tmp_path / "state"
    one_start(own, state)
    offset, size = gguf.tensors(own)["token_embd.weight"]
    rewrite(own, offset + size // 2, bytes(64))
    with Daemons(own, ["--state.dir", str(state)]) as c:
        c.start("w1", "--model.path", model)
        c.until_serving(1)
        assert digests_from(c.leader) == ["state"]
        for token in range(c.status()["model"]["vocab"]):
            try:
                c.client.complete([token], 1)
            except HttpError as error:
                assert error.status == 503 and f"embedding of token {token} " in str(error)
                break
        until_changed(c, f"embedding of token {token} ")


def test_without_a_state_folder(model):
    froms, tokens, log = one_start(model, "/proc/hydac")
    assert froms == ["files"] and tokens
    assert " no_state_folder " in log and "/proc/hydac" in log
