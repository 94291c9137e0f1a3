"""Shampoo with inverse fourth roots by products of matrices: one plan, kept over the steps, no eigenvalues."""

import torch

from nnla.interop.torch import inverse_root, inverse_root_plan, read_certificate

torch.manual_seed(0)
torch.set_num_threads(1)
RIDGE, EVERY, RATE = 1e-4, 5, 0.1
# made once: p = 4, and the ridge says what the smallest eigenvalue is
PLAN = inverse_root_plan(4, "float32", ridge=RIDGE, rtol=0.03)

x = torch.randn(512, 32) @ torch.diag(torch.logspace(0, -2, 32))  # badly scaled inputs
y = torch.tanh(x @ torch.randn(32, 8) * 10)


def network():
    torch.manual_seed(1)
    return torch.nn.Sequential(torch.nn.Linear(32, 32, bias=False), torch.nn.Tanh(), torch.nn.Linear(32, 8, bias=False))


def train(step, steps=60):
    model, state = network(), {}
    for k in range(steps):
        loss = torch.nn.functional.mse_loss(model(x), y)
        model.zero_grad()
        loss.backward()
        with torch.no_grad():
            for w in model.parameters():
                step(w, state.setdefault(w, {}), k)
    return torch.nn.functional.mse_loss(model(x), y).item()


def sgd(w, state, k):
    w -= 0.3 * w.grad


def shampoo(root):
    """L <- L + G G', R <- R + G'G, step along L^(-1/4) G R^(-1/4); the roots anew every few steps."""

    def step(w, state, k):
        G = w.grad
        state["L"] = state.get("L", 0) + G @ G.T
        state["R"] = state.get("R", 0) + G.T @ G
        if k % EVERY == 0:
            state["roots"] = root(state["L"]), root(state["R"])
        left, right = state["roots"]
        w -= RATE * left @ G @ right

    return step


def by_eigenvalues(A):
    w, V = torch.linalg.eigh(A.double() + RIDGE * torch.linalg.matrix_norm(A.double(), 2) * torch.eye(len(A)))
    return ((V * w**-0.25) @ V.T).float()


losses = {
    "gradient descent": train(sgd),
    "Shampoo, eigenvalues": train(shampoo(by_eigenvalues)),
    "Shampoo, products": train(shampoo(lambda A: inverse_root(A, 4, plan=PLAN))),
}
for name, loss in losses.items():
    print(f"{name:>22}: loss {loss:.4f}")
print(f"an inverse fourth root takes {PLAN.products} products of matrices here")

# what an optimiser asks now and then: are the roots roots? The one call that waits for the device
statistics = torch.stack([x.T @ x, torch.eye(32)])
_, certificate = inverse_root(statistics, 4, plan=PLAN, certificate=True)
print("certificate:", read_certificate(certificate).status.value)
assert bool(certificate.converged.all())
assert losses["Shampoo, products"] < 0.9 * losses["gradient descent"]
assert abs(losses["Shampoo, products"] - losses["Shampoo, eigenvalues"]) < 0.1 * losses["Shampoo, eigenvalues"]
