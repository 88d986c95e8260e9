"""A small classifier in the ONNX format, and detectors that other packages bring by an entry point."""

import struct
import sys
import textwrap

import pytest

from cylestio_monitor.detect import worker
from road import Road

WORDS = ["[UNK]", "ignore", "all", "instructions", "hello", "world", "please"]
WEIGHTS = [[3.0, 0.0], [0.0, 9.0], *([[3.0, 0.0]] * 5)]
"""What each word says for the labels SAFE and INJECTION; the model takes the greatest of each."""


def _varint(number):
    out = b""
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


def _field(number, value):
    """One field of a protocol buffer: a number, or bytes, text and messages with their length."""
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    body = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(body)) + body


def _tensor_of(name, kind, *dims):
    shape = b"".join(_field(1, _field(2 if isinstance(dim, str) else 1, dim)) for dim in dims)
    return _field(1, name) + _field(2, _field(1, _field(1, kind) + _field(2, shape)))


def onnx_model():
    """``logits = max over the words of weights[input_ids]``, by the field numbers of ``onnx.proto``."""
    raw = b"".join(struct.pack("<2f", *row) for row in WEIGHTS)
    weights = _field(1, len(WEIGHTS)) + _field(1, 2) + _field(2, 1) + _field(8, "weights") + _field(9, raw)
    gather = _field(1, "weights") + _field(1, "input_ids") + _field(2, "words") + _field(4, "Gather")
    axes = _field(1, "axes") + _field(8, 1) + _field(20, 7)
    keep = _field(1, "keepdims") + _field(3, 0) + _field(20, 2)
    greatest = _field(1, "words") + _field(2, "logits") + _field(4, "ReduceMax") + _field(5, axes) + _field(5, keep)
    graph = _field(1, gather) + _field(1, greatest) + _field(2, "small") + _field(5, weights)
    for name in ("input_ids", "attention_mask"):
        graph += _field(11, _tensor_of(name, 7, 1, "length"))
    graph += _field(12, _tensor_of("logits", 1, 1, 2))
    return _field(1, 8) + _field(8, _field(1, "") + _field(2, 13)) + _field(7, graph)


@pytest.fixture
def model(tmp_path):
    """A folder with the model as hubs hand it out."""
    import json

    from tokenizers import Tokenizer, models, pre_tokenizers

    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model.onnx").write_bytes(onnx_model())
    words = Tokenizer(models.WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.save(str(folder / "tokenizer.json"))
    (folder / "config.json").write_text(json.dumps({"id2label": {"0": "SAFE", "1": "INJECTION"}}))
    return folder


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Installs a package that brings a detector under a name; afterwards neither module nor detector is left."""
    started = dict(worker._started)
    modules = set(sys.modules)

    def install(name, source, group="cylestio_detector"):
        site = tmp_path / f"site_{name}"
        info = site / f"{name}-1.0.dist-info"
        info.mkdir(parents=True)
        (site / f"{name}_detector.py").write_text(textwrap.dedent(source))
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[{group}]\n{name} = {name}_detector:make\n")
        monkeypatch.syspath_prepend(str(site))

    yield install
    worker._started.clear()
    worker._started.update(started)
    for name in set(sys.modules) - modules:
        if name.endswith("_detector"):
            del sys.modules[name]


@pytest.fixture
def road(scanners):
    made = []

    def make(**settings):
        made.append(Road(scanners, **settings))
        return made[-1]

    yield make
    for item in made:
        item.provider.shutdown()
        item.meters.shutdown()
