"""Lines as prometheus-client would write them, whatever stands in them."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families as read_text
from prometheus_client.utils import floatToGoString

from gpuwatch_exporters.prometheus.encoding import LONGEST_LABEL, LineWriter, as_bytes, beginning_of, clean, number
from gpuwatch_exporters.prometheus.family import Family, Page
from gpuwatch_exporters.prometheus.subjects import FRESHNESS, SUBJECTS

# A machine that does other things as well is slow, and not wrong.
BUSY = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
FAMILY = Family(name="gpuwatch_probe", help="Help.", labels=("b", "a"))


def written(labels: tuple[str, str], value: float = 1.5) -> bytes:
    page = Page()
    page.of(FAMILY)[labels] = value
    return as_bytes(LineWriter().blocks(page), "text")


@BUSY
@given(st.floats() | st.integers(min_value=-(2**63), max_value=2**63) | st.booleans())
def test_numbers_are_written_as_the_client_library_writes_them(value: float) -> None:
    """Any number at all, the odd ones too."""
    assert number(value) == floatToGoString(value)  # type: ignore[no-untyped-call]  # the library left this one out


@BUSY
@given(st.text(max_size=LONGEST_LABEL), st.text(max_size=LONGEST_LABEL))
def test_label_values_come_back_as_they_were(first: str, second: str) -> None:
    """Quotes, line ends, backslashes, any script: the same bytes as the client library's."""
    made = GaugeMetricFamily("gpuwatch_probe", "Help.", labels=("b", "a"))
    made.add_metric([first, second], 1.5)

    class Registry:
        def collect(self) -> list[GaugeMetricFamily]:
            return [made]

    assert written((first, second)) == generate_latest(Registry())


def test_what_is_no_text_is_replaced() -> None:
    """Half a surrogate, as a file name that is not UTF-8 leaves it, does not break the scrape of everything else."""
    body = written(("caf\udce9 \ud800", "b"))
    (family,) = read_text(body.decode())
    label = family.samples[0].labels["b"]
    assert label.startswith("caf")
    assert "\ufffd" in label


def test_a_label_has_an_end() -> None:
    """A process that calls itself by a book's text takes a line, not a page."""
    assert len(clean("x" * 100_000)) == LONGEST_LABEL
    assert clean("x" * LONGEST_LABEL) == "x" * LONGEST_LABEL
    assert clean("é" * 300).endswith("…")


def test_labels_that_come_twice_are_one_series() -> None:
    """Prometheus refuses a whole scrape in which a series is given twice."""
    page = Page()
    page.of(FAMILY)["x", "y"] = 1
    page.of(FAMILY)["x", "y"] = 2
    assert as_bytes(LineWriter().blocks(page), "text").count(b"\ngpuwatch_probe{") == 1


def test_labels_that_become_one_are_one_series() -> None:
    """Cut short or mended two names may be the same: the first stands, in this scrape and in the next."""
    writer = LineWriter()
    for _ in range(2):
        page = Page()
        page.of(FAMILY)["x" * 300 + "1", "\ud800"] = 1
        page.of(FAMILY)["x" * 300 + "2", "\ud801"] = 2
        page.of(FAMILY)["y", "y"] = 3
        body = as_bytes(writer.blocks(page), "text").decode()
        (family,) = read_text(body)
        assert [sample.value for sample in family.samples] == [1, 3]


def test_families_without_samples_are_left_out() -> None:
    """No heading stands without anything below it."""
    page = Page()
    page.of(FAMILY)
    assert LineWriter().blocks(page) == []


def test_beginnings_of_lines_are_kept_and_forgotten() -> None:
    """Processes come and go for years: what is kept of their lines does not grow without end, and stays right."""
    writer = LineWriter(most_kept=10)
    for pid in range(200):
        page = Page()
        page.of(FAMILY)[str(pid), ""] = pid
        ((_, lines),) = writer.blocks(page)
        assert lines == f'gpuwatch_probe{{a="",b="{pid}"}} {float(pid)}\n'
        assert sum(len(known) for known in writer._beginnings.values()) <= 11


def test_declared_help_needs_no_escaping_and_names_are_declared_once() -> None:
    """Headings are written as they are declared: so no help has what would have to be escaped, and no name comes twice."""
    declared = [family for subject in SUBJECTS for family in subject.families] + list(FRESHNESS)
    assert len({family.name for family in declared}) == len(declared)
    for family in declared:
        assert not set(family.help) & {"\\", '"', "\n"}, family.name
        assert family.help.endswith("."), family.name
        assert (family.kind == "counter") == family.name.endswith("_total"), family.name
    assert beginning_of(FRESHNESS[0], ()) == "gpuwatch_up "
