"""Prometheus's text format, read strictly enough to find what a server would refuse."""

import re

SAMPLE = re.compile(r"([a-z_:][a-z0-9_:]*)(?:\{(.*)\})? (\S+)")
LABEL = re.compile(r'([a-z_]+)="((?:[^"\\\n]|\\["\\n])*)"(?:,|$)')


class Family:
    def __init__(self, name, help_text):
        self.name, self.help, self.type = name, help_text, None
        self.samples = {}  # (name, labels) -> value; labels: a sorted tuple of pairs


def read_labels(text):
    labels, at = [], 0
    while at < len(text or ""):
        m = LABEL.match(text, at)
        assert m, f"labels cannot be read: {text}"
        labels.append((m[1], m[2]))
        at = m.end()
    assert len({name for name, _ in labels}) == len(labels), f"a label twice: {text}"
    return tuple(sorted(labels))


def belongs(name, family):
    if family.type == "histogram":
        return name in (family.name + s for s in ("_bucket", "_sum", "_count"))
    return name == family.name


def parse(text):
    """name -> Family. Families are announced once, their samples follow at once, none comes twice."""
    assert text.endswith("\n")
    families, family = {}, None
    for line in text[:-1].split("\n"):
        if line.startswith("# HELP "):
            name, help_text = line[len("# HELP ") :].split(" ", 1)
            assert name not in families, f"{name} is announced twice"
            family = families[name] = Family(name, help_text)
        elif line.startswith("# TYPE "):
            name, kind = line[len("# TYPE ") :].split(" ")
            assert name == family.name and family.type is None
            family.type = kind
        else:
            m = SAMPLE.fullmatch(line)
            assert m, f"a sample cannot be read: {line}"
            assert belongs(m[1], family), f"{m[1]} stands under {family.name}"
            key = (m[1], read_labels(m[2]))
            assert key not in family.samples, f"twice: {line}"
            family.samples[key] = float(m[3])
    return families


def value(families, name, **labels):
    """The one sample of this name and these labels."""
    base = next(n for n in (name, name.rsplit("_", 1)[0]) if n in families)
    return families[base].samples[name, tuple(sorted(labels.items()))]
