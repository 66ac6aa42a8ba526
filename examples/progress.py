"""What the example scripts share: a progress bar on a terminal, plain lines elsewhere."""

import sys

from tqdm import tqdm


class Progress:
    """Counts the steps of a run; `lines` of them are printed where there is no terminal for a bar."""

    def __init__(self, steps: int, unit: str = "step", lines: int = 20):
        self.steps = steps
        self.unit = unit
        self.every = max(1, steps // lines)
        self.count = 0
        # disable=None means: unless the file is a terminal.
        self.bar = tqdm(total=steps, unit=unit, disable=None, file=sys.stderr)

    def step(self, figures: str) -> None:
        """Count one step, with what there is to say about it."""
        self.count += 1
        self.bar.set_postfix_str(figures, refresh=False)
        self.bar.update()
        if self.bar.disable and (self.count % self.every == 0 or self.count == self.steps):
            print(f"{self.unit} {self.count:5d} of {self.steps}: {figures}", flush=True)

    def __enter__(self):
        return self

    def __exit__(self, *failure):
        self.bar.close()
