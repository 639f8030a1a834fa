"""Time for simulated machines that nobody has to wait for."""


class PassingTime:
    """Stands until somebody waits, and then has passed."""

    def __init__(self, start: float) -> None:
        self.now = start

    def __call__(self) -> float:
        """Unix seconds."""
        return self.now

    def wait(self, seconds: float) -> None:
        """Be so much later, at once."""
        self.now += seconds
