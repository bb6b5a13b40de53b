from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

from driftline.detection.distributions import log_normal_tail, normal_score, normal_tail, t_tail

FAR = np.concatenate([np.linspace(0, 40, 2001), np.logspace(2, 4, 50)])


def test_tails_of_the_normal_distribution_are_those_of_scipy_however_far_out() -> None:
    z = np.concatenate([-FAR[FAR < 8], FAR])
    np.testing.assert_allclose(log_normal_tail(z), special.log_ndtr(-z), rtol=1e-12)
    np.testing.assert_allclose(normal_tail(z[z < 37]), special.ndtr(-z[z < 37]), rtol=1e-10)


def test_normal_scores_are_those_of_scipy() -> None:
    p = np.concatenate([np.logspace(-300, -0.31, 2000), 1 - np.logspace(-12, -0.31, 200)])
    np.testing.assert_allclose(normal_score(p), special.ndtri(p), rtol=1e-12)


@pytest.mark.parametrize("dof", [12.0, 6.0, 1.5])
def test_tails_of_students_t_are_those_of_scipy(dof: float) -> None:
    t = np.concatenate([FAR, np.logspace(-8, 20, 500)])
    expected = special.stdtr(dof, -t)
    there = expected > 1e-290
    np.testing.assert_allclose(t_tail(t, dof)[there], expected[there], rtol=1e-9)


@given(st.floats(0, 1e300))
def test_tails_never_warn_and_stay_probabilities(t: float) -> None:
    for dof in (12.0, 6.0, 1.5):
        with np.errstate(under="ignore"):
            assert 0 <= t_tail(np.array([t]), dof)[0] <= 0.5
