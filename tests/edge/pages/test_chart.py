"""Charts as SVG text."""

from xml.etree import ElementTree

import pytest

from edge.pages.chart import BLUE, RED, Chart, Scale

NAME = "<b>&\"'"


@pytest.mark.parametrize(("low", "high", "log"), [(0.5, 20.0, False), (0.5, 2000.0, True), (3.0, 4.0, True)])
def test_a_scale_puts_its_ends_at_its_ends_and_has_ticks_between(low, high, log):
    scale = Scale(low, high, 10, 110, log)
    assert (scale(low), scale(high)) == (pytest.approx(10), pytest.approx(110))
    assert scale.ticks()
    assert all(low <= tick <= high * 1.001 for tick in scale.ticks())


def test_a_chart_of_one_value_can_be_drawn():
    chart = Chart((5.0, 5.0), (2.0, 2.0), "s", "ms", log_x=True, log_y=True)
    chart.line([5.0], [2.0], "red")
    assert "nan" not in chart.svg()


def test_words_in_a_chart_are_text_and_not_markup():
    chart = Chart((0, 1), (0, 1), NAME, NAME, x_labels={0.5: NAME})
    chart.dot(0.2, 0.2, BLUE, NAME)
    chart.label(0.9, 0.2, NAME, BLUE)
    chart.upright(0.5, NAME, RED)
    texts = [element.text for element in ElementTree.fromstring(chart.svg()).iter() if element.text]
    assert texts.count(NAME) == 6


def test_what_lies_outside_the_axes_is_drawn_at_their_end():
    chart = Chart((0, 10), (0, 10), "", "")
    chart.box((-5, 20), (0, 5), BLUE)
    (box,) = ElementTree.fromstring(chart.svg()).iter("rect")
    left, width = float(box.get("x")), float(box.get("width"))
    assert 0 < left < left + width < chart.width


def test_a_label_at_the_right_edge_ends_there():
    svg = Chart((0, 8), (0, 1), "", "", x_labels={0: "14:00", 8: "22:00"}).svg()
    assert '<text x="760.0" y="256" text-anchor="end">22:00' in svg
    assert '<text x="58.0" y="256" text-anchor="middle">14:00' in svg
