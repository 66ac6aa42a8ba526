"""A character-level GPT on scalars: it learns from a file of names, one a line, to make up more of them.

One transformer layer with RMSNorm, softmax attention and a ReLU MLP, no biases, about 4,000 parameters,
each a Value. A step takes one name: forward, backward, Adam. Without a file it learns the names of the
standard library's modules.

    python examples/names_gpt.py names.txt --steps 2000
"""

import argparse
import random
import statistics
import sys
import time
from pathlib import Path

from progress import Progress

import fastgrad.functional as F
from fastgrad import Value
from fastgrad.nn import Module
from fastgrad.optim import Adam, LambdaLR

CHANNELS = 16
HEADS = 4
HEAD_SIZE = CHANNELS // HEADS
CONTEXT = 16


class Text:
    """Names as lists of tokens: a number for each character, and one for the mark around every name."""

    def __init__(self, names):
        self.characters = sorted(set("".join(names)))
        self.mark = len(self.characters)
        self.vocabulary = self.mark + 1
        number = {character: index for index, character in enumerate(self.characters)}
        self.documents = [[self.mark, *(number[c] for c in name), self.mark][: CONTEXT + 1] for name in names]


def matrix(rows, columns):
    return F.Matrix([[Value(random.gauss(0, 0.08)) for _ in range(columns)] for _ in range(rows)])


class Cache:
    """The keys and values of the positions so far, head by head; the values by channel."""

    def __init__(self):
        self.keys = [F.Matrix() for _ in range(HEADS)]
        self.values = [F.Matrix([] for _ in range(HEAD_SIZE)) for _ in range(HEADS)]


class GPT(Module):
    """Token by token: the logits of the next one."""

    def __init__(self, vocabulary):
        self.tokens = matrix(vocabulary, CHANNELS)
        self.positions = matrix(CONTEXT, CHANNELS)
        self.query = matrix(CHANNELS, CHANNELS)
        self.key = matrix(CHANNELS, CHANNELS)
        self.value = matrix(CHANNELS, CHANNELS)
        self.output = matrix(CHANNELS, CHANNELS)
        self.expand = matrix(4 * CHANNELS, CHANNELS)
        self.contract = matrix(CHANNELS, 4 * CHANNELS)
        self.logits = matrix(vocabulary, CHANNELS)

    def attend(self, x, cache):
        """Mix the values seen so far, each head by the likeness of its query to their keys."""
        query = F.scale(F.linear(x, self.query), HEAD_SIZE**-0.5)
        key, value = F.linear(x, self.key), F.linear(x, self.value)
        mixed = []
        for head, (keys, values) in enumerate(zip(cache.keys, cache.values, strict=True)):
            channels = slice(head * HEAD_SIZE, (head + 1) * HEAD_SIZE)
            keys.append(key[channels])
            for channel, number in zip(values, value[channels], strict=True):
                channel.append(number)
            weights = F.softmax(F.linear(query[channels], keys))
            mixed += F.linear(weights, values)
        return F.linear(mixed, self.output)

    def __call__(self, token, position, cache):
        """Return the logits of the token after this one, and add this one to the cache."""
        x = F.rms_norm(F.add(self.tokens[token], self.positions[position]))
        x = F.add(self.attend(F.rms_norm(x), cache), x)
        hidden = F.linear(F.rms_norm(x), self.expand, activation="relu")
        x = F.add(F.linear(hidden, self.contract), x)
        return F.linear(x, self.logits)

    def loss(self, document):
        """Return the mean cross entropy of each token given those before it."""
        cache = Cache()
        logits = [self(token, position, cache) for position, token in enumerate(document[:-1])]
        return F.cross_entropy(logits, document[1:])

    def sample(self, text, temperature):
        """Return a name drawn character by character."""
        cache, name, token = Cache(), "", text.mark
        for position in range(CONTEXT):
            logits = self(token, position, cache)
            weights = [p.data for p in F.softmax(F.scale(logits, 1 / temperature))]
            token = random.choices(range(text.vocabulary), weights)[0]
            if token == text.mark:
                break
            name += text.characters[token]
        return name


class Trainer:
    """Adam with a rate that falls to 0 over the run."""

    def __init__(self, model, steps, lr=0.01):
        self.model = model
        self.optimizer = Adam(model.parameters(), lr=lr, betas=(0.9, 0.99))
        self.schedule = LambdaLR(self.optimizer, lambda step: 1 - step / steps)

    def step(self, document):
        """Learn from one document; return its loss."""
        loss = self.model.loss(document)
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.schedule.step()
        return loss.data


def parse(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", nargs="?", type=Path, help="names, one a line (default: Python's modules)")
    parser.add_argument("--steps", type=int, default=1000, help="names to learn from (default: 1000)")
    parser.add_argument("--samples", type=int, default=20, help="names to make up (default: 20)")
    parser.add_argument(
        "--temperature", type=float, default=0.5, help="below 1: likelier names (default: 0.5)"
    )
    parser.add_argument("--seed", type=int, default=42, help="of the weights and the draws (default: 42)")
    return parser.parse_args(arguments)


def main(arguments=None):
    options = parse(arguments)
    random.seed(options.seed)
    if options.file is None:
        names = sorted(sys.stdlib_module_names)
    else:
        names = [line.strip().lower() for line in options.file.read_text().splitlines() if line.strip()]
    random.shuffle(names)
    text = Text(names)
    model = GPT(text.vocabulary)
    print(f"{len(names)} names, {text.vocabulary} tokens, {len(model.parameters())} parameters")

    trainer = Trainer(model, options.steps)
    losses, seconds = [], []
    with Progress(options.steps) as progress:
        for step in range(options.steps):
            start = time.perf_counter()
            losses.append(trainer.step(text.documents[step % len(text.documents)]))
            seconds.append(time.perf_counter() - start)
            progress.step(f"loss {statistics.fmean(losses[-100:]):.4f}")
    if seconds:
        print(f"{statistics.median(seconds) * 1e3:.2f} ms a step (median)")

    print(f"{options.samples} new names:")
    for _ in range(options.samples):
        print("  ", model.sample(text, options.temperature))


if __name__ == "__main__":
    main()
