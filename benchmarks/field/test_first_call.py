"""From a function to its first result: fastgrad's trace, CasADi's graph, jax's trace and compilation."""

from benchmarks.case import Case, one_step, test_agreement, test_speed  # noqa: F401
from benchmarks.field import test_hmm, test_lorenz
from benchmarks.field.programs import on_compiled, on_jax

STEPS = 20


def anew(prepare):
    """The case with its preparation, and that of its data, in the step."""

    def with_preparation() -> Case:
        state = {}

        def step() -> None:
            case = prepare()
            case.steps["step"]()
            state["numbers"] = case.numbers()

        return Case({"step": step}, lambda: state["numbers"])

    return with_preparation


def lorenz_on_casadi() -> Case:
    """The same program of one row on CasADi's scalars, run by its virtual machine."""
    import casadi

    parameters, start = casadi.SX.sym("parameters", 3), casadi.SX.sym("start", 3)
    end = test_lorenz.integrated(casadi.vertsplit(start), casadi.vertsplit(parameters), STEPS)
    starts = test_lorenz.starts()
    one = casadi.Function("one", [parameters, start], [end, casadi.gradient(end, parameters)])
    rows, state = one.map(len(starts)), {}

    def step() -> None:
        ends, gradients = rows(casadi.DM(test_lorenz.PARAMETERS), casadi.DM(starts.T))
        state["numbers"] = casadi.sum2(casadi.vertcat(ends, gradients)) / len(starts)

    return Case({"step": step}, lambda: state["numbers"].full().ravel().tolist())


WORKLOADS = [
    one_step(
        f"first-{name}",
        f"first call, {title}",
        {"compiled": anew(on_compiled(ours)), "jax": anew(on_jax(theirs)), **more},
        reference="compiled",
        rounds=3,
    )
    for name, title, ours, theirs, more in (
        (
            "lorenz",
            f"Lorenz of {STEPS} steps",
            lambda: test_lorenz.of_one_row(STEPS),
            lambda: test_lorenz.of_jax(STEPS),
            {"casadi": anew(lorenz_on_casadi)},
        ),
        ("hmm", "hidden Markov model", test_hmm.of_one_row, test_hmm.of_jax, {}),
    )
]
