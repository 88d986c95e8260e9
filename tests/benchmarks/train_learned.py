"""Trains the learned model for injections and writes its numbers.

    python tests/benchmarks/train_learned.py CORPUS [CORPUS ...] [--write]

A corpus is a file of JSON objects, one a line, plain or gzip: `id`, `corpus`, `label` (1 hostile, 0 harmless), `text`,
and `subtype` or `kind`. Texts of corpora and halves that `corpora.unseen` names are never trained on; the other ones
are, and a fifth of the harmless ones among them sets the thresholds. The model is a logistic regression with an L1
penalty, solved by FISTA; the result depends on the corpora only.
"""

from __future__ import annotations

import argparse
import math
import re
import zlib
from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from corpora import INJECTIONS, Row, read, unseen

from cylestio_monitor.scan import learned
from cylestio_monitor.scan.learned import FEWEST, PIECE, Classifier, Weights, words

if TYPE_CHECKING:
    from collections.abc import Iterable

PENALTY = 0.2
ROUNDS = 1000
LEAST_TEXTS = 12
MOST_CANDIDATES = 16_000
MOST_PER_CORPUS = 1_500.0
HARMLESS_WEIGHT = 3.0
FALSE_ALARMS = {"llm": 0.001, "tool_result": 0.002}
MARGIN = {"llm": 0.05, "tool_result": 1.0}
PASSED_GATE = 0.98
WORD = re.compile(r"[a-z][a-z']{1,24}[a-z]|[a-z]{2}|i")
# Words of letters, dates and addresses: they tell a corpus of e-mails from one of code, and no attack from a letter.
_LETTER_NAMES = """
dear regards sincerely thanks thank hi hello hey team best hope cheers yours kind warm greetings monday tuesday
wednesday thursday friday saturday sunday january february march april may june july august september october
november december jan feb mar apr jun jul aug sep oct nov dec am pm com org net http https www redacted example
confirmation subject sent cc bcc mr mrs ms dr alice bob carol david emma john mary sarah rachel anna tom james
investor relations project manager budget appreciate assistance
"""
LETTER = frozenset(_LETTER_NAMES.split())

# Words that every text has: alone, or two of them together, they tell styles of corpora apart and no attack.
_COMMON_NAMES = """
a about after all also am an and any are as at be because been before being but by can could did do does done
for from get give go going good got great had has have he help helpful her here him his how i if in into is it
its just know let like look lot made make many may me might more most much must my need new no not now of off ok
okay on one only or other our out over please she should so some such sure take than that the their them then
there these they thing think this those through time to too up us use very want was we well were what when where
which while who why will with would yes you your yours
"""
COMMON = frozenset(_COMMON_NAMES.split())

Feature = tuple[str, ...]


def features(raw: list[bytes]) -> set[Feature]:
    """The words and pairs of a piece that may become features."""
    piece = [word.decode("utf-8", "replace") for word in raw]
    single = {(word,) for word in piece if usable(word) and word not in COMMON}
    return single | {pair for pair in pairwise(piece) if all(map(usable, pair)) and not COMMON.issuperset(pair)}


def usable(word: str) -> bool:
    """Whether a token is an English word that says nothing of one corpus alone."""
    return word not in LETTER and WORD.fullmatch(word) is not None


def pieces(row: Row) -> list[list[bytes]]:
    """The pieces of a text: of a hostile one the first three, of a harmless one the first ten."""
    found = words(row.text)
    return [found[at : at + PIECE] for at in range(0, len(found), PIECE)][: 3 if row.label else 10]


class Matrix:
    """A sparse matrix of binary features, each row scaled by the root of the number of its features."""

    def __init__(self, rows: list[list[int]], width: int) -> None:
        """Takes the columns of each row."""
        self.width = width
        self.row = np.repeat(np.arange(len(rows)), [len(columns) for columns in rows])
        self.column = np.concatenate([np.array(columns, dtype=np.int64) for columns in rows])
        scale = np.array([1 / math.sqrt(max(len(columns), FEWEST)) for columns in rows])
        self.value = scale[self.row]
        self.height = len(rows)

    def times(self, vector: np.ndarray) -> np.ndarray:
        """The product with a vector of weights."""
        return np.bincount(self.row, self.value * vector[self.column], minlength=self.height)

    def transposed_times(self, vector: np.ndarray) -> np.ndarray:
        """The product of the transposed matrix with a vector of rows."""
        return np.bincount(self.column, self.value * vector[self.row], minlength=self.width)


def solve(matrix: Matrix, labels: np.ndarray, importance: np.ndarray) -> tuple[np.ndarray, float]:
    """Weights and intercept that minimise the logistic loss and the L1 norm of the weights."""
    probe = np.random.default_rng(0).normal(size=matrix.width)
    for _ in range(20):
        probe = matrix.transposed_times(importance * matrix.times(probe))
        norm = float(np.linalg.norm(probe))
        probe /= norm
    # The intercept is a column of small ones, so that it takes no longer steps than the weights.
    small = norm / float(importance.sum())
    step = 1 / (0.25 * 2 * norm)
    weights = moved = np.zeros(matrix.width)
    intercept = moved_intercept = 0.0
    inertia = 1.0
    for _ in range(ROUNDS):
        error = importance * (1 / (1 + np.exp(-(matrix.times(moved) + moved_intercept))) - labels)
        ahead = moved - step * matrix.transposed_times(error)
        ahead = np.sign(ahead) * np.maximum(np.abs(ahead) - step * PENALTY, 0)
        ahead_intercept = moved_intercept - step * small * float(error.sum())
        grown = (1 + math.sqrt(1 + 4 * inertia * inertia)) / 2
        moved = ahead + (inertia - 1) / grown * (ahead - weights)
        moved_intercept = ahead_intercept + (inertia - 1) / grown * (ahead_intercept - intercept)
        weights, intercept, inertia = ahead, ahead_intercept, grown
    return weights, intercept


def train(rows: list[Row]) -> Weights:
    """The numbers, with thresholds that are still to be set."""
    samples = [(features(piece), row) for row in rows for piece in pieces(row)]
    hostile, harmless = Counter[Feature](), Counter[Feature]()
    for found, row in samples:
        (hostile if row.label else harmless).update(found)
    numbers = [sum(row.label == label for _, row in samples) for label in (1, 0)]

    def telling(feature: Feature) -> float:
        odds = (hostile[feature] + 0.5) / numbers[0] / ((harmless[feature] + 0.5) / numbers[1])
        return abs(math.log(odds)) * math.sqrt(hostile[feature] + harmless[feature])

    known = [feature for feature in hostile | harmless if hostile[feature] + harmless[feature] >= LEAST_TEXTS]
    known.sort(key=lambda feature: (-telling(feature), feature))
    place = {feature: number for number, feature in enumerate(known[:MOST_CANDIDATES])}
    matrix = Matrix([sorted(place[one] for one in found if one in place) for found, _ in samples], len(place))
    sizes = Counter((row.corpus, row.label) for _, row in samples)
    importance = np.array(
        [
            min(1.0, MOST_PER_CORPUS / sizes[row.corpus, row.label]) * (1.0 if row.label else HARMLESS_WEIGHT)
            for _, row in samples
        ]
    )
    weights, intercept = solve(matrix, np.array([float(row.label) for _, row in samples]), importance)
    kept = sorted((feature, round(float(weights[number]), 2)) for feature, number in place.items())
    return Weights(
        intercept=round(intercept, 2),
        gate=-math.inf,
        thresholds={},
        words={feature[0]: weight for feature, weight in kept if weight and len(feature) == 1},
        pairs={" ".join(feature): weight for feature, weight in kept if weight and len(feature) > 1},
    )


def with_thresholds(weights: Weights, rows: list[Row]) -> Weights:
    """The numbers with thresholds that so many of the harmless rows reach, and the gate that hostile ones pass."""
    open_gate = Classifier(weights)
    thresholds = {}
    for surface, rate in FALSE_ALARMS.items():
        scores = sorted(
            (_highest(open_gate, row) for row in rows if not row.label and row.surface == surface), reverse=True
        )
        # Documents are of more kinds than a corpus can hold: what they reach at most is less well known than for chats.
        highest = max(scores[int(len(scores) * rate)], *thresholds.values(), 0.0)
        thresholds[surface] = round(highest + MARGIN[surface], 2)
    least = min(thresholds.values())
    sums = sorted(
        single_words(weights, piece)
        for row in rows
        if row.label
        for piece in pieces(row)
        if open_gate.score(piece) >= least
    )
    thresholds["memory"] = thresholds["tool_result"]
    return msgspec.structs.replace(
        weights, thresholds=thresholds, gate=round(sums[int(len(sums) * (1 - PASSED_GATE))], 2)
    )


def single_words(weights: Weights, piece: list[bytes]) -> float:
    """The score of the single words of a piece, which the gate looks at."""
    found = weights.words.keys() & {word.decode("utf-8", "replace") for word in piece}
    return sum(weights.words[word] for word in found) / math.sqrt(max(len(found), FEWEST))


def _highest(classifier: Classifier, row: Row) -> float:
    found = words(row.text)
    return max((classifier.score(found[at : at + PIECE]) for at in range(0, len(found), PIECE)), default=-math.inf)


def held_out(row: Row) -> bool:
    """Whether a row of the development corpora sets the thresholds rather than the weights."""
    return zlib.crc32(row.id.encode()) % 10 in {2, 6}


def report(weights: Weights, rows: Iterable[Row]) -> str:
    """What the model alone finds, by corpus, in lines."""
    judge = Classifier(weights)
    tally: dict[tuple[bool, int, str], list[int]] = {}
    for row in rows:
        entry = tally.setdefault((unseen(row), row.label, row.corpus), [0, 0])
        entry[0] += 1
        entry[1] += judge.judge(row.text, row.surface) is not None
    return "\n".join(
        f"{'unseen' if new else 'development':12s}{'hostile' if label else 'harmless':9s}{corpus:36s}{n:6d}"
        f"{100 * hits / n:8.2f} %"
        for (new, label, corpus), (n, hits) in sorted(tally.items())
    )


def main() -> None:
    """Trains, prints what the model finds, and with `--write` replaces the shipped numbers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("corpus", nargs="+")
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    rows = [row for row in read(arguments.corpus) if not row.label or row.corpus in INJECTIONS]
    development = [row for row in rows if not unseen(row)]
    weights = train([row for row in development if row.label or not held_out(row)])
    weights = with_thresholds(weights, [row for row in development if row.label or held_out(row)])
    print(
        len(weights.words), "words,", len(weights.pairs), "pairs; thresholds", weights.thresholds, "gate", weights.gate
    )
    print(report(weights, rows))
    if arguments.write:
        learned._FILE.parent.mkdir(exist_ok=True)
        learned._FILE.write_bytes(msgspec.json.format(msgspec.json.encode(weights, order="sorted"), indent=1) + b"\n")


if __name__ == "__main__":
    main()
