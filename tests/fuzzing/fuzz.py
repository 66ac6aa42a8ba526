"""Compare fastgrad with the reference on random programs; the exit code is 1 if one fails.

    python tests/fuzzing/fuzz.py --seconds 60
    python tests/fuzzing/fuzz.py --seed 1234 --programs 1

Prints a script that reproduces the first failure in few lines.
"""

import argparse
import random
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fuzzing.campaign import Campaign


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=float, help="how long to go on")
    parser.add_argument("--programs", type=int, help="how many programs to run")
    parser.add_argument("--seed", type=int, help="the first program's seed; drawn at random if not given")
    options = parser.parse_args()
    if options.seconds is None and options.programs is None:
        parser.error("say --seconds or --programs")
    seed = random.SystemRandom().randrange(10**9) if options.seed is None else options.seed
    print(f"programs from seed {seed} on", flush=True)
    campaign, started = Campaign(seed), time.monotonic()
    finding = campaign.run(options.programs, options.seconds)
    seconds = time.monotonic() - started
    print(f"{campaign.next - seed} programs, {campaign.lines} lines in {seconds:.0f} s")
    if finding is not None:
        print(f"\n{finding.script()}")
    return finding is not None


if __name__ == "__main__":
    sys.exit(main())
