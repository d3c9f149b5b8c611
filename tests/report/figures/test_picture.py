"""Pictures and their data as files."""

from matplotlib.figure import Figure

from hycam_exp.report.figures import style
from hycam_exp.report.figures.picture import Picture


def plate() -> Picture:
    figure = Figure(figsize=(1.5, 1.0))
    figure.subplots().plot([1, 2], label="$x")
    rows = [("b", 10, 0.1), ("b", 9, 1 / 3), ("a", 2, None)]
    return Picture(name="p", figure=figure, columns=("name", "n", "value"), rows=rows)


def test_numbers_are_written_exactly_and_in_order():
    """Rows come by name and size, not by digits; a float reads back as itself; absent is empty."""
    assert plate().csv() == "name,n,value\na,2,\nb,9,0.3333333333333333\nb,10,0.1\n"


def test_pictures_hold_no_time_and_no_version(tmp_path):
    """PDF, PNG and CSV; the fonts of the PDF are TrueType, and nothing says when or with what it was made."""
    with style.applied():
        paths = plate().write(tmp_path)
    assert [path.name for path in paths] == ["p.pdf", "p.png", "p.csv"]
    pdf, png = paths[0].read_bytes(), paths[1].read_bytes()
    assert b"/FontFile2" in pdf
    assert b"/Type3" not in pdf
    for found in (b"CreationDate", b"Producer", b"Creator"):
        assert found not in pdf
    assert b"matplotlib" not in png.lower()


def test_a_users_matplotlibrc_changes_nothing(tmp_path):
    """The look is this project's own, and the settings outside are untouched."""
    import matplotlib

    with style.applied():
        expected = [path.read_bytes() for path in plate().write(tmp_path / "a")]
    with matplotlib.rc_context({"font.size": 20, "pdf.fonttype": 3}):
        with style.applied():
            found = [path.read_bytes() for path in plate().write(tmp_path / "b")]
        assert matplotlib.rcParams["font.size"] == 20
    assert found == expected
