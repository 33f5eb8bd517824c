import csv
import io
import re

import pytest

from benchmarks import plots
from benchmarks.plots import Chart, Curve, Figure

CPU = Figure("cpu_us", "CPU µs", compared=True)
WAIT = Figure("wait_s", "wait s", ",.2f")
BEGIN, END = "<!-- curve: devices -->", "<!-- end of curve: devices -->"

CURVE = Curve(
    "devices",
    (100, 100_000),
    ("100", "100,000"),
    # the machine was twice as slow in the second round: what counts is that both points were
    {CPU: [[200.0, 300.0], [400.0, 640.0], [100.0, 140.0]], WAIT: [[0.5, 1_234.5]]},
)


def test_the_table_has_medians_and_compares_each_point_with_the_smallest_one_of_the_same_round() -> None:
    assert plots.table(CURVE).split("\n") == [
        "| devices | CPU µs | beside 100 | wait s |",
        "|---|---|---|---|",
        "| 100 | 200 |  | 0.50 |",
        "| 100,000 | 300 | 1.50 x (1.40 .. 1.60) | 1,234.50 |",
    ]


def test_the_data_have_every_point_and_figure_with_its_spread() -> None:
    rows = list(csv.DictReader(io.StringIO(plots.data(CURVE))))
    assert [(row["point"], row["figure"], row["rounds"]) for row in rows] == [
        ("100", "cpu_us", "3"),
        ("100", "wait_s", "1"),
        ("100000", "cpu_us", "3"),
        ("100000", "wait_s", "1"),
    ]
    assert list(rows[2].values())[3:] == ["300", "140", "640", "1.5", "1.4", "1.6"]


def test_a_ratio_to_nothing_is_left_out_of_the_data() -> None:
    curve = Curve("devices", (1, 2), ("1", "2"), {CPU: [[0.0, 3.0]]})
    assert plots.data(curve).split("\n")[2] == "2,cpu_us,1,3,3,3,,,"


def test_a_plot_is_drawn_from_the_medians() -> None:
    assert plots.chart(CURVE, Chart("How long", "seconds", WAIT)).split("\n") == [
        "```mermaid",
        "xychart-beta",
        '    title "How long"',
        '    x-axis "devices" ["100", "100,000"]',
        '    y-axis "seconds" 0 --> 1500',
        "    bar [0.5, 1234]",
        "```",
    ]


def test_a_plot_may_show_ratios_and_a_second_figure() -> None:
    lines = plots.chart(CURVE, Chart("Both", "times", WAIT, CPU, relative=True)).split("\n")
    assert lines[4:7] == ['    y-axis "times" 0 --> 2500', "    bar [1, 2469]", "    line [1, 1.5]"]


@pytest.mark.parametrize("value", [0.0, 1e-7, 0.031, 1.0, 999.96, 1_000.0, 12_345.678, 1e9])
def test_numbers_of_a_plot_have_neither_exponents_nor_commas_and_fit_below_the_end_of_the_axis(value: float) -> None:
    curve = Curve("devices", (1,), ("1",), {WAIT: [[value]]})
    text = plots.chart(curve, Chart("How long", "seconds", WAIT))
    found = re.search(r"0 --> (\d+(?:\.\d+)?)\n +bar \[(\d+(?:\.\d+)?)\]", text)
    assert found is not None
    assert float(found[1]) >= float(found[2]) == pytest.approx(value, rel=1e-3)


def test_what_is_between_the_markers_is_replaced_again_and_again_and_nothing_else() -> None:
    document = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    once = plots.replaced(document, "devices", "new")
    assert once == f"before\n{BEGIN}\nnew\n{END}\nafter\n"
    assert plots.replaced(once, "devices", "new") == once


@pytest.mark.parametrize(
    "document",
    [
        "",
        BEGIN,
        END,
        f"{END} {BEGIN}",
        f"{BEGIN} {BEGIN} {END}",
        f"{BEGIN} {END} {END}",
        f"{BEGIN.replace('devices', 'events')} {END}",
    ],
)
def test_a_document_without_both_markers_once_and_in_order_is_refused(document: str) -> None:
    with pytest.raises(ValueError, match=BEGIN):
        plots.replaced(document, "devices", "new")
