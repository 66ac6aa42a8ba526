"""microgpt's model on names: a training step at batches of 1, 16 and 32 documents, Adam included.

Documents come from the file that `--documents` names, else from the standard library's module names; all of
them have the most common length, so that every step does the same work.
"""

import ctypes
from collections.abc import Iterator
from itertools import cycle, islice

import numpy

from benchmarks import gpt, gpt_batch
from benchmarks.case import Case, one_step, test_agreement, test_speed  # noqa: F401

ADAM = gpt.Adam()
BATCHES = (1, 16, 32)


def batches(size: int) -> tuple[int, Iterator[numpy.ndarray]]:
    """The vocabulary, and documents by the batch, again and again."""
    text = gpt.load_text()
    documents = cycle(text.documents)
    return text.vocabulary, (numpy.array(list(islice(documents, size))) for _ in cycle([None]))


def on_compiled(size: int):
    def prepare() -> Case:
        import fastgrad
        from fastgrad.optim import Adam

        vocabulary, documents = batches(size)
        weights, parameters = gpt_batch.values(vocabulary)
        loss = fastgrad.compile(lambda tokens: gpt_batch.document_loss(weights, tokens))
        optimizer = Adam(parameters, lr=ADAM.lr, betas=ADAM.betas, eps=ADAM.eps)
        state = {}

        def step() -> None:
            state["loss"] = loss.backward(next(documents))
            optimizer.step()
            optimizer.zero_grad()

        return Case({"step": step}, lambda: [state["loss"], *(p.data for p in parameters)])

    return prepare


def on_jax(size: int):
    def prepare() -> Case:
        import jax
        import jax.numpy as jnp

        from benchmarks.test_gpt import adam_on_jax, loss_on_jax

        vocabulary, documents = batches(size)
        of_document = loss_on_jax()
        weights = {name: jnp.array(matrix) for name, matrix in gpt.initial_weights(vocabulary).items()}
        zeros = jax.tree.map(jnp.zeros_like, weights)
        state = {"weights": (weights, zeros, zeros), "number": 0}
        adam = adam_on_jax()

        def mean_loss(weights, tokens):
            return jax.vmap(of_document, (None, 0))(weights, tokens).mean()

        @jax.jit
        def whole(weights, first, second, number, tokens):
            loss, gradients = jax.value_and_grad(mean_loss)(weights, tokens)
            return loss, adam(weights, first, second, gradients, number)

        def step() -> None:
            state["number"] += 1
            loss, changed = whole(*state["weights"], float(state["number"]), next(documents))
            state["weights"], state["loss"] = jax.block_until_ready(changed), float(loss)

        def numbers() -> list[float]:
            matrices = (state["weights"][0][name] for name in gpt.shapes(vocabulary))
            return [state["loss"], *(x for matrix in matrices for x in matrix.ravel().tolist())]

        return Case({"step": step}, numbers)

    return prepare


def on_c(size: int):
    """Document by document."""

    def prepare() -> Case:
        from benchmarks import native

        vocabulary, documents = batches(size)
        numbers = [x for m in gpt.initial_weights(vocabulary).values() for row in m for x in row]
        library = native.load("gpt", f"VOCABULARY={vocabulary}")
        library.forward_and_backward.restype = ctypes.c_double
        vector = ctypes.c_double * len(numbers)
        weights, first, second = vector(*numbers), vector(), vector()
        gradients = numpy.zeros(len(numbers))
        address = ctypes.c_void_p(gradients.ctypes.data)
        constants = [*map(ctypes.c_double, (ADAM.lr, *ADAM.betas, ADAM.eps))]
        state = {"number": 0}

        def step() -> None:
            state["number"] += 1
            batch = next(documents).astype(numpy.intc)
            state["loss"] = 0.0
            for document in batch:
                pointer = ctypes.c_void_p(document.ctypes.data)
                state["loss"] += library.forward_and_backward(weights, address, pointer, len(document) - 1)
            state["loss"] /= size
            gradients.__imul__(1 / size)
            library.adam(weights, address, first, second, *constants, state["number"])

        return Case({"step": step}, lambda: [state["loss"], *weights])

    return prepare


WORKLOADS = [
    one_step(
        f"names-{size}",
        f"microgpt on names, a training step of {size} document{'s' * (size > 1)}",
        {"compiled": on_compiled(size), "jax": on_jax(size), "c": on_c(size)},
        reference="compiled",
    )
    for size in BATCHES
]
