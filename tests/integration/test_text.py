"""What clients are told about a model's tokenizer and chat template, and what a leader logs."""

import pytest

from cluster import Daemons

CHAT = {"messages": [{"role": "user", "content": "Hello <|im_end|> there"}], "max_tokens": 4}
TEXT = {"prompt": "Hello", "max_tokens": 4}
IDS = {"prompt": [5, 6, 7], "max_tokens": 4}


@pytest.fixture
def changed(synth, tmp_path):
    """changed(old, new): a model in whose file some bytes, of the same length, are others."""

    def make(old, new):
        assert len(old) == len(new)
        data = open(synth("tiny-gqa3", "q4_0"), "rb").read()
        assert old in data
        path = tmp_path / "changed.gguf"
        path.write_bytes(data.replace(old, new))
        return str(path)

    return make


@pytest.fixture
def serve(request):
    def start(model):
        c = Daemons(model)
        request.addfinalizer(c.close)
        c.start_all(1)
        c.until_serving(1)
        return c

    return start


def refused(c, path, body):
    status, _, reply = c.client.request("POST", path, body)
    assert status == 400, reply
    return reply.decode()


def works(c, path, body):
    status, _, reply = c.client.request("POST", path, body)
    assert status == 200, reply


def test_a_tokenizer_that_is_not_supported_says_why(changed, serve):
    key = b"tokenizer.ggml.model\x08\x00\x00\x00\x04" + bytes(7)
    c = serve(changed(key + b"gpt2", key + b"bert"))
    reply = refused(c, "/v1/completions", TEXT)
    assert "bert" in reply and "changed.gguf" not in reply
    assert "bert" in refused(c, "/v1/chat/completions", CHAT)
    works(c, "/v1/completions", IDS)
    assert "leader no_tokenizer" in c.logs()


def test_a_template_that_does_not_compile_says_why(changed, serve):
    c = serve(changed(b"{% for message in messages %}", b"{% fir message in messages %}"))
    assert "unknown statement fir" in refused(c, "/v1/chat/completions", CHAT)
    works(c, "/v1/completions", TEXT)
    assert "unknown statement fir" in c.logs()


def test_a_template_refuses_in_its_own_words(changed, serve):
    old = b"{{ '<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n' }}"
    new = b"{{ raise_exception('A system message is wanted.') }}"
    c = serve(changed(old, new.ljust(len(old))))
    assert "A system message is wanted." in refused(c, "/v1/chat/completions", CHAT)
    system = {"role": "system", "content": "Be brief."}
    works(c, "/v1/chat/completions", {**CHAT, "messages": [system, *CHAT["messages"]]})
