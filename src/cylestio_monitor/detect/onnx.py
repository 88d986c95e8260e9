"""A text classifier in the ONNX format, loaded from a folder of the user: nothing is downloaded.

The folder is one as model hubs hand out: ``model.onnx`` (also under ``onnx/``), ``tokenizer.json`` and, with the names
of the labels, ``config.json``. Models for prompt injection have two or three labels, one of them harmless.
"""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cylestio_monitor.detect.model import Detection
from cylestio_monitor.errors import ConfigError

if TYPE_CHECKING:
    from cylestio_monitor import config
    from cylestio_monitor.model import Subtype, Target
    from cylestio_monitor.rules.model import Category

_HARMLESS = frozenset({"safe", "benign", "label_0", "0", "negative", "legit", "legitimate", "normal", "ok"})
_KEY = "detectors.model"
_TOKENS, _STRIDE, _WINDOWS = 512, 64, 16


class OnnxDetector:
    """Scores a text window by window; the detection is the worst window's."""

    def __init__(self, settings: config.DetectorSettings) -> None:
        """Loads the model.

        Raises:
            ConfigError: There is no folder, no model in it, or the extra is not installed.
        """
        if not settings.model:
            raise ConfigError("the detector `onnx` needs a folder with a model", source="settings", key=_KEY)
        folder = Path(settings.model).expanduser()
        model = next((file for file in (folder / "model.onnx", folder / "onnx" / "model.onnx") if file.is_file()), None)
        tokenizer = folder / "tokenizer.json"
        if model is None or not tokenizer.is_file():
            raise ConfigError(f"no `model.onnx` with a `tokenizer.json` in {folder}", source="settings", key=_KEY)
        try:
            runtime, tokenizers = import_module("onnxruntime"), import_module("tokenizers")
            self._numpy: Any = import_module("numpy")
        except ImportError as error:
            reason = f"{error.name} is not installed: pip install 'cylestio-monitor[onnx]'"
            raise ConfigError(reason, source="settings", key="detectors.use") from error
        options = runtime.SessionOptions()
        options.intra_op_num_threads = 1  # the application's processors are the application's
        self._session: Any = runtime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        self._inputs = [one.name for one in self._session.get_inputs()]
        self._tokenizer: Any = tokenizers.Tokenizer.from_file(str(tokenizer))
        self._tokenizer.enable_truncation(_TOKENS, stride=_STRIDE)
        self._tokenizer.no_padding()
        self._labels = _labels(folder / "config.json")

    def detect(self, text: str, *, target: Target, subtype: Subtype) -> list[Detection]:  # noqa: ARG002 -- the interface
        """The worst window of the text, with the probability of its worst label."""
        first = self._tokenizer.encode(text)
        worst: Detection | None = None
        for window in [first, *first.overflowing][:_WINDOWS]:
            label, score = self._classify(window)
            if label is None or (worst is not None and score <= worst.score):
                continue
            places = [place for place in window.offsets if place[1] > place[0]]
            start, end = (places[0][0], places[-1][1]) if places else (0, len(text))
            worst = Detection(_category(label), score, start, end)
        return [worst] if worst is not None else []

    def _classify(self, window: Any) -> tuple[str | None, float]:
        """The likeliest label that is not harmless, and its probability."""
        numpy = self._numpy
        columns = {
            "input_ids": window.ids,
            "attention_mask": window.attention_mask,
            "token_type_ids": window.type_ids,
        }
        fed = {name: numpy.array([columns[name]], dtype=numpy.int64) for name in self._inputs if name in columns}
        logits = self._session.run(None, fed)[0][0].astype(numpy.float64)
        shares = numpy.exp(logits - logits.max())
        shares = shares / shares.sum()
        named = [(self._labels.get(number, f"label_{number}"), float(share)) for number, share in enumerate(shares)]
        harmful = [(name, share) for name, share in named if name.lower() not in _HARMLESS]
        return max(harmful, key=lambda pair: pair[1]) if harmful else (None, 0.0)


def _labels(file: Path) -> dict[int, str]:
    """The names of the labels by number; none where the folder does not say."""
    if not file.is_file():
        return {}
    names = json.loads(file.read_text("utf-8")).get("id2label") or {}
    return {int(number): str(name) for number, name in names.items()}


def _category(label: str) -> Category:
    return "jailbreak" if "jailbreak" in label.lower() else "prompt_injection"
