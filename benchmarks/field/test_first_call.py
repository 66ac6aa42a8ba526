"""From a function to its first result: fastgrad's trace beside jax's trace and compilation."""

from benchmarks.case import Case, one_step, test_agreement, test_speed  # noqa: F401
from benchmarks.field import test_hmm, test_lorenz
from benchmarks.field.programs import on_compiled, on_jax

STEPS = 20


def anew(prepare):
    """The case with its preparation in the step, data and all."""

    def with_preparation() -> Case:
        state = {}

        def step() -> None:
            case = prepare()
            case.steps["step"]()
            state["numbers"] = case.numbers()

        return Case({"step": step}, lambda: state["numbers"])

    return with_preparation


WORKLOADS = [
    one_step(
        f"first-{name}",
        f"first call, {title}",
        {"compiled": anew(on_compiled(ours)), "jax": anew(on_jax(theirs))},
        reference="compiled",
        rounds=3,
    )
    for name, title, ours, theirs in (
        (
            "lorenz",
            f"Lorenz of {STEPS} steps",
            lambda: test_lorenz.of_one_row(STEPS),
            lambda: test_lorenz.of_jax(STEPS),
        ),
        ("hmm", "hidden Markov model", test_hmm.of_one_row, test_hmm.of_jax),
    )
]
