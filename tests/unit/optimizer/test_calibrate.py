import numpy as np
import pytest
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from optimizer.calibrate import Labels, families, fit, logits, quality
from router_core.decide.calibration import Logistic, apply


def labels(seed: int, n: int, n_kinds: int, spread: float) -> tuple[Labels, np.ndarray]:
    """Overconfident answers: the truth is half as steep, and types differ by ``spread``."""
    rng = np.random.default_rng(seed)
    kind = rng.integers(0, n_kinds, n)
    z = rng.normal(2.0, 1.5, n)
    own = rng.normal(0, spread, n_kinds)
    truth = expit(0.5 * z + own[kind] - 0.3)
    drawn = (rng.random(n) < truth).astype(np.float64)
    return Labels(confidence=expit(z), correct=drawn, kind=kind, weight=np.ones(n)), truth


def test_curve_of_one_type_is_the_logistic_regression() -> None:
    made, _ = labels(1, 3000, 1, 0.0)
    found = fit(made, 1)
    oracle = LogisticRegression(C=1e6).fit(logits(made.confidence)[:, None], made.correct)
    assert found.slope[0] == pytest.approx(oracle.coef_[0, 0], rel=0.02)
    assert found.intercept[0] == pytest.approx(oracle.intercept_[0], abs=0.02)


def test_the_router_applies_the_same_curve() -> None:
    made, _ = labels(2, 500, 3, 0.5)
    found = fit(made, 3)
    for kind in range(3):
        curve = Logistic(a=float(found.slope[kind]), b=float(found.intercept[kind]))
        for raw in (0.0, 1e-7, 0.3, 0.999, 1.0):
            mine = found.apply(np.array([raw]), np.array([kind]))[0]
            assert apply(curve, raw) == pytest.approx(mine, abs=1e-9)


def test_types_keep_what_is_their_own_and_borrow_the_rest() -> None:
    made, truth = labels(3, 2000, 40, 0.8)
    own = fit(made, 40)
    p = own.apply(made.confidence, made.kind)
    alone = np.array([made.correct[made.kind == kind].mean() for kind in range(40)])[made.kind]
    assert ((p - truth) ** 2).mean() < 0.6 * ((alone - truth) ** 2).mean()
    assert own.sizes[0] == pytest.approx(0.8, abs=0.3)


def test_a_type_without_labels_has_the_common_curve() -> None:
    made, _ = labels(4, 2000, 10, 0.3)
    found = fit(made, 11)
    assert found.slope[10] == pytest.approx(np.median(found.slope[:10]), rel=0.3)


@pytest.mark.parametrize("right", [0.0, 1.0])
def test_all_wrong_and_all_right_stay_finite_and_rising(right: float) -> None:
    made, _ = labels(5, 50, 3, 0.3)
    found = fit(Labels(confidence=made.confidence, correct=np.full(50, right), kind=made.kind, weight=made.weight), 3)
    assert np.isfinite(found.slope).all()
    assert (found.slope > 0).all()
    assert abs(found.apply(np.array([0.9]), np.array([0]))[0] - right) < 0.1


def test_one_label_and_equal_confidences() -> None:
    one = Labels(confidence=np.array([0.5]), correct=np.array([1.0]), kind=np.array([0]), weight=np.array([1.0]))
    assert np.isfinite(fit(one, 2).intercept).all()


def test_quality_meets_its_oracle_and_knows_what_is_off() -> None:
    made, truth = labels(6, 6000, 1, 0.0)
    rng = np.random.default_rng(0)
    good, raw = quality(truth, made.correct, rng), quality(made.confidence, made.correct, rng)
    assert raw.auroc == pytest.approx(roc_auc_score(made.correct, made.confidence))
    assert good.ece < 0.03 < raw.ece
    assert not good.is_off()
    assert raw.is_off()
    assert good.brier < raw.brier
    assert sum(each.n for each in good.reliability) == 6000


def test_families_are_what_stands_before_the_last_dot() -> None:
    names = [f"invoice.{i}" for i in range(5)] + [f"mail/{i}" for i in range(6)] + ["alone", "few.1"]
    found = families(names)
    assert found.shape == (13, 2)
    assert found.sum(axis=0).tolist() == [6, 5]
    assert families([]).shape == (0, 0)
