"""Choosing features: what is noise goes, what tells something stays."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse as scipy
from sklearn.decomposition import PCA
from sklearn.metrics import mutual_info_score
from sklearn.preprocessing import StandardScaler

from keepfit.errors import ConfigError
from keepfit.features import select, selection, sparse, text

RNG = np.random.default_rng(0)
N = 2000
SIGNAL = RNG.normal(size=(N, 2))
TARGET = ((SIGNAL[:, 0] + np.abs(SIGNAL[:, 1]) + 0.3 * RNG.normal(size=N)) > 0.8).astype(np.float64)[:, None]
MATRIX = np.column_stack([SIGNAL, RNG.normal(size=(N, 20))]).astype(np.float32)


def fit(matrix, target, method, keep=None, classification=True, terms_from=0):
    return select.fit(matrix, target, {"method": method, "keep": keep}, classification, terms_from, 0)


@pytest.mark.parametrize("method", ["mutual_information", "importance"])
@pytest.mark.parametrize("classification", [True, False])
def test_signal_is_kept_and_most_noise_goes(method, classification):
    target = TARGET if classification else (SIGNAL[:, :1] + SIGNAL[:, 1:] ** 2)
    state = fit(MATRIX, target, method, keep=2, classification=classification)
    assert state["keep"].tolist() == [0, 1]
    np.testing.assert_array_equal(select.compiled(state)(MATRIX), MATRIX[:, :2])
    assert select.names(state, [f"f{i}" for i in range(22)]) == ["f0", "f1"]


def test_mutual_information_by_itself_keeps_what_beats_chance():
    state = fit(MATRIX, TARGET, "mutual_information")
    assert {0, 1} <= set(state["keep"])
    assert len(state["keep"]) <= 5


def test_mutual_information_is_that_of_scikit_learn_on_the_same_bins():
    told, _ = selection.information(MATRIX, TARGET, True)
    for i in (0, 1, 5):
        bins = selection._bins(MATRIX[:, i], selection.BINS)
        assert told[i] == pytest.approx(mutual_info_score(bins, TARGET[:, 0]), abs=1e-12)


def test_missing_values_can_tell_something():
    gaps = np.where(TARGET[:, 0] > 0, np.nan, 1.0).astype(np.float32)
    told, chance = selection.information(np.column_stack([gaps, MATRIX[:, 5]]), TARGET, True)
    assert told[0] > 0.5 > chance[0]


def test_a_share_of_the_features():
    assert len(fit(MATRIX, TARGET, "mutual_information", keep=0.5)["keep"]) == 11


def test_auto_drops_constants_and_copies():
    constant, gap = np.ones((N, 1)), np.full((N, 1), np.nan)
    late = np.zeros((N, 1))
    late[1] = 1  # differs in one row only
    matrix = np.hstack([MATRIX[:, :2], constant, MATRIX[:, :1], gap, late, np.zeros((N, 1)), late]).astype(np.float32)
    state = fit(matrix, TARGET, "auto")
    assert state["keep"].tolist() == [0, 1, 5]


def test_auto_leaves_alone_what_is_fine():
    assert fit(MATRIX, TARGET, "auto") is None
    assert fit(MATRIX, TARGET, "none") is None


def test_a_column_with_one_value_and_gaps_is_not_constant():
    gaps = np.where(RNG.random(N) < 0.5, np.nan, 1.0)
    assert fit(np.column_stack([gaps, MATRIX[:, 0]]).astype(np.float32), TARGET, "auto") is None


def test_auto_of_very_many_keeps_the_informative():
    wide = np.column_stack([RNG.normal(size=(N, 300)), SIGNAL]).astype(np.float32)
    state = fit(wide, TARGET, "auto")
    assert len(state["keep"]) == 200
    assert {300, 301} <= set(state["keep"])


def test_pca_is_that_of_scikit_learn():
    mixed = (MATRIX[:, :5] @ RNG.normal(size=(5, 8))).astype(np.float32)
    state = fit(mixed, TARGET, "pca", keep=3)
    ours = select.compiled(state)(mixed)
    theirs = PCA(3).fit_transform(StandardScaler().fit_transform(mixed.astype(np.float64)))
    np.testing.assert_allclose(np.abs(ours), np.abs(theirs), rtol=1e-3, atol=1e-4)
    assert select.names(state, [str(i) for i in range(8)]) == ["component 0", "component 1", "component 2"]
    assert select.width(fit(mixed, TARGET, "pca")) == 5  # five directions hold all the variance


def test_pca_of_more_columns_than_rows_and_of_gaps():
    wide = RNG.normal(size=(10, 40)).astype(np.float32)
    wide[0, 0] = np.nan
    wide[:, 1] = 3
    state = fit(wide, None, "pca")
    found = select.compiled(state)(wide)
    assert found.shape[1] <= 10
    assert np.isfinite(found).all()
    np.testing.assert_allclose(select.compiled(state)(wide[:1])[0], found[0], rtol=1e-4, atol=1e-5)


def test_only_mutual_information_chooses_terms_and_it_leaves_the_numbers():
    words = ["good" if t else "bad" for t in TARGET[:, 0]]
    noise = RNG.choice(["x", "y", "z"], N)
    tokens = text.tokens([f"{w} {n}" for w, n in zip(words, noise, strict=True)])
    state, terms = text.fit({"t": tokens}, None, text.DEFAULTS, 0)
    both = sparse.join([MATRIX[:, 5:6], terms])
    found = fit(both, TARGET, "mutual_information", terms_from=1)
    kept = [["a number", *text.names(state)][i] for i in found["keep"]]
    assert kept[0] == "a number"
    assert {"t: good", "t: bad"} <= set(kept)
    taken = select.compiled(found)(both)
    full = scipy.csr_matrix((both.data, both.indices, both.indptr), (N, both.width)).toarray()
    ours = scipy.csr_matrix((taken.data, taken.indices, taken.indptr), (N, taken.width)).toarray()
    np.testing.assert_array_equal(ours, full[:, found["keep"]])
    assert [fit(both, TARGET, m, terms_from=1) for m in ("auto", "importance", "pca")] == [None] * 3


def test_information_of_terms_is_that_of_scikit_learn():
    block = (RNG.random((N, 4)) < [0.5, 0.1, 0.9, 0]).astype(np.float32)
    block[:, 0] = TARGET[:, 0]
    told, _ = selection.term_information(sparse.compress(block), TARGET, True)
    expected = [mutual_info_score(block[:, i], TARGET[:, 0]) for i in range(4)]
    np.testing.assert_allclose(told, expected, atol=1e-9)


def test_three_classes():
    target = np.eye(3)[np.digitize(SIGNAL[:, 0], [-0.5, 0.5])]
    assert 0 in fit(MATRIX, target, "importance", keep=1)["keep"]
    assert 0 in fit(MATRIX, target, "mutual_information", keep=1)["keep"]


def test_an_unknown_method():
    with pytest.raises(ConfigError, match=r"features.select: unknown name 'pcaa'. Did you mean 'pca'\?"):
        fit(MATRIX, TARGET, "pcaa")


def test_without_a_target_nothing_is_chosen_by_it():
    assert fit(MATRIX, None, "mutual_information") is None
    assert fit(MATRIX, None, "importance") is None
