"""A character-level GPT of one layer: its shape, and the program over scalars.

The program is written operation by operation with `sum` and list comprehensions, and runs unchanged on
every type of `benchmarks.scalars`.
"""

import random
from itertools import pairwise
from typing import NamedTuple

from benchmarks.documents import of_common_length, read_documents
from benchmarks.scalars import Scalars

CHANNELS = 16
HEADS = 4
HEAD_SIZE = CHANNELS // HEADS
CONTEXT = 16
EPSILON = 1e-5
SEED = 42


class Adam(NamedTuple):
    """The optimizer's constants, as in PyTorch."""

    lr: float = 0.01
    betas: tuple[float, float] = (0.9, 0.99)
    eps: float = 1e-8


class Text(NamedTuple):
    """Documents as lists of tokens; `vocabulary` counts the characters and the mark between documents."""

    documents: list[list[int]]
    vocabulary: int


def load_text() -> Text:
    """Encode documents of one length, each between two marks."""
    documents = [line.lower()[: CONTEXT - 1] for line in read_documents()]
    characters = sorted(set("".join(documents)))
    code = {character: index for index, character in enumerate(characters)}
    mark = len(characters)
    encoded = [[mark, *map(code.get, document), mark] for document in of_common_length(documents)]
    random.Random(SEED).shuffle(encoded)
    return Text(encoded, len(characters) + 1)


def shapes(vocabulary: int) -> dict[str, tuple[int, int]]:
    """The weight matrices, one row an output."""
    return {
        "tokens": (vocabulary, CHANNELS),
        "positions": (CONTEXT, CHANNELS),
        "query": (CHANNELS, CHANNELS),
        "key": (CHANNELS, CHANNELS),
        "value": (CHANNELS, CHANNELS),
        "output": (CHANNELS, CHANNELS),
        "expand": (4 * CHANNELS, CHANNELS),
        "contract": (CHANNELS, 4 * CHANNELS),
        "logits": (vocabulary, CHANNELS),
    }


def initial_weights(vocabulary: int) -> dict[str, list[list[float]]]:
    """Normally distributed numbers, the same for every implementation."""
    draw = random.Random(SEED).gauss
    return {
        name: [[draw(0.0, 0.08) for _ in range(columns)] for _ in range(rows)]
        for name, (rows, columns) in shapes(vocabulary).items()
    }


def build_program(scalars: Scalars):
    """Return `document_loss(weights, tokens)` for one scalar type."""
    relu, exp, log, value = scalars.relu, scalars.exp, scalars.log, scalars.value

    def linear(weight, x):
        return [sum(w * xi for w, xi in zip(row, x)) for row in weight]

    def normalise(x):
        scale = (sum(xi * xi for xi in x) / len(x) + EPSILON) ** -0.5
        return [xi * scale for xi in x]

    def softmax(logits):
        largest = max(map(value, logits))
        exponentials = [exp(logit - largest) for logit in logits]
        total = sum(exponentials)
        return [e / total for e in exponentials]

    def attend(query, keys, values):
        mixed = []
        for start in range(0, CHANNELS, HEAD_SIZE):
            head = slice(start, start + HEAD_SIZE)
            q = query[head]
            scores = [sum(a * b for a, b in zip(q, key[head])) / HEAD_SIZE**0.5 for key in keys]
            weights = softmax(scores)
            mixed += [
                sum(weight * v[channel] for weight, v in zip(weights, values))
                for channel in range(start, start + HEAD_SIZE)
            ]
        return mixed

    def document_loss(weights, tokens):
        keys, values, losses = [], [], []
        for position, (token, target) in enumerate(pairwise(tokens)):
            x = [a + b for a, b in zip(weights["tokens"][token], weights["positions"][position])]
            x = normalise(x)
            residual = x
            x = normalise(x)
            keys.append(linear(weights["key"], x))
            values.append(linear(weights["value"], x))
            x = linear(weights["output"], attend(linear(weights["query"], x), keys, values))
            x = [a + b for a, b in zip(x, residual)]
            residual = x
            x = [relu(xi) for xi in linear(weights["expand"], normalise(x))]
            x = [a + b for a, b in zip(linear(weights["contract"], x), residual)]
            probabilities = softmax(linear(weights["logits"], x))
            losses.append(-log(probabilities[target]))
        return sum(losses) / len(losses)

    return document_loss
