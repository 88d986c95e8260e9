"""A text classifier in the ONNX format, loaded from a folder of the user: nothing is downloaded.

The folder is one as model hubs hand out: ``model.onnx`` (also under ``onnx/``), ``tokenizer.json`` and, with the names
of the labels, ``config.json``. Models for prompt injection have two or three labels, one of them harmless.
"""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from cylestio_monitor.detect.model import Detection, Moderation
from cylestio_monitor.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cylestio_monitor import config
    from cylestio_monitor.model import Subtype, Target
    from cylestio_monitor.rules.model import Category

_HARMLESS = frozenset({"safe", "benign", "label_0", "0", "negative", "legit", "legitimate", "normal", "ok"})
_TOKENS, _STRIDE, _WINDOWS = 512, 64, 16


class _Window(NamedTuple):
    """A part of a text with the score of each of its labels."""

    start: int
    end: int
    scores: list[tuple[str, float]]


class OnnxClassifier:
    """Scores a text window by window."""

    def __init__(self, folder: str | None, key: str, use: str) -> None:
        """Loads the model.

        Args:
            folder: The folder of the model.
            key: The setting that names it.
            use: The setting that names this detector or moderator.

        Raises:
            ConfigError: There is no folder, no model in it, or the extra is not installed.
        """
        if not folder:
            raise ConfigError("`onnx` needs a folder with a model", source="settings", key=key)
        place = Path(folder).expanduser()
        model = next((file for file in (place / "model.onnx", place / "onnx" / "model.onnx") if file.is_file()), None)
        tokenizer = place / "tokenizer.json"
        if model is None or not tokenizer.is_file():
            raise ConfigError(f"no `model.onnx` with a `tokenizer.json` in {place}", source="settings", key=key)
        try:
            runtime, tokenizers = import_module("onnxruntime"), import_module("tokenizers")
            self._numpy: Any = import_module("numpy")
        except ImportError as error:
            reason = f"{error.name} is not installed: pip install 'cylestio-monitor[onnx]'"
            raise ConfigError(reason, source="settings", key=use) from error
        options = runtime.SessionOptions()
        options.intra_op_num_threads = 1  # the application's processors are the application's
        self._session: Any = runtime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        self._inputs = [one.name for one in self._session.get_inputs()]
        self._tokenizer: Any = tokenizers.Tokenizer.from_file(str(tokenizer))
        self._tokenizer.enable_truncation(_TOKENS, stride=_STRIDE)
        self._tokenizer.no_padding()
        self._labels, self._is_multi_label = _read_config(place / "config.json")

    def windows(self, text: str) -> Iterator[_Window]:
        """Yields the windows of a text with the scores of the labels that are not harmless."""
        first = self._tokenizer.encode(text)
        for window in [first, *first.overflowing][:_WINDOWS]:
            places = [place for place in window.offsets if place[1] > place[0]]
            start, end = (places[0][0], places[-1][1]) if places else (0, len(text))
            yield _Window(start, end, self._classify(window))

    def _classify(self, window: Any) -> list[tuple[str, float]]:
        numpy = self._numpy
        columns = {
            "input_ids": window.ids,
            "attention_mask": window.attention_mask,
            "token_type_ids": window.type_ids,
        }
        fed = {name: numpy.array([columns[name]], dtype=numpy.int64) for name in self._inputs if name in columns}
        logits = self._session.run(None, fed)[0][0].astype(numpy.float64)
        if self._is_multi_label:
            shares = 1 / (1 + numpy.exp(-logits))
        else:
            shares = numpy.exp(logits - logits.max())
            shares = shares / shares.sum()
        named = [(self._labels.get(number, f"label_{number}"), float(share)) for number, share in enumerate(shares)]
        return [(name, share) for name, share in named if name.lower() not in _HARMLESS]


class OnnxDetector:
    """The detector ``onnx``: its detection is the likeliest harmful label of the worst window."""

    def __init__(self, settings: config.DetectorSettings) -> None:
        """Loads the model.

        Raises:
            ConfigError: As of `OnnxClassifier`.
        """
        self._classifier = OnnxClassifier(settings.model, "detectors.model", "detectors.use")

    def detect(self, text: str, *, target: Target, subtype: Subtype) -> list[Detection]:  # noqa: ARG002 -- the interface
        """Returns the worst window of the text, with the score of its worst label."""
        worst: Detection | None = None
        for window in self._classifier.windows(text):
            label, score = max(window.scores, key=lambda pair: pair[1], default=("", 0.0))
            if label and (worst is None or score > worst.score):
                worst = Detection(_category(label), score, window.start, window.end)
        return [worst] if worst is not None else []


class OnnxModerator:
    """The moderator ``onnx``: a text with a label that reaches the threshold is denied."""

    def __init__(self, settings: config.ModerationSettings) -> None:
        """Loads the model.

        Raises:
            ConfigError: As of `OnnxClassifier`.
        """
        self._classifier = OnnxClassifier(settings.model, "moderation.model", "moderation.use")
        self._threshold = settings.threshold

    def __call__(self, text: str, *, target: Target, subtype: Subtype) -> Moderation:  # noqa: ARG002 -- the interface
        """Returns every label that reaches the threshold, and the place of the worst window."""
        found: set[str] = set()
        worst = Moderation(score=0.0)
        for window in self._classifier.windows(text):
            found.update(label for label, score in window.scores if score >= self._threshold)
            score = max((score for _, score in window.scores), default=0.0)
            if score > (worst.score or 0.0):
                worst = worst._replace(score=score, start=window.start, end=window.end)
        return worst._replace(verdict="deny" if found else "allow", categories=tuple(sorted(found)))


def _read_config(file: Path) -> tuple[dict[int, str], bool]:
    """Returns the names of the labels by number, none where the folder names none, and whether several can hold."""
    if not file.is_file():
        return {}, False
    settings = json.loads(file.read_text("utf-8"))
    names = settings.get("id2label") or {}
    is_multi_label = settings.get("problem_type") == "multi_label_classification"
    return {int(number): str(name) for number, name in names.items()}, is_multi_label


def _category(label: str) -> Category:
    return "jailbreak" if "jailbreak" in label.lower() else "prompt_injection"
