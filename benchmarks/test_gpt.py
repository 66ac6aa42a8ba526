"""Workload 5: a character-level GPT on scalars, one document a training step.

One layer, 16 dimensions, 4 heads, RMSNorm, softmax attention, a ReLU MLP, Adam; about 4,000 parameters.
Documents are the lines of `--documents FILE` or the names of the standard library's modules. Only those of
the most common length are used, so that all steps cost the same. torch, jax and C run the same model on
matrices. CasADi has no row: its functions have fixed shapes, and the attention of a document has none.
"""

import ctypes
from itertools import cycle, islice

from benchmarks import gpt
from benchmarks.case import Case, Workload, test_agreement, test_speed  # noqa: F401
from benchmarks.scalars import SCALARS

ADAM = gpt.Adam()


def on_scalars(name: str):
    def prepare() -> Case:
        scalars = SCALARS[name]()
        text = gpt.load_text()
        weights = {
            key: [list(map(scalars.leaf, row)) for row in matrix]
            for key, matrix in gpt.initial_weights(text.vocabulary).items()
        }
        rows = [row for matrix in weights.values() for row in matrix]
        parameters = [p for row in rows for p in row]
        first = [0.0] * len(parameters)
        second = [0.0] * len(parameters)
        document_loss = gpt.build_program(scalars)
        documents = cycle(text.documents)
        state = {"step": 0, "loss": 0.0}

        def gradients() -> None:
            loss = document_loss(weights, next(documents))
            scalars.backward(loss)
            state["loss"] = scalars.value(loss)

        def optimizer() -> None:
            state["step"] += 1
            beta1, beta2 = ADAM.betas
            correct1 = 1 - beta1 ** state["step"]
            correct2 = 1 - beta2 ** state["step"]
            for i, p in enumerate(parameters):
                first[i] = beta1 * first[i] + (1 - beta1) * p.grad
                second[i] = beta2 * second[i] + (1 - beta2) * p.grad**2
                p.data -= ADAM.lr * (first[i] / correct1) / ((second[i] / correct2) ** 0.5 + ADAM.eps)
                p.grad = 0.0

        def optimizer_of_xad() -> None:
            # A real of xad cannot be written to: each parameter is replaced.
            state["step"] += 1
            beta1, beta2 = ADAM.betas
            correct1 = 1 - beta1 ** state["step"]
            correct2 = 1 - beta2 ** state["step"]
            for i, p in enumerate(parameters):
                gradient = p.getDerivative()
                first[i] = beta1 * first[i] + (1 - beta1) * gradient
                second[i] = beta2 * second[i] + (1 - beta2) * gradient**2
                step = ADAM.lr * (first[i] / correct1) / ((second[i] / correct2) ** 0.5 + ADAM.eps)
                parameters[i] = scalars.leaf(p.getValue() - step)
            replacements = iter(parameters)
            for row in rows:
                row[:] = islice(replacements, len(row))

        def numbers() -> list[float]:
            if name == "float":
                return [state["loss"]]
            return [state["loss"], *map(scalars.value, parameters)]

        steps = {
            "start": lambda: scalars.start(parameters),
            "forward and backward": gradients,
            "Adam": optimizer_of_xad if name == "xad" else optimizer,
        }
        if name == "float":
            del steps["Adam"]
        return Case(steps, numbers)

    return prepare


def on_torch() -> Case:
    import torch

    text = gpt.load_text()
    weights = {
        key: torch.tensor(matrix, dtype=torch.float64, requires_grad=True)
        for key, matrix in gpt.initial_weights(text.vocabulary).items()
    }
    parameters = list(weights.values())
    optimizer = torch.optim.Adam(parameters, lr=ADAM.lr, betas=ADAM.betas, eps=ADAM.eps)
    documents = cycle([torch.tensor(document) for document in text.documents])
    state = {}

    def normalise(x):
        return x * ((x * x).mean(-1, keepdim=True) + gpt.EPSILON) ** -0.5

    def heads(x):
        return x.view(len(x), gpt.HEADS, gpt.HEAD_SIZE).transpose(0, 1)

    def document_loss(tokens):
        inputs, targets = tokens[:-1], tokens[1:]
        future = torch.ones(len(inputs), len(inputs), dtype=torch.bool).triu(1)
        x = normalise(weights["tokens"][inputs] + weights["positions"][: len(inputs)])
        normal = normalise(x)
        query, key, value = (heads(normal @ weights[name].T) for name in ("query", "key", "value"))
        scores = (query @ key.transpose(1, 2) / gpt.HEAD_SIZE**0.5).masked_fill(future, float("-inf"))
        mixed = (scores.softmax(-1) @ value).transpose(0, 1).reshape(len(inputs), gpt.CHANNELS)
        x = mixed @ weights["output"].T + x
        x = (normalise(x) @ weights["expand"].T).relu() @ weights["contract"].T + x
        return torch.nn.functional.cross_entropy(x @ weights["logits"].T, targets)

    def gradients() -> None:
        loss = document_loss(next(documents))
        loss.backward()
        state["loss"] = loss.item()

    def update() -> None:
        optimizer.step()
        optimizer.zero_grad()

    def numbers() -> list[float]:
        return [state["loss"], *(number for p in parameters for number in p.detach().ravel().tolist())]

    return Case({"forward and backward": gradients, "Adam": update}, numbers)


def loss_on_jax():
    """Return `document_loss(weights, tokens)` over arrays."""
    import jax
    import jax.numpy as jnp

    def normalise(x):
        return x * ((x * x).mean(-1, keepdims=True) + gpt.EPSILON) ** -0.5

    def heads(x):
        return x.reshape(len(x), gpt.HEADS, gpt.HEAD_SIZE).transpose(1, 0, 2)

    def document_loss(weights, tokens):
        inputs, targets = tokens[:-1], tokens[1:]
        past = jnp.tril(jnp.ones((len(inputs), len(inputs)), dtype=bool))
        x = normalise(weights["tokens"][inputs] + weights["positions"][: len(inputs)])
        normal = normalise(x)
        query, key, value = (heads(normal @ weights[name].T) for name in ("query", "key", "value"))
        scores = jnp.where(past, query @ key.transpose(0, 2, 1) / gpt.HEAD_SIZE**0.5, -jnp.inf)
        mixed = (jax.nn.softmax(scores) @ value).transpose(1, 0, 2).reshape(len(inputs), gpt.CHANNELS)
        x = mixed @ weights["output"].T + x
        x = jax.nn.relu(normalise(x) @ weights["expand"].T) @ weights["contract"].T + x
        logs = jax.nn.log_softmax(x @ weights["logits"].T)
        return -logs[jnp.arange(len(targets)), targets].mean()

    return document_loss


def adam_on_jax():
    """Return `adam(weights, first, second, grads, step)`: the changed weights and moments."""
    import jax

    @jax.jit
    def adam(weights, first, second, grads, step):
        beta1, beta2 = ADAM.betas
        first = jax.tree.map(lambda m, g: beta1 * m + (1 - beta1) * g, first, grads)
        second = jax.tree.map(lambda v, g: beta2 * v + (1 - beta2) * g**2, second, grads)
        correct1, correct2 = 1 - beta1**step, 1 - beta2**step

        def move(p, m, v):
            return p - ADAM.lr * (m / correct1) / ((v / correct2) ** 0.5 + ADAM.eps)

        return jax.tree.map(move, weights, first, second), first, second

    return adam


def on_jax() -> Case:
    import jax
    import jax.numpy as jnp

    text = gpt.load_text()
    state = {
        "weights": {key: jnp.array(matrix) for key, matrix in gpt.initial_weights(text.vocabulary).items()},
        "step": 0,
    }
    state["first"] = jax.tree.map(jnp.zeros_like, state["weights"])
    state["second"] = jax.tree.map(jnp.zeros_like, state["weights"])
    documents = cycle([jnp.array(document) for document in text.documents])
    differentiate, adam = jax.jit(jax.value_and_grad(loss_on_jax())), adam_on_jax()

    def gradients() -> None:
        loss, grads = differentiate(state["weights"], next(documents))
        state.update(loss=float(loss), grads=jax.block_until_ready(grads))

    def update() -> None:
        state["step"] += 1
        changed = adam(
            state["weights"], state["first"], state["second"], state["grads"], float(state["step"])
        )
        state["weights"], state["first"], state["second"] = jax.block_until_ready(changed)

    def numbers() -> list[float]:
        matrices = (state["weights"][name] for name in gpt.shapes(text.vocabulary))
        return [state["loss"], *(number for matrix in matrices for number in matrix.ravel().tolist())]

    return Case({"forward and backward": gradients, "Adam": update}, numbers)


def on_c() -> Case:
    from benchmarks import native

    text = gpt.load_text()
    matrices = gpt.initial_weights(text.vocabulary).values()
    flat = [number for matrix in matrices for row in matrix for number in row]
    library = native.load("gpt", f"VOCABULARY={text.vocabulary}")
    library.forward_and_backward.restype = ctypes.c_double
    vector = ctypes.c_double * len(flat)
    weights, grads, first, second = vector(*flat), vector(), vector(), vector()
    tokens = [(ctypes.c_int * len(document))(*document) for document in text.documents]
    documents = cycle(tokens)
    state = {"step": 0}

    def gradients() -> None:
        document = next(documents)
        state["loss"] = library.forward_and_backward(weights, grads, document, len(document) - 1)

    def update() -> None:
        state["step"] += 1
        constants = map(ctypes.c_double, (ADAM.lr, *ADAM.betas, ADAM.eps))
        library.adam(weights, grads, first, second, *constants, state["step"])

    return Case({"forward and backward": gradients, "Adam": update}, lambda: [state["loss"], *weights])


WORKLOADS = [
    Workload(
        key="gpt",
        title="character-level GPT on scalars, a document",
        steps=("forward and backward", "Adam"),
        operations=1,
        unit="ms",
        cases={
            **{name: on_scalars(name) for name in SCALARS if name != "torch"},
            "torch": on_torch,
            "jax": on_jax,
            "c": on_c,
        },
    )
]


def test_documents_have_one_length():
    text = gpt.load_text()
    assert len({len(document) for document in islice(text.documents, 1000)}) == 1
    assert 8 <= len(text.documents[0]) <= gpt.CONTEXT + 1
