"""The character-level GPT over a batch of documents of one length: the mean loss and its gradients.

Compiled, the rows are the documents and their tokens are indices; plain fastgrad and 'torch, a row at a
time' take one document after another, torch the whole batch.
"""

from benchmarks import gpt
from benchmarks.case import Case

DOCUMENTS = 32


def batch() -> tuple[gpt.Text, list[list[int]]]:
    text = gpt.load_text()
    documents = [text.documents[k % len(text.documents)] for k in range(DOCUMENTS)]
    return text, documents


def values(vocabulary: int):
    """Return the weights as Values, and a flat list of them."""
    from fastgrad import Value

    weights = {
        key: [list(map(Value, row)) for row in matrix]
        for key, matrix in gpt.initial_weights(vocabulary).items()
    }
    return weights, [p for matrix in weights.values() for row in matrix for p in row]


def document_loss(weights, tokens):
    """The program of `gpt.build_program`, with tokens that are not known when it is traced."""
    import fastgrad.functional as F
    from fastgrad import take

    def linear(name, x):
        return [sum(w * xi for w, xi in zip(row, x)) for row in weights[name]]

    def normalise(x):
        scale = (sum(xi * xi for xi in x) / len(x) + gpt.EPSILON) ** -0.5
        return [xi * scale for xi in x]

    keys, mixed_values, losses = [], [], []
    for position, (token, target) in enumerate(zip(tokens, tokens[1:])):
        x = [a + b for a, b in zip(take(weights["tokens"], token), weights["positions"][position])]
        residual = normalise(x)
        x = normalise(residual)
        keys.append(linear("key", x))
        mixed_values.append(linear("value", x))
        query, mixed = linear("query", x), []
        for start in range(0, gpt.CHANNELS, gpt.HEAD_SIZE):
            head = slice(start, start + gpt.HEAD_SIZE)
            scores = [sum(a * b for a, b in zip(query[head], key[head])) / gpt.HEAD_SIZE**0.5 for key in keys]
            shares = F.softmax(scores)
            mixed += [
                sum(share * value[channel] for share, value in zip(shares, mixed_values))
                for channel in range(start, start + gpt.HEAD_SIZE)
            ]
        residual = [a + b for a, b in zip(linear("output", mixed), residual)]
        x = [xi.relu() for xi in linear("expand", normalise(residual))]
        x = [a + b for a, b in zip(linear("contract", x), residual)]
        losses.append(F.cross_entropy(linear("logits", x), target))
    return sum(losses) / len(losses)


def on_compiled() -> Case:
    import numpy

    import fastgrad

    text, documents = batch()
    weights, parameters = values(text.vocabulary)
    loss = fastgrad.compile(lambda tokens: document_loss(weights, tokens))
    tokens = numpy.array(documents)
    state = {}

    def clear() -> None:
        for p in parameters:
            p.grad = 0.0

    def step() -> None:
        state["loss"] = loss.backward(tokens)

    return Case({"clear": clear, "step": step}, lambda: [state["loss"], *(p.grad for p in parameters)])


def on_values() -> Case:
    from benchmarks.scalars import SCALARS

    text, documents = batch()
    weights, parameters = values(text.vocabulary)
    program = gpt.build_program(SCALARS["fastgrad"]())
    state = {}

    def clear() -> None:
        for p in parameters:
            p.grad = 0.0

    def step() -> None:
        state["loss"] = 0.0
        for document in documents:
            loss = program(weights, document)
            loss.backward()
            state["loss"] += loss.data / DOCUMENTS

    def numbers() -> list[float]:
        return [state["loss"], *(p.grad / DOCUMENTS for p in parameters)]

    return Case({"clear": clear, "step": step}, numbers)


def on_torch(documents_at_once: int):
    def prepare() -> Case:
        import torch

        text, documents = batch()
        weights = {
            key: torch.tensor(matrix, dtype=torch.float64, requires_grad=True)
            for key, matrix in gpt.initial_weights(text.vocabulary).items()
        }
        parts = torch.tensor(documents).split(documents_at_once)
        state = {}

        def normalise(x):
            return x * ((x * x).mean(-1, keepdim=True) + gpt.EPSILON) ** -0.5

        def loss_of(tokens):
            inputs, targets = tokens[:, :-1], tokens[:, 1:]
            rows, length = inputs.shape
            future = torch.ones(length, length, dtype=torch.bool).triu(1)

            def heads(name):
                return (normal @ weights[name].T).view(rows, length, gpt.HEADS, gpt.HEAD_SIZE).transpose(1, 2)

            x = normalise(weights["tokens"][inputs] + weights["positions"][:length])
            normal = normalise(x)
            scores = heads("query") @ heads("key").transpose(-1, -2) / gpt.HEAD_SIZE**0.5
            shares = scores.masked_fill(future, float("-inf")).softmax(-1)
            mixed = (shares @ heads("value")).transpose(1, 2).reshape(rows, length, gpt.CHANNELS)
            x = mixed @ weights["output"].T + x
            x = (normalise(x) @ weights["expand"].T).relu() @ weights["contract"].T + x
            logits = (x @ weights["logits"].T).flatten(0, 1)
            return torch.nn.functional.cross_entropy(logits, targets.flatten())

        def clear() -> None:
            for weight in weights.values():
                weight.grad = None

        def step() -> None:
            state["loss"] = 0.0
            for part in parts:
                loss = loss_of(part)
                loss.backward()
                state["loss"] += loss.item() / len(parts)

        def numbers() -> list[float]:
            gradients = (
                g / len(parts) for weight in weights.values() for g in weight.grad.flatten().tolist()
            )
            return [state["loss"], *gradients]

        return Case({"clear": clear, "step": step}, numbers)

    return prepare


CASES = {
    "fastgrad": on_values,
    "compiled": on_compiled,
    "torch": on_torch(DOCUMENTS),
    "torch-rows": on_torch(1),
}
