"""Programs of a millisecond and more on one thread and two: `report --only benchmarks.field.test_threads`.

Measure them by wall clock, on two cores that nothing else uses. The report of all problems runs on one core.
"""

from benchmarks.case import one_step, test_agreement, test_speed  # noqa: F401
from benchmarks.field import data, test_gmm, test_hmm, test_logistic, test_lorenz
from benchmarks.field.programs import on_compiled

PROGRAMS = {
    "lorenz": ("Lorenz, 500 steps, 2,000 rows", test_lorenz.of_one_row),
    "hmm": ("hidden Markov model, 1,000 sequences", test_hmm.of_one_row),
    "logistic": ("logistic regression, 100,000 rows", test_logistic.of_one_row),
    "gmm": ("GMM, 64 dimensions", lambda: test_gmm.of_one_row(data.mixture(64, 25))),
}
WORKLOADS = [
    one_step(
        f"{key}-threads",
        f"{title}, one thread and two",
        {"compiled": on_compiled(make), "threads": on_compiled(make, threads=2)},
        reference="compiled",
    )
    for key, (title, make) in PROGRAMS.items()
]
