import numpy as np
from matplotlib.image import imread

from nnunet_ext.tuning.pictures import CandidateScore, draw_tuning
from nnunet_ext.tuning.recommendation import WeightMatrix


def test_the_picture_grows_with_candidates(tmp_path):
    matrix = WeightMatrix(["2d"], ["background", "liver"], np.ones((1, 2)))
    heights = []
    for number in (2, 12):
        bars = [
            CandidateScore(name=f"candidate {n}", score=0.8 + n / 100, standard_error=0.01, is_chosen=n == 1)
            for n in range(number)
        ]
        draw_tuning(bars, matrix, tmp_path / "tuning.png")
        heights.append(imread(tmp_path / "tuning.png").shape[0])
    assert heights[0] < heights[1]


def test_a_candidate_without_a_score_is_drawn_around(tmp_path):
    matrix = WeightMatrix(["2d"], ["liver"], np.ones((1, 1)))
    draw_tuning(
        [
            CandidateScore(name="a", score=float("nan"), standard_error=0.0, is_chosen=False),
            CandidateScore(name="b", score=0.5, standard_error=0.1, is_chosen=True),
        ],
        matrix,
        tmp_path / "t.png",
    )
    assert imread(tmp_path / "t.png").std() > 0
