"""Every page: one style, all text escaped, nothing fetched."""

import base64
import re

import cv2
import jinja2
import numpy as np
import pytest

from edge.pages.kit import number, render
from edge.pages.pictures import picture_uri

# a name that is markup, with a byte that is no text
NAME = "<b>&\"'-\udce4.png"
ESCAPED = "&lt;b&gt;&amp;&#34;&#39;-\\udce4.png"
CURVE = {"title": NAME, "head": [NAME], "rows": [[NAME]]}


class Drawing:
    """Stands where a chart does."""

    key = (("blue", NAME),)

    def __html__(self):
        return "<svg></svg>"


def page(**values):
    report = {"mode": "curves"}
    curves = [{**CURVE, "chart": Drawing()}]
    return render(
        "benchmark.html", **{"report": report, "curves": curves, "run": NAME, "machine": {NAME: NAME}, **values}
    )


def test_names_are_text_in_every_place_of_a_page():
    text = page()
    assert "<b>" not in text
    assert text.count(ESCAPED) == 7
    text.encode()


def test_a_page_is_one_file_for_light_and_dark_and_paper():
    text = page()
    assert text.startswith("<!doctype html>")
    assert "prefers-color-scheme: dark" in text
    assert "@media print" in text
    assert not re.search(r"https?:|(?:src|href)=|@import|url\(|<script", text)


def test_a_template_without_its_value_is_an_error_and_not_a_gap():
    with pytest.raises(jinja2.UndefinedError, match="mode"):
        render("benchmark.html", report={}, machine={})


def test_facts_that_are_not_known_are_left_out():
    assert "board" not in page(machine={"board": None, "GPUs": ""})


def test_a_picture_inside_a_page_has_the_same_pixels():
    picture = np.random.default_rng(0).integers(0, 256, (7, 5, 3), np.uint8)
    kind, data = picture_uri(picture).split(",")
    assert kind == "data:image/png;base64"
    assert (cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR) == picture).all()


def test_no_number_is_a_dash():
    assert (number(0.1234, ".1%"), number(0.0, ".2f"), number(None, ".2f")) == ("12.3%", "0.00", "–")
