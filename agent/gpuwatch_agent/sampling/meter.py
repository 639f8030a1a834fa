"""What each collector costs and how it fares."""

from gpuwatch_agent.model.frame import CollectorCost


class Tally:
    """One collector's account, over all GPUs."""

    __slots__ = (
        "_failures_told",
        "_last_success_at",
        "_runs_told",
        "_succeeded",
        "failures",
        "last_error",
        "last_s",
        "missed",
        "name",
        "runs",
        "tier",
        "total_s",
    )

    def __init__(self, name: str, tier: str) -> None:
        self.name = name
        self.tier = tier
        self.runs = 0
        self.failures = 0
        self.missed = 0
        self.last_s: float | None = None
        self.total_s = 0.0
        self.last_error: str | None = None
        self._runs_told = 0
        self._failures_told = 0
        self._succeeded: bool | None = None
        self._last_success_at: float | None = None

    def ran(self, seconds: float) -> None:
        self.runs += 1
        self.last_s = seconds
        self.total_s += seconds

    def failed(self, error: str) -> None:
        self.failures += 1
        self.last_error = error

    def report(self, now: float) -> CollectorCost:
        """The account at that time (unix seconds); what ran since the last report is one round."""
        if (self.runs, self.failures) != (self._runs_told, self._failures_told):
            self._succeeded = self.failures == self._failures_told
            if self._succeeded:
                self._last_success_at = now
            self._runs_told, self._failures_told = self.runs, self.failures
        return CollectorCost(
            name=self.name,
            tier=self.tier,
            runs=self.runs,
            failures=self.failures,
            missed_deadlines=self.missed,
            last_ms=round(self.last_s * 1000, 3) if self.last_s is not None else None,
            mean_ms=round(self.total_s / self.runs * 1000, 3) if self.runs else None,
            last_error=self.last_error,
            succeeded=self._succeeded,
            last_success_at=self._last_success_at,
        )


class Meter:
    """All collectors' accounts."""

    def __init__(self) -> None:
        self.tallies: dict[str, Tally] = {}

    def tally(self, name: str, tier: str) -> Tally:
        """The account of that name, opened when first asked for."""
        found = self.tallies.get(name)
        if found is None:
            found = self.tallies[name] = Tally(name, tier)
        return found

    def report(self, now: float) -> list[CollectorCost]:
        return [tally.report(now) for tally in self.tallies.values()]
