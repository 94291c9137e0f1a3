"""Muon with polar factors of fewer operations: the same loss for less; a narrower band does not train better."""

import torch

from nnla.interop.torch import flops, polar, polar_plan, polar_plan_from

torch.manual_seed(0)
torch.set_num_threads(1)
x = torch.randn(512, 32) @ torch.diag(torch.logspace(0, -1, 32))
y = torch.tanh(x @ torch.randn(32, 8))

# matrices of 128 x 32: aspect 4, where the iteration on the Gram matrix pays
MUON = polar_plan_from([(3.4445, -4.7750, 2.0315)] * 5, restart_at=[2])
PLANS = {
    "five quintic steps": MUON,
    "planned, band of 0.12": polar_plan("float32", aspect=4),
    "planned, band of 1e-4": polar_plan("float32", aspect=4, spread=1e-4),
}


def train(plan, steps=60):
    torch.manual_seed(1)
    model = torch.nn.Sequential(
        torch.nn.Linear(32, 128, bias=False), torch.nn.Tanh(), torch.nn.Linear(128, 8, bias=False)
    )
    first, last = model.parameters()
    momentum = torch.zeros_like(first)
    for _ in range(steps):
        loss = torch.nn.functional.mse_loss(torch.tanh(x @ first.T) @ last.T, y)
        gradients = torch.autograd.grad(loss, (first, last))
        with torch.no_grad():
            momentum.mul_(0.9).add_(gradients[0])
            first -= 0.01 * polar(momentum, plan=plan)
            last -= 0.3 * gradients[1]
    return loss.item()


print(f"{'schedule':>24} {'band':>14} {'FLOPs / 2n^3':>13} {'loss':>8}")
losses = {}
for name, plan in PLANS.items():
    losses[name] = train(plan)
    print(f"{name:>24} [{plan.low:.4f}, {plan.high:.4f}] {flops(plan, 128, 32):>9} {losses[name]:>10.4f}")
first, *others = losses.values()
assert flops(PLANS["planned, band of 0.12"], 128, 32) < 0.8 * flops(MUON, 128, 32)
assert all(abs(other - first) < 0.1 * first for other in others)
