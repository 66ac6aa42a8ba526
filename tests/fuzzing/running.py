"""Running one program in both worlds, line by line."""

import gc
import random
import sys

from fastgrad import engine
from fuzzing.comparison import Comparison, DifferenceError
from fuzzing.worlds import ENGINE, REFERENCE, World

check_invariants = getattr(engine, "_check_invariants", lambda: None)


def outcome(world, line, seed):
    """(type, message) of what the line raised; the exception itself would keep variables alive."""
    if "nn." in line:
        random.seed(seed)
    try:
        world.run(line)
    except Exception as error:
        return type(error).__name__, str(error)
    return None


def run(lines):
    """Run a program; raises DifferenceError, with the number of the line, where the worlds part."""
    gc.collect()
    baseline = engine._pool_statistics()
    worlds = World(ENGINE), World(REFERENCE)
    comparison = Comparison()
    number = 0
    try:
        for number, line in enumerate(lines):
            comparison.outcomes(*(outcome(world, line, number) for world in worlds))
            comparison.variables(*(world.variables() for world in worlds))
            if number % 4 == 0:
                check_invariants()
        comparison.graphs(*(world.variables() for world in worlds))
        check_invariants()
    except DifferenceError as error:
        error.line = number
        raise
    finally:
        gc.disable()
        for world in worlds:
            world.close()
    del worlds, world, comparison
    gc.collect()
    check_balance(baseline, engine._pool_statistics())


def check_balance(before, after):
    """Nothing is left of a program when its variables are gone."""
    for counter in ("nodes", "irregular"):
        if before[counter] != after[counter]:
            raise DifferenceError(f"{after[counter]} {counter} left, {before[counter]} before the program")
    if after["nodes"] == 0 and after["chunks_used"] > 1:
        raise DifferenceError(f"{after['chunks_used']} chunks left without a node")


def prepare():
    """Empty what would disturb the counts; afterwards the collector runs only when programs ask for it."""
    sys.unraisablehook = lambda unraisable: None
    gc.disable()
    gc.collect()
    gc.freeze()
