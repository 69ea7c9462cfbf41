"""Two-sample tests: exact where they say so, and never too sure far in the tail."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.spatial import distance

from keepfit.monitoring import two_sample
from keepfit.monitoring.two_sample import layout

LEVELS = 10.0 ** -np.arange(1, 9)


def single(values):
    return np.array([values])


@pytest.mark.parametrize(("live", "reference", "n", "rows"), [(1, 299, 1, 300), (1, 400, 1, 800), (9, 2000, 10, 4000)])
def test_a_surplus_in_few_rows_is_exact_however_many_events_there_are(live, reference, n, rows):
    exact = stats.hypergeom.sf(live - 1, n + rows, live + reference, n)
    found = two_sample.surplus(*(single(x) for x in (live, reference, n, rows)))[0]
    assert found == pytest.approx(exact, rel=1e-6)


@given(st.integers(1, 400), st.integers(1, 4000), st.data())
def test_a_surplus_is_never_taken_for_rarer_than_it_is(n, rows, data):
    live, reference = data.draw(st.integers(0, n)), data.draw(st.integers(0, rows))
    exact = stats.hypergeom.sf(live - 1, n + rows, live + reference, n)
    found = two_sample.surplus(*(single(x) for x in (live, reference, n, rows)))[0]
    assert found >= exact * (1 - 1e-6)
    if live + reference < two_sample.TERMS and live * rows > reference * n:
        assert found == pytest.approx(exact, rel=1e-6)


@pytest.mark.parametrize(
    ("live", "reference", "n", "rows"), [(5_300, 25_000, 10_000, 50_000), (520_000, 25_000, 1_000_000, 50_000)]
)
def test_a_surplus_of_many_events_is_bounded_closely(live, reference, n, rows):
    exact = stats.hypergeom.sf(live - 1, n + rows, live + reference, n)
    found = two_sample.surplus(*(single(x) for x in (live, reference, n, rows)))[0]
    assert exact * (1 - 1e-4) <= found <= exact * 1.2


def tables(both, n):
    """All windows of n rows that two samples with these sums may give, and their chances."""
    live = np.array([t for t in itertools.product(*(range(m + 1) for m in both)) if sum(t) == n])
    chance = np.exp(two_sample._choose(np.array(both, float), live).sum(axis=1) - two_sample._choose(sum(both), n))
    return live, np.array(both) - live, chance


SUMS = [((0, 260, 40), 60), ((0, 150, 150), 100), ((0, 30, 60, 90), 40), ((6, 20, 100, 30), 50), ((0, 6, 6, 6), 9)]


@pytest.mark.parametrize(("both", "n"), SUMS)
@pytest.mark.parametrize("test", ["cell", "chi_square", "ranks", "kolmogorov_smirnov"])
def test_p_values_hold_down_to_1e_8(test, both, n):
    live, reference, chance = tables(both, n)
    where = layout([len(both)], [test in ("ranks", "kolmogorov_smirnov")])
    found = getattr(two_sample, test)(where, reference, live)
    p = (found[0] if test == "cell" else found)[:, 0]
    factor = {"cell": 1.0, "kolmogorov_smirnov": 1.0}.get(test, 3.0)  # the others are approximations
    for level in LEVELS:
        assert chance[p <= level].sum() <= level * factor * 1.000001


def test_pearson_would_not_hold():
    """The check above can fail: Pearson's chi-square is wrong by orders of magnitude there."""
    live, reference, chance = tables((0, 1000, 20), 60)
    both, n = live + reference, 60
    expected = both * n / 1020
    with np.errstate(invalid="ignore", divide="ignore"):
        statistic = np.nansum((live - expected) ** 2 / expected / (1 - n / 1020), axis=1)
    assert chance[stats.chi2.sf(statistic, 1) <= 1e-8].sum() > 1e-8 * 100
    p = two_sample.chi_square(layout([3], [False]), reference, live)[:, 0]
    assert chance[p <= 1e-8].sum() <= 3e-8


@pytest.mark.parametrize("cells", [np.full(18, 1.0), 1 / np.arange(1, 41) ** 1.5, np.array([90.0, 5, 3, 1, 1, 0.1])])
@pytest.mark.parametrize(("n", "rows"), [(200, 5000), (1000, 1000)])
def test_without_change_small_p_values_are_as_rare_as_they_say(cells, n, rows):
    random, passes, level = np.random.default_rng(7), 20_000, 2e-3
    where = layout([len(cells) + 1], [True])
    share = np.r_[0.01, cells / cells.sum() * 0.99]
    reference, live = (random.multinomial(size, share, passes) for size in (rows, n))
    found = {
        "ranks": two_sample.ranks(where, reference, live),
        "chi-square": two_sample.chi_square(layout(where.sizes, [False]), reference, live),
        "cell": two_sample.cell(where, reference, live)[0],
        "ks": two_sample.kolmogorov_smirnov(where, reference, live),
    }
    for name, p in found.items():
        assert stats.binomtest(int((p <= level).sum()), passes, level * 1.5, "greater").pvalue > 1e-3, name


def test_simulations_and_single_passes_run_alike():
    random = np.random.default_rng(1)
    where = layout([5, 3, 9], [True, False, True])
    reference, live = random.integers(0, 90, (4, 17)), random.integers(0, 40, (4, 17))
    for name in ("psi", "jensen_shannon", "ks", "chi_square", "ranks", "kolmogorov_smirnov"):
        function = getattr(two_sample, name)
        single = [function(where, *pair) for pair in zip(reference, live, strict=True)]
        np.testing.assert_allclose(function(where, reference, live), single, atol=1e-12)
    p, cells = two_sample.cell(where, reference, live)
    for i, pair in enumerate(zip(reference, live, strict=True)):
        one, at = two_sample.cell(where, *pair)
        np.testing.assert_allclose(p[i], one)
        assert cells[i].tolist() == at.tolist()


def test_distances_are_the_textbook_ones():
    reference, live = np.array([0, 30, 50, 20, 4, 0, 6]), np.array([0, 10, 20, 20, 5, 5, 0])
    where = layout([4, 3], [True, False])
    parts = [(reference[s], live[s]) for s in (slice(0, 4), slice(4, 7))]
    js = [distance.jensenshannon(p / p.sum(), q / q.sum(), 2) for p, q in parts]
    np.testing.assert_allclose(two_sample.jensen_shannon(where, reference, live), js)
    np.testing.assert_allclose(two_sample.ks(where, reference, live), [0.2, 0.0])
    big, same = reference * 1_000_000, live * 1_000_000
    p, q = (x[1:4] / x[1:4].sum() for x in parts[0])
    assert two_sample.psi(where, big, same)[0] == pytest.approx(((q - p) * np.log(q / p)).sum(), rel=1e-4)


def test_ranks_are_those_of_mann_and_whitney():
    reference, live = np.array([3, 20, 30, 40, 30]), np.array([1, 15, 12, 5, 3])
    values = [np.repeat(np.arange(4), counts[1:]) for counts in (live, reference)]
    expected = stats.mannwhitneyu(*values, use_continuity=False).pvalue
    assert two_sample.ranks(layout([5], [True]), reference, live)[0] == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize("live", [np.zeros(5, int), np.array([40, 0, 0, 0, 0])])
def test_nothing_is_no_evidence_about_order(live):
    """An empty window, or one of missing values alone."""
    where, reference = layout([5], [True]), np.array([0, 25, 25, 25, 25])
    assert two_sample.ranks(where, reference, live)[0] == 1
    assert two_sample.kolmogorov_smirnov(where, reference, live)[0] == 1
    assert (two_sample.cell(where, reference, live)[0][0] < 1e-20) == bool(live.sum())
    assert np.isfinite(two_sample.psi(where, reference, live)).all()


def test_no_signals_at_all():
    where, none = layout([], []), np.empty(0, np.int64)
    for name in ("psi", "jensen_shannon", "ks", "chi_square", "ranks", "kolmogorov_smirnov"):
        assert getattr(two_sample, name)(where, none, none).shape == (0,)
    assert two_sample.cell(where, none, none)[0].shape == (0,)
