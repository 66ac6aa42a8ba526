"""Running programs in a process of their own, so that a crash is a finding like others."""

import faulthandler
import multiprocessing
import os
import traceback
import warnings
from collections.abc import Iterable
from typing import NamedTuple

from fuzzing.comparison import DifferenceError
from fuzzing.running import prepare, run

FORK = multiprocessing.get_context("fork")


class Failure(NamedTuple):
    """What went wrong, and in which of the given programs."""

    place: int
    reason: str


def first_failure(programs: Iterable[list[str]], seconds: float | None = None) -> tuple[int, Failure | None]:
    """Run programs in a fresh process; return how many ran to their end, and the failure if there is one.

    A program that takes longer than the given time is a failure, too.
    """
    receiver, sender = FORK.Pipe(duplex=False)
    process = FORK.Process(target=run_all, args=(programs, sender), daemon=True)
    process.start()
    sender.close()
    done = 0
    try:
        while True:
            if not receiver.poll(seconds):
                process.kill()
                return done, Failure(done, f"it did not end within {seconds} seconds")
            message = receiver.recv()
            if message is None:
                return done, None
            if message:
                return done, Failure(done, message)
            done += 1
    except EOFError:
        process.join()
        return done, Failure(done, f"the process ended with exit code {process.exitcode}")
    finally:
        process.join()


def run_all(programs, sender):
    """In the child: send "" for each program that passes, else what went wrong; None at the end."""
    faulthandler.disable()
    warnings.simplefilter("ignore")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    prepare()
    for program in programs:
        try:
            run(program)
        except DifferenceError as error:
            sender.send(f"after line {error.line}: {error}" if error.line is not None else str(error))
            return
        except BaseException:
            sender.send(traceback.format_exc())
            return
        sender.send("")
    sender.send(None)
