"""Series whose cells ran beside others have no times: the figure of times leaves them out."""

from benches.report.data.series import Series
from benches.report.figures.drawings import draw_scaling
from benches.stats import scaling


def test_series_without_times_are_left_out_of_the_figure_of_times(tmp_path):
    timeless = Series("train/whole", "train/whole", "agents", "wall", 1.25)
    samples = {float(n): [0.1 + 0.01 * n] * 5 for n in (1, 10, 100)}
    timed = Series("step/agents", "step/agents", "agents", "cpu", 1.25, law=scaling.fit([samples] * 3))
    assert draw_scaling([timeless], tmp_path / "none") == []
    assert all(path.stat().st_size > 0 for path in draw_scaling([timeless, timed], tmp_path / "some"))
