"""The goals: all numbers to reach. The report says which are reached; no test depends on time."""

from typing import NamedTuple


class Figure(NamedTuple):
    """A median of the report: of one step of one workload on one implementation."""

    workload: str
    step: str
    implementation: str


class Goal(NamedTuple):
    """`figure`, divided by `over` if there is one, must be at most `limit`; at least, with `at_least`."""

    what: str
    figure: Figure
    over: Figure | None
    limit: float
    unit: str = "x"
    at_least: bool = False

    def reached(self, number: float) -> bool:
        """Return whether the number does what the goal asks."""
        return number >= self.limit if self.at_least else number <= self.limit


def ours(workload: str, step: str) -> Figure:
    return Figure(workload, step, "fastgrad")


GRADIENTS = "forward and backward"

SPEED_GOALS = [
    Goal("`a * b` against floats", ours("mul", "run"), Figure("mul", "run", "float"), 1.5),
    Goal("16-pair sum of products against floats", ours("dot", "run"), Figure("dot", "run", "float"), 1.3),
    Goal("backward, layered graph of 1e5 nodes", ours("layered-1e5", "backward"), None, 8.0, "ns a node"),
    Goal("backward, layered graph of 1e7 nodes", ours("layered-1e7", "backward"), None, 20.0, "ns a node"),
    # CoDiPack's reverse sweep takes 6 ns a node.
    Goal(
        "never over 3 x a C++ reverse of 6 ns a node",
        ours("layered-1e7", "backward"),
        None,
        18.0,
        "ns a node",
    ),
    Goal(
        "against the tape in C of this benchmark, 1e5 nodes",
        ours("layered-1e5", "backward"),
        Figure("layered-1e5", "backward", "c"),
        3.0,
    ),
    Goal(
        "against the tape in C of this benchmark, 1e7 nodes",
        ours("layered-1e7", "backward"),
        Figure("layered-1e7", "backward", "c"),
        3.0,
    ),
    Goal("free, layered graph of 1e5 nodes", ours("layered-1e5", "free"), None, 8.0, "ns a node"),
    Goal("free, layered graph of 1e7 nodes", ours("layered-1e7", "free"), None, 8.0, "ns a node"),
    Goal(
        "moons step, times faster than micrograd",
        Figure("moons", "step", "micrograd"),
        ours("moons", "step"),
        1500.0,
        at_least=True,
    ),
    Goal(
        "moons step, times faster than torch's batched step",
        Figure("moons", "step", "torch"),
        ours("moons", "step"),
        1.5,
        at_least=True,
    ),
    Goal(
        "scalar GPT, forward and backward against the forward pass of floats",
        ours("gpt", GRADIENTS),
        Figure("gpt", GRADIENTS, "float"),
        2.0,
    ),
    Goal(
        "examples/names_gpt.py, times faster than operation by operation",
        Figure("names_gpt", "step", "operations"),
        ours("names_gpt", "step"),
        5.0,
        at_least=True,
    ),
    Goal(
        "examples/names_gpt.py, times faster than torch",
        Figure("names_gpt", "step", "torch"),
        ours("names_gpt", "step"),
        3.0,
        at_least=True,
    ),
]


def times_faster(what: str, workload: str, than: str, limit: float, implementation: str = "compiled") -> Goal:
    """A compiled function's step against another implementation's."""
    return Goal(
        what, Figure(workload, "step", than), Figure(workload, "step", implementation), limit, at_least=True
    )


COMPILED_GOALS = [
    Goal(
        "moons step, compiled, against hand-written C",
        Figure("moons", "step", "compiled"),
        Figure("moons", "step", "c"),
        2.0,
    ),
    times_faster("moons step, compiled, times faster than jax.jit", "moons", "jax", 3.0),
    times_faster("moons step, compiled, times faster than torch", "moons", "torch", 50.0),
    times_faster("moons step, compiled, times faster than micrograd", "moons", "micrograd", 50_000.0),
    times_faster("digits, batch of 32, compiled, speed of torch's", "digits", "torch", 1.0),
    times_faster("digits, batch of 256, compiled, speed of torch's", "digits-256", "torch", 0.7),
    times_faster("MLP(784, [128, 10]), batch of 256, compiled, speed of torch's", "mlp-784", "torch", 0.4),
    times_faster(
        "GPT, 32 documents, compiled, times faster than torch by document", "gpt-32", "torch-rows", 20.0
    ),
    times_faster("GPT, 32 documents, compiled, speed of torch's batch", "gpt-32", "torch", 1.0),
    Goal(
        "Asian option, compiled, against a hand-written adjoint in C",
        Figure("asian", "step", "compiled"),
        Figure("asian", "step", "c"),
        2.0,
    ),
    times_faster("Asian option, compiled, times faster than jax", "asian", "jax", 3.0),
    Goal("a tiny compiled program on 10 rows", Figure("tiny", "step", "compiled"), None, 0.005, "ms"),
    times_faster("digits, 4096 images, two threads against one", "threads", "compiled", 1.7, "threads"),
]

FOOTPRINT_GOALS = {
    "bytes": Goal("memory a node, over 1e6 nodes", ours("bytes", ""), None, 80.0, "bytes"),
    "import": Goal("`import fastgrad` over bare Python", ours("import", ""), None, 5.0, "ms"),
    "wheel": Goal("wheel", ours("wheel", ""), None, 1.0, "MB"),
}

FIELD_GOALS = [
    *[
        times_faster(f"GMM {size}, speed of {rival}'s", f"gmm-{size}", rival, 1.0)
        for size in ("d2-k5", "d10-k25", "d20-k50", "d64-k25", "d128-k25")
        for rival in ("jax", "torch")
    ],
    times_faster("BA ba4, times faster than jax", "ba4", "jax", 5.0),
    times_faster("BA ba4, speed of hand-written C", "ba4", "c", 1.3),
    times_faster("LIBOR, price and gradient, times faster than jax", "libor", "jax", 6.0),
    times_faster("LIBOR, price and gradient, speed of C a path at a time", "libor", "c-rows", 1.0),
    times_faster("LIBOR, price and gradient, speed of C of 16 paths side by side", "libor", "c", 1.0),
    Goal(
        "LIBOR, price and gradient over price, compiled",
        Figure("libor", "step", "compiled"),
        Figure("libor-price", "step", "compiled"),
        2.5,
    ),
    Goal(
        "LIBOR, price and gradient over the price of C a path at a time",
        Figure("libor", "step", "compiled"),
        Figure("libor-price", "step", "c-rows"),
        1.0,
    ),
    Goal(
        "Asian option, price and gradient over price, compiled",
        Figure("asian-factor", "price and gradient", "compiled"),
        Figure("asian-factor", "price", "compiled"),
        2.0,
    ),
    Goal("microgpt, a step of one name, compiled", Figure("names-1", "step", "compiled"), None, 0.040, "ms"),
    Goal("microgpt, a step of 32 names, compiled", Figure("names-32", "step", "compiled"), None, 0.256, "ms"),
    times_faster("logistic regression, speed of numpy by hand", "logistic", "numpy", 1.0),
    times_faster("hidden Markov model, times faster than jax", "hmm", "jax", 1.5),
    times_faster("six-joint arm, speed of hand-written C", "arm", "c", 1.0),
    times_faster("Lorenz, times faster than jax", "lorenz", "jax", 1.0),
    times_faster("embedding, speed of torch's sparse gradient", "embedding", "torch", 1.0),
    times_faster("LSTM of 2 layers, unrolled, speed of jax's", "lstm-l2", "jax", 1.0),
    *[
        times_faster(f"LSTM {size}, a loop, speed of {rival}", f"lstm-{size}", key, limit)
        for size in ("l2-c1024", "l4-c1024")
        for rival, key, limit in (("hand-written C", "c", 0.8), ("jax's", "jax", 1.0))
    ],
    times_faster("first call, Lorenz, times faster than CasADi", "first-lorenz", "casadi", 1.0),
]

GOALS = [*SPEED_GOALS, *COMPILED_GOALS, *FOOTPRINT_GOALS.values()]
