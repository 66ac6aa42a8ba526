"""A character-level GPT of scalars, compiled: documents of equal length are the rows of a batch.

One layer of 16 dimensions and 4 heads, written for ONE document, token by token and number by number. Its
tokens are indices, which differ from row to row: `take` selects an embedding, and the probability of the next
token. Documents of another length are another program, traced at its first batch.

    python examples/compiled_gpt.py --documents names.txt --steps 1000
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import fastgrad.functional as F
from fastgrad import Value, compile, take
from fastgrad.optim import Adam

CHANNELS, HEADS, CONTEXT = 16, 4, 16
SIZE = CHANNELS // HEADS


class GPT:
    """The model's weights, and its loss for one document."""

    def __init__(self, vocabulary: int) -> None:
        def matrix(rows, columns, spread=0.08):
            return F.Matrix([[Value(random.gauss(0, spread)) for _ in range(columns)] for _ in range(rows)])

        self.tokens, self.positions = matrix(vocabulary, CHANNELS), matrix(CONTEXT, CHANNELS)
        self.query, self.key, self.value = (matrix(CHANNELS, CHANNELS) for _ in range(3))
        self.output = matrix(CHANNELS, CHANNELS)
        self.expand, self.contract = matrix(4 * CHANNELS, CHANNELS), matrix(CHANNELS, 4 * CHANNELS)
        self.logits = matrix(vocabulary, CHANNELS)

    def parameters(self) -> list[Value]:
        return [
            value for rows in vars(self).values() if isinstance(rows, list) for row in rows for value in row
        ]

    def step(self, token, position: int, keys: list, values: list) -> list[Value]:
        """Return the logits of the token that follows, given the keys and values of those before."""
        x = [t + p for t, p in zip(take(self.tokens, token), self.positions[position])]
        normal = F.rms_norm(x)
        query = F.linear(normal, self.query)
        keys.append(F.linear(normal, self.key))
        values.append(F.linear(normal, self.value))
        mixed = []
        for start in range(0, CHANNELS, SIZE):
            head = slice(start, start + SIZE)
            scores = [F.dot(query[head], key[head]) * SIZE**-0.5 for key in keys]
            weights = F.softmax(scores)
            mixed += [F.dot(weights, [value[c] for value in values]) for c in range(start, start + SIZE)]
        x = [a + b for a, b in zip(F.linear(mixed, self.output), x)]
        hidden = F.linear(F.rms_norm(x), self.expand, activation="relu")
        x = [a + b for a, b in zip(F.linear(hidden, self.contract), x)]
        return F.linear(x, self.logits)

    @compile
    def loss(self, tokens):
        """The mean cross-entropy of each token given those before it."""
        keys, values = [], []
        return F.mean(
            [
                F.cross_entropy(self.step(token, position, keys, values), following)
                for position, (token, following) in enumerate(zip(tokens, tokens[1:]))
            ]
        )


def read(path: str | None) -> list[str]:
    """Return the documents: a file's lines, or the names of the standard library's modules."""
    lines = Path(path).read_text().split() if path else sorted(sys.stdlib_module_names)
    return [line.lower()[: CONTEXT - 1] for line in lines]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--documents", help="a file of one document a line")
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--batch-size", type=int, default=32)
    options = parser.parse_args(arguments)

    random.seed(42)
    documents = read(options.documents)
    characters = sorted(set("".join(documents)))
    code = {character: index for index, character in enumerate(characters)}
    mark = len(characters)
    by_length = defaultdict(list)
    for document in documents:
        by_length[len(document)].append([mark, *(code[character] for character in document), mark])
    lengths = list(by_length)
    shares = [len(by_length[length]) for length in lengths]

    gpt = GPT(len(characters) + 1)
    optimizer = Adam(gpt.parameters(), lr=0.01, betas=(0.9, 0.99))
    print(f"{len(documents)} documents, {len(gpt.parameters())} parameters")
    start, recent = time.perf_counter(), []
    for step in range(options.steps):
        [length] = random.choices(lengths, shares)
        batch = np.array(random.choices(by_length[length], k=options.batch_size))
        optimizer.param_groups[0]["lr"] = 0.01 * (1 - step / options.steps)
        optimizer.zero_grad()
        recent.append(gpt.loss.backward(batch))
        optimizer.step()
        if step % 50 == 49:
            print(f"step {step + 1} loss {np.mean(recent):.4f}")
            recent = []
    seconds = time.perf_counter() - start
    print(f"{seconds / options.steps / options.batch_size * 1e6:.0f} us a document")

    logits = compile(lambda tokens: gpt_logits(gpt, tokens))
    for _ in range(5):
        name = [mark]
        while len(name) < CONTEXT:
            z = logits(np.array([name]))[0]
            chances = np.exp(z - z.max())
            [token] = random.choices(range(len(z)), chances)
            if token == mark:
                break
            name.append(token)
        print("".join(characters[token] for token in name[1:]))


def gpt_logits(gpt: GPT, tokens) -> list[Value]:
    """Return the logits of the token that follows the given ones."""
    keys, values = [], []
    return [gpt.step(token, position, keys, values) for position, token in enumerate(tokens)][-1]


if __name__ == "__main__":
    main()
