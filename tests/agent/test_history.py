"""History: an hour at a second a slot, by a clock that never jumps, in memory that never grows."""

from math import isclose
from time import process_time

import msgspec
import pytest
from msgspec import structs

from gpuwatch_agent.history import MOST_VALUES, History
from gpuwatch_agent.model.errors import UsageError
from gpuwatch_agent.model.frame import Frame
from gpuwatch_agent.model.metrics import GPU_SPECS, HOST_SPECS
from support.sample_frames import sample_frame, uuid


def powered(watts: float | None, taken_at: float = 0.0, gpus: int = 1) -> Frame:
    frame = sample_frame(gpus=gpus, processes=0, taken_at=taken_at)
    return msgspec.structs.replace(frame, gpus=[msgspec.structs.replace(gpu, power_w=watts) for gpu in frame.gpus])


def test_a_value_a_second_comes_back_in_order() -> None:
    """Frames one second apart give one point each, with the wall time of each."""
    history = History()
    for second in range(5):
        history.append(powered(100.0 + second, taken_at=1000.0 + second), 50.0 + second)
    answer = history.query(["power_w"])
    assert answer.series[0].values == [100.0, 101.0, 102.0, 103.0, 104.0]
    assert answer.taken_at == [1000.0, 1001.0, 1002.0, 1003.0, 1004.0]
    assert (answer.series[0].gpu, answer.series[0].uuid, answer.series[0].unit) == (0, uuid(0), "watts")


def test_the_last_frame_in_a_second_wins() -> None:
    """At ten frames a second the slot holds the tenth."""
    history = History()
    for tick in range(20):
        history.append(powered(float(tick)), 10.0 + tick / 10 + 0.01)
    assert history.query(["power_w"]).series[0].values == [9.0, 19.0]


def test_a_question_in_the_middle_of_a_second_does_not_close_the_slot() -> None:
    """What is asked between two frames of one second shows the first, later the second."""
    history = History()
    history.append(powered(1.0), 10.1)
    assert history.query(["power_w"]).series[0].values == [1.0]
    history.append(powered(2.0), 10.2)
    assert history.query(["power_w"]).series[0].values == [2.0]


def test_seconds_without_a_frame_are_gaps() -> None:
    """A pause shows as nulls, also where the ring had been written before."""
    history = History(seconds=4)
    for second in range(8):
        history.append(powered(1.0), float(second))
    history.append(powered(2.0), 10.0)
    answer = history.query(["power_w"])
    assert answer.series[0].values == [1.0, None, None, 2.0]
    assert answer.taken_at == [0.0, None, None, 0.0]


def test_a_pause_longer_than_the_ring_leaves_nothing_old() -> None:
    """After two hours of silence none of the old values is passed off as new."""
    history = History(seconds=4)
    for second in range(4):
        history.append(powered(1.0), float(second))
    history.append(powered(2.0), 7200.0)
    assert history.query(["power_w"]).series[0].values == [None, None, None, 2.0]


def test_silence_up_to_now_is_a_gap_too() -> None:
    """A question asked long after the last frame does not end at that frame."""
    history = History()
    history.append(powered(1.0), 10.0)
    assert history.query(["power_w"], at_monotonic=13.0).series[0].values == [1.0, None, None, None]


def test_absent_is_null_and_never_zero() -> None:
    """A reading that is `None` is null in the answer, and a 0 stays a 0."""
    history = History()
    for second, watts in enumerate((None, 0.0, None)):
        history.append(powered(watts), float(second))
    assert history.query(["power_w"]).series[0].values == [None, 0.0, None]


def test_a_wall_clock_put_back_changes_no_order() -> None:
    """Slots follow the monotonic clock; the wall clock is only told beside."""
    history = History()
    for second, wall in enumerate((5000.0, 5001.0, 1400.0, 1401.0)):
        history.append(powered(float(second), taken_at=wall), 10.0 + second)
    answer = history.query(["power_w"])
    assert answer.series[0].values == [0.0, 1.0, 2.0, 3.0]
    assert answer.taken_at == [5000.0, 5001.0, 1400.0, 1401.0]


def test_since_and_seconds_cut_the_beginning() -> None:
    """Both limits leave the newest points."""
    history = History()
    for second in range(10):
        history.append(powered(float(second), taken_at=1000.0 + second), float(second))
    assert history.query(["power_w"], seconds=2).series[0].values == [8.0, 9.0]
    assert history.query(["power_w"], since=1007.5).series[0].values == [8.0, 9.0]
    assert history.query(["power_w"], since=2000.0).series[0].values == []


def test_a_gpu_that_vanished_keeps_its_hour_and_then_goes() -> None:
    """Its past stays for as long as the ring is, then its memory is given back."""
    history = History(seconds=10)
    for second in range(3):
        history.append(powered(5.0, gpus=2), float(second))
    for second in range(3, 11):
        history.append(powered(5.0, gpus=1), float(second))
    gone = next(series for series in history.query(["power_w"]).series if series.gpu == 1)
    assert gone.values == [5.0, 5.0, *[None] * 8]
    with_both = history.size_bytes()
    for second in range(11, 14):
        history.append(powered(5.0, gpus=1), float(second))
    assert [series.gpu for series in history.query(["power_w"]).series] == [0]
    assert history.size_bytes() < with_both


def test_steps_take_the_mean_of_gauges_and_the_last_of_counters() -> None:
    """A step over several seconds says which of the two it is, and leaves absent values out of the mean."""
    history = History()
    for second in range(6):
        frame = powered(None if second == 1 else float(second), taken_at=100.0 + second)
        energy = [msgspec.structs.replace(gpu, energy_j=1000.0 * second) for gpu in frame.gpus]
        history.append(msgspec.structs.replace(frame, gpus=energy), 30.0 + second)
    answer = history.query(["power_w", "energy_j"], step_s=3)
    by_name = {series.metric: series for series in answer.series}
    assert (by_name["power_w"].method, by_name["power_w"].values) == ("mean", [1.0, 4.0])
    assert (by_name["energy_j"].method, by_name["energy_j"].values) == ("last", [2000.0, 5000.0])
    assert answer.taken_at == [102.0, 105.0]
    assert answer.step_s == 3
    assert history.query(["power_w"], step_s=3, method="last").series[0].values == [2.0, 5.0]


def test_asking_again_later_gives_the_same_points() -> None:
    """Steps lie on multiples of their length, not on the moment of the question."""
    history = History()
    for second in range(13):
        history.append(powered(float(second)), 100.0 + second)
    before = history.query(["power_w"], step_s=5).series[0].values
    history.append(powered(13.0), 113.0)
    after = history.query(["power_w"], step_s=5).series[0].values
    assert before[:2] == after[:2] == [2.0, 7.0]


def test_an_unknown_metric_is_answered_with_the_allowed_names() -> None:
    """A typing error costs one look at the message."""
    history = History()
    with pytest.raises(UsageError, match=r"'powr'.*power_w"):
        history.query(["powr"])


def test_an_unknown_gpu_and_a_step_out_of_range_are_named() -> None:
    """Both are the caller's mistake and say what would do."""
    history = History()
    history.append(powered(1.0, gpus=2), 0.0)
    with pytest.raises(UsageError, match=r"no GPU 7.*0, 1"):
        history.query(["power_w"], ["7"])
    with pytest.raises(UsageError, match="between 1 and 3600"):
        history.query(["power_w"], step_s=0.5)


def test_gpus_are_chosen_by_index_or_uuid_and_the_host_by_its_metrics() -> None:
    """Naming GPUs leaves the others out."""
    history = History()
    history.append(powered(1.0, gpus=4), 0.0)
    chosen = history.query(["power_w", "host.cpu_pct"], ["1", uuid(3)]).series
    assert [(series.metric, series.gpu) for series in chosen] == [
        ("power_w", 1),
        ("power_w", 3),
        ("host.cpu_pct", None),
    ]


def test_an_empty_history_answers_empty() -> None:
    """Before the first frame there are no points, and no error."""
    assert History().query().taken_at == []


def test_every_declared_metric_can_be_asked_for() -> None:
    """All specs of GPU and host come back, whole numbers as whole numbers."""
    history = History()
    history.append(sample_frame(gpus=1), 0.0)
    series = {one.metric: one for one in history.query().series}
    assert list(series) == [spec.name for spec in (*GPU_SPECS, *HOST_SPECS)]
    assert series["memory_used_bytes"].values == [70 * 2**30]
    assert isinstance(series["memory_used_bytes"].values[0], int)
    assert series["persistence_mode"].values == [1]
    assert series["fan_pct"].values == [None]


def test_an_hour_and_more_leaves_memory_flat_and_small() -> None:
    """For 8 GPUs the arrays stay under 12 MB and do not grow from the first frame to the end of the second hour."""
    history = History()
    frame = sample_frame()
    sizes = set()
    for second in range(7300):
        history.append(frame, float(second))
        if second % 100 == 1:
            sizes.add(history.size_bytes())
    assert len(sizes) == 1
    assert sizes.pop() < 12_000_000


def test_most_appends_write_nothing() -> None:
    """At ten frames a second nine in ten only keep a reference: a hundred thousand take no time to speak of."""
    history = History()
    frame = sample_frame()
    history.append(frame, 0.0)
    began = process_time()
    for _ in range(100_000):
        history.append(frame, 0.5)
    assert process_time() - began < 1.5


def test_a_selection_is_a_copy() -> None:
    """What was selected does not change under the worker that encodes it."""
    history = History()
    history.append(powered(1.0), 0.0)
    selection = history.select(["power_w"])
    history.append(powered(2.0), 0.1)
    history.query(["power_w"])
    assert selection.answer().series[0].values == [1.0]
    assert selection.value_count <= MOST_VALUES


def test_large_counters_keep_their_digits() -> None:
    """Energy of a year and bytes of a large board are not rounded to 7 digits."""
    history = History()
    frame = sample_frame(gpus=1)
    history.append(
        msgspec.structs.replace(frame, gpus=[msgspec.structs.replace(frame.gpus[0], energy_j=22_075_200_123.25)]), 0.0
    )
    value = history.query(["energy_j"]).series[0].values[0]
    assert value is not None
    assert isclose(value, 22_075_200_123.25, rel_tol=1e-15)


def test_values_of_a_gpu_that_does_not_answer_are_gaps() -> None:
    """A stale row shows its last values with their age; the history must not take them for readings."""
    history = History()
    frame = sample_frame()
    history.append(frame, 0.0)
    stale = structs.replace(frame.gpus[0], state="stale", age_s=7.0)
    history.append(structs.replace(frame, gpus=[stale, *frame.gpus[1:]]), 1.0)
    answer = history.query(["power_w", "age_s"], ["0", "1"])
    values = {(series.metric, series.gpu): series.values for series in answer.series}
    assert values["power_w", 0][1] is None
    assert values["age_s", 0][1] == 7.0
    assert values["power_w", 1][1] is not None
