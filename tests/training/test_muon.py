"""Muon: orthogonal steps for matrices, AdamW's for all else, and a state that checkpoints can hold."""

import copy

import pytest

torch = pytest.importorskip("torch")

from nnla.training.muon import Muon, orthogonalised  # noqa: E402


@pytest.mark.parametrize("shape", [(8, 8), (5, 12), (12, 5), (3, 8, 20)])
def test_singular_values_end_near_one(shape):
    G = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    U, _, Vh = torch.linalg.svd(G, full_matrices=False)
    Q = orthogonalised(1e6 * G)
    values = torch.linalg.svdvals(Q)
    assert values.min() > 0.3
    assert values.max() < 1.3
    # the same directions
    inner = torch.diagonal(U.mT @ Q @ Vh.mT, dim1=-2, dim2=-1)
    torch.testing.assert_close(
        inner, values.gather(-1, inner.argsort(-1, descending=True).argsort(-1)), atol=2e-3, rtol=0
    )


def test_nothing_becomes_something():
    assert torch.isfinite(orthogonalised(torch.zeros(3, 4))).all()


def test_others_go_by_adamw():
    a, b = (torch.nn.Parameter(torch.tensor([1.0, -2.0, 3.0])) for _ in range(2))
    ours = Muon([], [a], lr=0.1, weight_decay=0.05, betas=(0.9, 0.99))
    theirs = torch.optim.AdamW([b], lr=0.1, weight_decay=0.05, betas=(0.9, 0.99))
    for step in range(5):
        for p, optimizer in ((a, ours), (b, theirs)):
            p.grad = p.detach() ** 2 - step
            optimizer.step()
    torch.testing.assert_close(a, b)


def test_finds_a_linear_map():
    generator = torch.Generator().manual_seed(0)
    true, X = torch.randn(6, 4, generator=generator), torch.randn(64, 6, generator=generator)
    W, c = torch.nn.Parameter(torch.zeros(6, 4)), torch.nn.Parameter(torch.zeros(4))
    optimizer = Muon([W], [c], lr=0.1, weight_decay=0.0)
    for step in range(300):
        for group in optimizer.param_groups:
            group["lr"] = 0.1 * (1 - step / 300)
        optimizer.zero_grad()
        ((X @ (W - true) + c - 1) ** 2).mean().backward()
        optimizer.step()
    torch.testing.assert_close(W.detach(), true, atol=2e-2, rtol=0)
    torch.testing.assert_close(c.detach(), torch.ones(4), atol=2e-2, rtol=0)


def test_parameters_without_gradient_stay():
    W = torch.nn.Parameter(torch.ones(2, 2))
    Muon([W], [], lr=0.1).step()
    assert (W == 1).all()


def test_state_goes_through_a_state_dict():
    def made():
        W, c = torch.nn.Parameter(torch.eye(3)), torch.nn.Parameter(torch.ones(3))
        return (W, c), Muon([W], [c], lr=0.1)

    def step(parameters, optimizer, seed):
        for p in parameters:
            p.grad = torch.randn(p.shape, generator=torch.Generator().manual_seed(seed))
        optimizer.step()

    parameters, optimizer = made()
    step(parameters, optimizer, 0)
    others, other = made()
    for p, q in zip(others, parameters, strict=True):
        p.data.copy_(q.data)
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))  # which shares its tensors
    for some, one in ((parameters, optimizer), (others, other)):
        step(some, one, 1)
    for p, q in zip(parameters, others, strict=True):
        assert torch.equal(p, q)
