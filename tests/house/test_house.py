"""The house rules that a reader notices first: what each file opens with, what documents point to."""

import os
import re

import pytest

from tree import TOP, listed, read

pytestmark = pytest.mark.quick
GLOB = ["*.c", "*.h", "*.py", "*.rs", "*.sh", "*.proto", "meson.build", "aarch64.ini"]
OPENS = re.compile(r'(?:#!.*\n)?(?:/\*|//!?|#|""") ?(?=\S)(?!include|ifndef|define|pragma)')
LINK = re.compile(r"\]\(([^)#\s]*)(?:#([^)\s]+))?\)")
README_LINES, README_WORDS = 120, 700


def test_every_source_opens_with_a_sentence():
    names = [".ci/run", *listed(*GLOB)]
    assert len(names) > 500
    assert [n for n in names if not OPENS.match(read(n))] == []


def test_headers_and_sources_name_themselves():
    """In C the sentence begins with the file's own name, or with none: never with another one's."""
    wrong = []
    for name in listed("*.c", "*.h"):
        said = re.match(r"/\* (\w+\.[ch]) - ", read(name))
        if said and said[1] != os.path.basename(name):
            wrong.append((name, said[1]))
    assert wrong == []


def test_readme_is_short():
    text = read("README.md")
    assert len(text.splitlines()) <= README_LINES
    assert len(text.split()) <= README_WORDS


def anchor(title):
    """As GitHub makes it of a heading."""
    return re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-")


DOCUMENTS = listed("*.md")


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links(name):
    """Each leads to a file of the repository and a heading in it."""
    for path, section in LINK.findall(read(name)):
        if re.match(r"\w+:", path):
            continue
        to = os.path.normpath(os.path.join(os.path.dirname(name), path)) if path else name
        assert os.path.exists(os.path.join(TOP, to)), f"{path} is not there"
        if section:
            heads = re.findall(r"(?m)^#+ (.*)$", read(to))
            assert section in map(anchor, heads), f"{path}#{section}"


def is_there(path):
    """A file, a folder, or a program by its source."""
    return any(os.path.exists(os.path.join(TOP, p)) for p in (path, path + ".c"))


@pytest.mark.parametrize("name", DOCUMENTS)
def test_file_names(name):
    """A path in backquotes (`leader/core/core.c`) is one of the repository, from its top or from the
    document's folder. Words in capitals stand for something else."""
    here = os.path.dirname(name)
    known = {n.split("/")[0] for n in listed() if "/" in n} | set(os.listdir(os.path.join(TOP, here)))
    paths = re.findall(r"`([\w.-]+(?:/[\w.-]+)+)/?`", read(name))
    ours = [p for p in paths if p.split("/")[0] in known and not re.search("[A-Z]{3}", p)]
    assert [p for p in ours if not is_there(p) and not is_there(os.path.join(here, p))] == []


def test_words_are_used():
    """Each word of the glossary (common/README.md) is one of the code's."""
    section = read("common/README.md").split("## Words")[1].split("\n## ")[0]
    words = re.findall(r"\*\*([\w -]+)\*\*", section)
    assert len(words) > 20
    code = "\n".join(read(n).lower() for n in listed("*.h"))
    assert [w for w in words if not re.search(rf"\b{w.lower()}s?\b", code)] == []
