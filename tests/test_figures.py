"""Pictures: one style that stays where it belongs, and a caption and a text with every one."""

import base64

import IPython.display
import matplotlib as mpl
import numpy as np
import pytest
from matplotlib import pyplot as plt

from helpers import figures
from helpers.evaluation import Interval

ABOUT = {"label": "fig-line", "caption": "A line.", "alt": "A line that rises."}
ROWS = [Interval(50.0, 45.0, 56.0), Interval(60.0, 58.0, 61.0), Interval(40.0, 40.0, 40.0)]


@pytest.fixture(autouse=True)
def _no_open_figures():
    plt.close("all")
    yield
    plt.close("all")


@pytest.fixture
def shown(monkeypatch):
    """What was displayed."""
    calls = []
    monkeypatch.setattr(IPython.display, "display", lambda *data, **options: calls.append((data, options)))
    return calls


@pytest.fixture
def axis():
    return figures.figure(2.0)[1][0]


def test_show_displays_a_picture_with_its_label_caption_and_text(shown):
    picture, (axis,) = figures.figure(2.0)
    axis.plot([0, 1])
    figures.show(picture, **ABOUT)
    [((data,), options)] = shown
    assert set(data) == {"image/png", "text/plain"}
    assert base64.b64decode(data["image/png"]).startswith(b"\x89PNG\r\n\x1a\n")
    assert data["text/plain"] == "[A line that rises.]"
    assert options == {"raw": True, "metadata": {"book": ABOUT}}


def test_the_picture_has_the_books_resolution_and_a_white_ground(shown, tmp_path):
    picture, (axis,) = figures.figure(2.0)
    axis.plot([0, 1])
    figures.show(picture, **ABOUT)
    (tmp_path / "a.png").write_bytes(base64.b64decode(shown[0][0][0]["image/png"]))
    pixels = plt.imread(tmp_path / "a.png")
    assert pixels.shape[1] == pytest.approx(figures.WIDTH * figures.STYLE["savefig.dpi"], rel=0.1)
    np.testing.assert_array_equal(pixels[0, 0], [1, 1, 1, 1])


def test_a_real_display_publishes_the_metadata(monkeypatch, capsys):
    published = []
    monkeypatch.setattr("IPython.core.display_functions.publish_display_data", lambda **given: published.append(given))
    monkeypatch.setattr("IPython.core.interactiveshell.InteractiveShell.initialized", lambda: True)
    figures.show(figures.figure(1.0)[0], **ABOUT)
    [given] = published
    assert given["metadata"] == {"book": ABOUT}
    assert "image/png" in given["data"]


def test_the_figure_is_closed_afterwards(shown):
    picture, _ = figures.figure(2.0)
    assert plt.fignum_exists(picture.number)
    figures.show(picture, **ABOUT)
    assert not plt.get_fignums()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label": "line"}, "figure label 'line' should begin with 'fig-'"),
        ({"label": ""}, "figure label '' should begin with 'fig-'"),
        ({"caption": ""}, "figure 'fig-line' needs a caption and an alternative text"),
        ({"caption": " \n"}, "needs a caption"),
        ({"alt": ""}, "needs a caption and an alternative text"),
        ({"alt": "  "}, "needs a caption and an alternative text"),
    ],
)
def test_label_caption_and_text_are_checked(shown, change, message):
    with pytest.raises(ValueError, match=message):
        figures.show(figures.figure(1.0)[0], **{**ABOUT, **change})
    assert not shown


def test_the_style_stays_out_of_the_global_settings(shown, axis):
    before = dict(mpl.rcParams)
    picture, (axis, _) = figures.figure(2.0, columns=2)
    figures.intervals(axis, "abc", ROWS)
    figures.show(picture, **ABOUT)
    assert dict(mpl.rcParams) == before


def test_figures_have_the_style_whatever_is_set_around_them():
    with plt.rc_context({"axes.spines.top": True, "axes.grid": False}):
        _, (axis,) = figures.figure(2.0)
    assert not axis.spines["top"].get_visible()
    assert axis.xaxis.get_gridlines()[0].get_visible()


@pytest.mark.parametrize("columns", [1, 3])
def test_panels_stand_side_by_side(columns):
    picture, axes = figures.figure(2.5, columns=columns)
    assert len(axes) == columns
    np.testing.assert_allclose(picture.get_size_inches(), [figures.WIDTH, 2.5])
    picture.draw_without_rendering()
    left = [axis.get_position().x0 for axis in axes]
    assert left == sorted(left)


def test_intervals_stand_in_order_from_the_top(axis):
    figures.intervals(axis, ["first", "second", "third"], ROWS)
    names = {label.get_text(): tick for label, tick in zip(axis.get_yticklabels(), axis.get_yticks(), strict=True)}
    assert names["first"] > names["second"] > names["third"]
    points = axis.containers[0].lines[0]
    height = dict(zip(points.get_ydata(), points.get_xdata(), strict=True))
    assert [height[names[name]] for name in ("first", "second", "third")] == [50, 60, 40]


def test_intervals_reach_from_low_to_high(axis):
    figures.intervals(axis, "abc", ROWS)
    bars = [segment[:, 0] for segment in axis.containers[0].lines[2][0].get_segments()]
    np.testing.assert_allclose(bars, [[row.low, row.high] for row in ROWS])


def test_a_value_outside_its_own_percentiles_is_drawn(axis):
    figures.intervals(axis, "a", [Interval(10.0, 11.0, 12.0)])
    [bar] = axis.containers[0].lines[2][0].get_segments()
    np.testing.assert_allclose(bar[:, 0], [10, 12])


@pytest.mark.parametrize("reference", [None, 0.0, 55.0])
def test_a_reference_is_a_vertical_line(axis, reference):
    figures.intervals(axis, "abc", ROWS, reference=reference)
    lines = [line for line in axis.lines if line.get_linestyle() == "--"]
    assert [list(line.get_xdata()) for line in lines] == ([] if reference is None else [[reference, reference]])


def test_a_heatmap_shows_every_number_in_a_colour_that_can_be_read(axis):
    matrix = np.array([[1.0, 0.126], [-0.5, 0.9]])
    figures.heatmap(axis, matrix, ["a", "b"], low=-1, high=1)
    written = {text.get_position(): (text.get_text(), text.get_color()) for text in axis.texts}
    assert written == {
        (0, 0): ("1.00", "black"),
        (1, 0): ("0.13", "black"),
        (0, 1): ("-0.50", "white"),
        (1, 1): ("0.90", "black"),
    }
    picture = axis.images[0]
    for (column, row), (_, colour) in written.items():
        brightness = picture.cmap(picture.norm(matrix[row, column]))[:3] @ np.array([0.2126, 0.7152, 0.0722])
        assert (brightness > 0.45) == (colour == "black")
