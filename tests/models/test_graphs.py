"""Graph operations: equal to loops over nodes, to PyTorch Geometric, and with the right gradients."""

from __future__ import annotations

import itertools
import warnings

import numpy as np
import pytest
from scipy.sparse import csr_array

from nnla.models._graphs import Graphs, block_diagonal, leaky_relu, product
from nnla.models.nsls_coarse import aggregate, coarse_levels, node_keys
from nnla.operators.arrays import segment_sum
from nnla.problems.frames import frame


@pytest.fixture
def batch(rng):
    """Two graphs with self-loops, and some features."""
    blocks = []
    for n in (7, 12):
        M = rng.standard_normal((n, n)) * (rng.random((n, n)) < 0.3)
        blocks.append(csr_array(M + M.T + np.diag(1 + rng.random(n))).astype(np.float32))
    starts = np.array([0, 7, 19])
    A = block_diagonal(blocks)
    return Graphs(A, starts), rng.standard_normal((19, 5)).astype(np.float32)


def test_block_diagonal_of_anything(rng):
    blocks = [csr_array(rng.standard_normal(shape)) for shape in ((3, 2), (1, 4), (5, 5))]
    A = block_diagonal(blocks)
    assert A.shape == (9, 11)
    np.testing.assert_array_equal(A.toarray()[3:4, 2:6], blocks[1].toarray())
    np.testing.assert_array_equal(A.toarray()[4:, 6:], blocks[2].toarray())
    assert A.nnz == sum(b.nnz for b in blocks)


def test_segment_sum():
    np.testing.assert_array_equal(segment_sum(np.arange(5.0), np.array([0, 2, 5])), [1, 9])


def loop_norm(F, alpha, gamma, beta, starts):
    """GraphNorm (5), channel by channel."""
    out = np.zeros_like(F, dtype=np.float64)
    for i, j in itertools.pairwise(starts):
        for c in range(F.shape[1]):
            v = F[i:j, c].astype(np.float64)
            v = v - alpha[c] * v.mean()
            out[i:j, c] = gamma[c] * v / np.sqrt(np.mean(v**2) + 1e-5) + beta[c]
    return out


def test_norm_is_the_formula(batch, rng):
    graphs, F = batch
    alpha, gamma, beta = rng.standard_normal((3, 5)).astype(np.float32)
    expected = loop_norm(F, alpha, gamma, beta, graphs.starts)
    np.testing.assert_allclose(graphs.norm(F, alpha, gamma, beta), expected, atol=2e-6)


def test_torch_equals_numpy(batch, rng):
    torch = pytest.importorskip("torch")
    graphs, F = batch
    alpha, gamma, beta = rng.standard_normal((3, 5)).astype(np.float32)
    other, G = graphs.torch(), torch.from_numpy(F)
    np.testing.assert_allclose(product(other.A, G).numpy(), product(graphs.A, F), atol=1e-5)
    np.testing.assert_allclose(leaky_relu(G).numpy(), leaky_relu(F))
    theirs = other.norm(G, *(torch.from_numpy(v) for v in (alpha, gamma, beta)))
    np.testing.assert_allclose(theirs.numpy(), graphs.norm(F, alpha, gamma, beta), atol=1e-5)


def test_gradients(batch):
    """Against finite differences, in float64."""
    torch = pytest.importorskip("torch")
    graphs, F = batch
    coarse = coarse_levels(csr_array(np.eye(19) + 0.1 * np.abs(graphs.A.toarray())), 1)
    exact = Graphs(graphs.A.astype(np.float64), graphs.starts, coarse).torch(dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    G = torch.from_numpy(F).double().requires_grad_()
    p = [torch.randn(5, generator=generator, dtype=torch.float64, requires_grad=True) for _ in range(3)]
    assert torch.autograd.gradcheck(lambda x: product(exact.A, x), (G,))
    assert torch.autograd.gradcheck(lambda x: product(exact.coarse[0][0], x), (G,))
    assert torch.autograd.gradcheck(lambda x, a, c, d: exact.norm(x, a, c, d), (G, *p))


@pytest.mark.filterwarnings("ignore")
def test_equal_to_pytorch_geometric(batch, rng):
    """GraphConv and GraphNorm, forwards and backwards."""
    torch = pytest.importorskip("torch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        nn = pytest.importorskip("torch_geometric.nn")
    graphs, F = batch
    coo = graphs.A.tocoo()
    edges = torch.from_numpy(np.stack([coo.coords[1], coo.coords[0]]).astype(np.int64))
    weight = torch.from_numpy(coo.data)
    convolution, norm = nn.GraphConv(5, 4, aggr="add"), nn.GraphNorm(5)
    with torch.no_grad():
        for parameter in norm.parameters():
            parameter.copy_(torch.from_numpy(rng.standard_normal(5).astype(np.float32)))
    member = torch.from_numpy(np.repeat([0, 1], np.diff(graphs.starts)))
    theirs, ours = (torch.from_numpy(F.copy()).requires_grad_() for _ in range(2))
    out = convolution(norm(theirs, member), edges, weight)
    other = graphs.torch()
    Z = other.norm(ours, norm.mean_scale, norm.weight, norm.bias)
    root, neighbour, bias = convolution.lin_root.weight.T, convolution.lin_rel.weight.T, convolution.lin_rel.bias
    mine = Z @ root + product(other.A, Z) @ neighbour + bias
    torch.testing.assert_close(mine, out, atol=2e-5, rtol=1e-4)
    seed = torch.from_numpy(rng.standard_normal(out.shape).astype(np.float32))
    parameters = [*convolution.parameters(), *norm.parameters()]
    expected = torch.autograd.grad(out, [theirs, *parameters], seed, retain_graph=True)
    gradients = torch.autograd.grad(mine, [ours, *parameters], seed)
    for a, b in zip(gradients, expected, strict=True):
        torch.testing.assert_close(a, b, atol=2e-4, rtol=1e-3)


# -- coarse graphs


def scaled(A):
    s = 1 / np.sqrt(A.diagonal())
    return csr_array(s[:, None] * A.toarray() * s)


@pytest.mark.parametrize("seed", range(3))
def test_aggregates_do_not_depend_on_the_order_of_rows(seed):
    one = frame("mini", seed, style="irregular", loads=1)
    A, p = scaled(one.A), np.random.default_rng(seed).permutation(one.n)
    turned = csr_array(A.toarray()[np.ix_(p, p)])
    np.testing.assert_array_equal(aggregate(turned), aggregate(A)[p])
    np.testing.assert_allclose(node_keys(turned), node_keys(A)[p], atol=2e-9)


def test_aggregates_are_near_their_roots():
    one = frame("small", 0, loads=1, grid=(6, 6, 4))
    home = aggregate(abs(scaled(one.A)))
    sizes = np.bincount(home)
    assert sizes.min() >= 1
    assert 5 < sizes.mean() < 60


def test_aggregates_without_neighbours():
    assert sorted(aggregate(csr_array(np.eye(4))).tolist()) == [0, 1, 2, 3]


def test_coarse_levels_average_and_copy():
    one = frame("mini", 1, loads=1)
    levels = coarse_levels(scaled(one.A), 3)
    n = one.n
    for R, P, A in levels:
        assert R.shape == (A.shape[0], n)
        np.testing.assert_allclose(R @ np.ones(n), 1, atol=1e-6)
        np.testing.assert_array_equal(P @ np.ones(A.shape[0]), np.ones(n))
        np.testing.assert_allclose(A.diagonal(), 1, atol=1e-6)
        np.testing.assert_allclose(A.toarray(), A.toarray().T, atol=1e-6)
        n = A.shape[0]
    assert n < one.n / 20


def test_aggregates_of_a_frame_hold_unknowns_of_one_kind():
    one = frame("mini", 1, loads=1)
    P = coarse_levels(scaled(one.A), 1)[0][1].toarray()
    kinds = P.T @ np.eye(6)[one.dof]
    assert np.mean(kinds.max(axis=1) / kinds.sum(axis=1)) > 0.9
