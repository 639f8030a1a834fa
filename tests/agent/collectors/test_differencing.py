from hypothesis import given
from hypothesis import strategies as st

from gpuwatch_agent.collectors.differencing import Differencer

WRAP = 1 << 32
FASTEST = 128e9


def test_the_first_reading_gives_no_rate() -> None:
    """One reading of a counter says nothing about speed, and is not shown as 0."""
    assert Differencer().rate(1000, 5.0) is None


def test_two_readings_give_units_per_second() -> None:
    """The rate is the step over the time between, not over the tick that was planned."""
    differencer = Differencer()
    differencer.rate(1000, 5.0)
    assert differencer.rate(4000, 6.5) == 2000.0


def test_a_counter_that_went_back_gives_no_rate_once() -> None:
    """After a driver reload counters start again: nothing is shown that time, and the next time it is right."""
    differencer = Differencer()
    differencer.rate(10_000, 0.0)
    assert differencer.rate(100, 1.0) is None
    assert differencer.rate(600, 2.0) == 500.0


def test_a_narrow_counter_unwraps_when_it_can_have_wrapped_only_once() -> None:
    """Read often enough, a 32-bit counter gives its true rate across the wrap."""
    differencer = Differencer()
    differencer.rate(WRAP - 1000, 0.0, WRAP, FASTEST)
    assert differencer.rate(2000, 0.03, WRAP, FASTEST) == 3000 / 0.03


def test_a_narrow_counter_read_too_rarely_is_not_believed() -> None:
    """A second apart a 32-bit byte counter may have wrapped thirty times: no rate beats an invented one."""
    differencer = Differencer()
    differencer.rate(0, 0.0, WRAP, FASTEST)
    assert differencer.rate(1_000_000, 1.0, WRAP, FASTEST) is None


def test_a_wide_counter_that_restarted_is_not_taken_for_a_wrap() -> None:
    """A 64-bit counter never wraps in practice: a fall is a restart, not 18 exabytes."""
    differencer = Differencer()
    differencer.rate(5_000_000, 0.0, 1 << 64, FASTEST)
    assert differencer.rate(10, 1.0, 1 << 64, FASTEST) is None


def test_readings_at_the_same_moment_repeat_the_last_rate() -> None:
    """Two readings within a blink would divide by nearly nothing."""
    differencer = Differencer()
    differencer.rate(0, 0.0)
    first = differencer.rate(1000, 1.0)
    assert differencer.rate(1001, 1.0001) == first


@given(
    st.lists(st.tuples(st.integers(0, 1 << 64), st.floats(0, 10)), max_size=30),
    st.sampled_from([None, WRAP, 1 << 64]),
)
def test_no_sequence_of_readings_gives_an_impossible_rate(
    readings: list[tuple[int, float]], wraps_at: int | None
) -> None:
    """Whatever a counter does, a rate is never negative nor above what the link can carry."""
    differencer = Differencer()
    now = 0.0
    for value, gap in readings:
        now += gap
        rate = differencer.rate(value, now, wraps_at, FASTEST)
        assert rate is None or 0 <= rate <= FASTEST
