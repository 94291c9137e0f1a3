"""Token transformers by the clock: for each function a training that ends, its rate at zero, when its seconds do.

    PYTHONPATH=src python reproduce/matrix_functions_tokens_gpu.py --device cuda --seconds 420 --out runs/tokens
    PYTHONPATH=src python reproduce/matrix_functions_tokens_gpu.py --device cpu --seconds 60 --out runs/try --tiny

Data are made on the device, products of the blocks are rounded to bfloat16, blocks are compiled where that works. Into
the folder go, for each function, FUNCTION.safetensors (float16, an engine that `nnla.load` reads; a minute old at most
while the training goes on) and FUNCTION.json (its curve, and at the end its figures on fresh matrices of all families).
With ``--start`` it goes on from such weights.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nnla.models.token_network import decoder_block, encoder_block
from nnla.models.token_transformer import TokenTransformerEngine
from nnla.problems.matrix_families import MATRIX_FAMILIES, matrix_family
from nnla.registry import save_model
from nnla.training.config import Table, load_recipe
from nnla.training.jacobi_eigen import symmetric_function
from nnla.training.matrix_tokens import MatrixTokensTask, Parts, cross_entropy, entrywise_error, example, within
from nnla.training.muon import Muon
from nnla.training.networks import arrays

CHUNK = 32  # batches that are made at once
GAPS = (0.0, 0.01, 0.03, 0.1, 0.3, 1.0)
# powers of ten that numbers of these functions have, of 3 x 3 matrices with entries in [-5, 5]
OUTPUTS = {"exp": (-6, 11), "sign": (-7, 6), "cube": (-4, 8), "sin": (-7, 6), "cos": (-7, 6)}
RESERVE = 12.0  # seconds for the figures at a training's end


def overrides(f: str, args: argparse.Namespace) -> list[str]:
    """What differs from the recipe."""
    found = [f"purpose=writes {f}(A) of symmetric {args.n} x {args.n} matrices as number tokens"]
    found += [f"name=matfun-tokens-{f}", f"model.f={f}", f"data.scale={args.scale}", f"model.sizes=[{args.n}]"]
    if args.tiny:
        found += ["model.width=32", "model.heads=2", "model.encoder=1", "data.held_out=50"]
    else:
        found += [f"model.width={args.width}", f"model.heads={args.heads}", "data.held_out=1000"]
        found += [f"model.encoder={args.encoder}", f"model.decoder={args.decoder}"]
    found += [f"model.norm={args.norm}", f"model.input={args.input}", f"model.output={args.output}"]
    if args.output == "FP15":
        lowest, exponents = OUTPUTS[f]
        found += [f"model.output_lowest={lowest}", f"model.output_exponents={exponents}"]
    if args.input == "FP15":
        found += ["model.input_lowest=-6", "model.input_exponents=6"]
    return [*found, f"optim.batch={args.batch}", f"optim.lr={args.lr}"]


def fresh(task: MatrixTokensTask, chunk: int, device: str) -> dict[str, Any]:
    """A chunk of symmetric matrices, uniform entries, and their functions as sequences; a function of its number."""
    count, n = CHUNK * task.recipe["optim"]["batch"], task.config.sizes[-1]
    generator = torch.Generator(device).manual_seed(1 + chunk + (task.recipe["seed"] << 32))
    A = torch.rand(count, n, n, generator=generator, dtype=torch.float64, device=device)
    A = A.mul_(2 * task.recipe["data"]["scale"]).sub_(task.recipe["data"]["scale"])
    return example(task.config, A.triu() + A.triu(1).mT)


def parts(task: MatrixTokensTask, network: Any, args: argparse.Namespace) -> Parts:
    """Compiled parts of the loss where that works and is faster, else the plain ones."""
    if args.plain:
        return Parts()
    try:
        made = Parts(*(torch.compile(f, dynamic=False) for f in (encoder_block, decoder_block, cross_entropy)))
        found = {}
        for name, some in (("plain", Parts()), ("compiled", made)):
            seconds = []
            for chunk in range(6):
                batch = {key: ids[: len(ids) // CHUNK] for key, ids in fresh(task, -1 - chunk, args.device).items()}
                finish(args.device)
                started = time.perf_counter()
                with torch.autocast(args.device, dtype=torch.bfloat16, enabled=args.precision == "bfloat16"):
                    loss = task.loss(network, batch, some)["loss"]
                loss.backward()
                finish(args.device)
                seconds.append(time.perf_counter() - started)
            found[name] = sorted(seconds[2:])[2]
            print(f"  {name}: {1e3 * found[name]:.1f} ms a gradient, the first {seconds[0]:.1f} s", flush=True)
        return made if found["compiled"] < found["plain"] else Parts()
    except Exception as error:  # whatever the compiler of that machine makes of it, plain parts do
        print(f"  not compiled: {type(error).__name__}: {str(error)[:300]}", flush=True)
        return Parts()


def finish(device: str) -> None:
    """Wait for what the device was given."""
    if device == "cuda":
        torch.cuda.synchronize()


def optimizers(network: Any, args: argparse.Namespace) -> list[Any]:
    """Muon for the blocks' matrices, Adam for the rest; their peak rates are in ``peak`` of each group."""
    named = list(network.named_parameters())
    hidden = [p for name, p in named if name[:3] in ("enc", "dec") and name.endswith("_W")]
    some = {id(p) for p in hidden}
    others = [p for _, p in named if id(p) not in some]
    fused = args.device == "cuda"
    adam = torch.optim.AdamW(others, lr=args.adam_lr, betas=(0.9, 0.98), weight_decay=0.01, fused=fused)
    made = [Muon(hidden, [], lr=args.lr, weight_decay=0.01), adam]
    for group in (group for opt in made for group in opt.param_groups):
        group["peak"] = group["lr"]
    return made


def rate(step: int, share: float) -> float:
    """Share of the peak rate: 300 steps of warm-up; level for a third of the time, then straight to zero."""
    return min(1.0, (step + 1) / 300) * min(1.0, max(0.0, 1.0 - share) / 0.67)


def save(task: MatrixTokensTask, network: Any, path: Path, card: dict[str, Any]) -> TokenTransformerEngine:
    """The engine, rounded to float16, into a file; and it, as it is read from there."""
    engine = task.engine(arrays(network), {"name": task.recipe["name"], "recipe": task.recipe} | card)
    half = {key: value.astype(np.float16) for key, value in engine.parameters.items()}
    half["limits"] = engine.parameters["limits"]
    reader = f"{type(engine).__module__}:{type(engine).__qualname__}"
    kind = type(engine).__name__
    save_model(path, kind=kind, reader=reader, config=engine.config, parameters=half, card=engine.card)
    return TokenTransformerEngine.from_file(path)


def judged(engine: TokenTransformerEngine, A: np.ndarray, device: str) -> dict[str, Any]:
    """Figures on matrices (B, n, n); shares are of all, what the engine declines counts as wrong."""
    found = engine.answer(torch.as_tensor(A, device=device), engine.config.f).cpu().numpy()
    errors = entrywise_error(found, symmetric_function(A, engine.config.f))
    row: dict[str, Any] = {"count": len(A), **within(errors)}
    declined = np.isnan(found).any((-2, -1))
    row |= {"median_error": float(np.median(errors[~declined])) if not declined.all() else None}
    return row | {"declined": float(declined.mean())}


def figures(engine: TokenTransformerEngine, task: MatrixTokensTask, count: int, device: str) -> dict[str, Any]:
    """The training's law; symmetric families; and by the gap of the spectrum, |smallest| / |largest| eigenvalue."""
    n, scale = engine.config.sizes[-1], task.recipe["data"]["scale"]
    A = matrix_family("symmetric", count, n, seed=[977, 1], scale=scale)
    table: dict[str, Any] = {"all": judged(engine, A, device), "families": {}, "gaps": {}}
    for name, family in MATRIX_FAMILIES.items():
        if family.symmetric:
            options = {"scale": scale} if "scale" in family.options else {}
            B = matrix_family(name, max(100, count // 10), n, seed=[977, 2], **options)
            table["families"][name] = judged(engine, B, device)
    if engine.config.f == "sign":
        size = np.abs(np.linalg.eigvalsh(A))
        gap = size.min(-1) / size.max(-1)
        for low, high in [*pairwise(GAPS), (0.1, 1.0)]:
            inside = (gap >= low) & (gap < high)
            if inside.any():
                table["gaps"][f"{low:g} to {high:g}"] = judged(engine, A[inside], device)
    return table


def trained(f: str, args: argparse.Namespace, seconds: float, out: Path, compiled: Parts | None) -> Parts:
    """Train one function for so many seconds, all included; returns the parts for the next."""
    started = time.perf_counter()
    task = MatrixTokensTask(Table(load_recipe("matfun-tokens-exp", overrides(f, args))))
    task.prepare(out, lambda *a: None)
    network = task.network().to(args.device)
    if args.start and (args.start / f"{f}.safetensors").exists():
        before = TokenTransformerEngine.from_file(args.start / f"{f}.safetensors")
        task.config = before.config
        network = task.network().to(args.device)
        state = {key: torch.as_tensor(v) for key, v in before.parameters.items() if key != "limits"}
        network.load_state_dict(state)
    size = sum(p.numel() for p in network.parameters())
    print(f"{f}: {size:,} parameters, {task.config}", flush=True)
    compiled = compiled or parts(task, network, args)
    network.zero_grad(set_to_none=True)
    batch = task.recipe["optim"]["batch"]
    opts = optimizers(network, args)
    known = [p.detach().clone() for p in network.parameters()]
    peak, step, chunk, curve, data = 1.0, 0, -1, [], {}
    begin, end = time.perf_counter(), started + seconds - min(RESERVE, 0.2 * seconds)
    printed = kept = begin
    losses: list[Any] = []
    while True:
        now = time.perf_counter()
        share = (now - begin) / max(end - begin, 1e-9)
        if share >= 1.0:
            break
        if step % CHUNK == 0:
            chunk += 1
            data = fresh(task, chunk, args.device)
        at = slice(step % CHUNK * batch, (step % CHUNK + 1) * batch)
        for opt in opts:
            for group in opt.param_groups:
                group["lr"] = peak * group["peak"] * rate(step, share)
        with torch.autocast(args.device, dtype=torch.bfloat16, enabled=args.precision == "bfloat16"):
            loss = task.loss(network, {key: ids[at] for key, ids in data.items()}, compiled)["loss"]
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        for opt in opts:
            opt.step()
            opt.zero_grad(set_to_none=True)
        losses.append(loss.detach())
        step += 1
        if step % 20 == 0:
            mean = float(torch.stack(losses[-20:]).mean())  # waits for the device, so that the clock is its clock
            now = time.perf_counter()
            if not math.isfinite(mean):  # back to the last good weights, more slowly
                peak *= 0.5
                print(f"  {f} step {step}: not finite, back to {peak:g} of the rates", flush=True)
                with torch.no_grad():
                    for p, q in zip(network.parameters(), known, strict=True):
                        p.copy_(q)
                opts, losses = optimizers(network, args), []
                continue
            if now - printed >= args.every:
                printed = now
                held = next(iter(task.held.values()))
                row = {"seconds": now - begin, "step": step, "examples": step * batch, "loss": mean}
                row |= within(task.errors(network, held))
                curve.append(row)
                print("  " + " ".join(f"{k} {v:.4g}" for k, v in row.items()), flush=True)
                for p, q in zip(network.parameters(), known, strict=True):
                    q.copy_(p.detach())
            if now - kept >= 60.0:
                kept = now
                save(task, network, out / f"{f}.safetensors", {"step": step})
                (out / f"{f}.json").write_text(json.dumps({"curve": curve}), encoding="utf-8")
    spent = time.perf_counter() - begin
    device = torch.cuda.get_device_name() if args.device == "cuda" else platform.processor() or platform.machine()
    card = {
        "seed": task.recipe["seed"],
        "step": step,
        "examples": step * batch,
        "seconds": {"train": round(spent, 1)},
        "hardware": device,
        "date": time.strftime("%Y-%m-%d"),
        "versions": {"torch": torch.__version__, "numpy": np.__version__, "python": platform.python_version()},
    }
    engine = save(task, network, out / f"{f}.safetensors", card)
    table = figures(engine, task, args.count, args.device)
    engine = save(task, network, out / f"{f}.safetensors", card | {"validation": table["all"]})
    row = {"parameters": size, "compiled": compiled != Parts(), **card}
    row |= {"recipe": task.recipe, "curve": curve, "figures": table, "all_seconds": time.perf_counter() - started}
    (out / f"{f}.json").write_text(json.dumps(row, indent=1), encoding="utf-8")
    print(f"{f}: {step} steps, {step * batch / spent:,.0f} examples/s, {json.dumps(table['all'])}", flush=True)
    return compiled


def main() -> None:
    """Each function for its share of the seconds, one after the other."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--seconds", type=float, default=420.0, help="for all functions together, compiling included")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--functions", default="exp:0.55,sign:0.45", help="names with shares of the time")
    parser.add_argument("--n", type=int, default=3)
    parser.add_argument("--scale", type=float, default=5.0, help="entries are uniform in [-scale, scale]")
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--encoder", type=int, default=6)
    parser.add_argument("--decoder", type=int, default=1)
    parser.add_argument("--heads", type=int, default=8)
    parser.add_argument("--norm", default="pre", choices=("post", "pre"))
    parser.add_argument("--input", default="FP15", choices=("FP15", "B1999", "P1000", "P10"))
    parser.add_argument("--output", default="FP15", choices=("FP15", "B1999", "P1000", "P10"))
    parser.add_argument("--batch", type=int, default=4096)
    parser.add_argument("--lr", type=float, default=4e-3, help="of Muon, for the blocks' matrices")
    parser.add_argument("--adam-lr", type=float, default=2e-3, help="of Adam, for the rest")
    parser.add_argument("--precision", default="bfloat16", choices=("bfloat16", "tf32"), help="of the blocks' products")
    parser.add_argument("--every", type=float, default=10.0, help="seconds between lines")
    parser.add_argument("--count", type=int, default=10_000, help="fresh matrices at the end")
    parser.add_argument("--start", type=Path, help="folder of weights to go on from")
    parser.add_argument("--plain", action="store_true", help="compile nothing")
    parser.add_argument("--tiny", action="store_true", help="a network for a trial without a GPU")
    args = parser.parse_args()
    torch.set_float32_matmul_precision("high")
    args.out.mkdir(parents=True, exist_ok=True)
    wanted = [item.partition(":") for item in args.functions.split(",")]
    total = sum(float(share or 1.0) for _, _, share in wanted)
    started, compiled = time.perf_counter(), None
    for i, (f, _, share) in enumerate(wanted):
        left = started + args.seconds - time.perf_counter()
        rest = sum(float(s or 1.0) for _, _, s in wanted[i:])
        compiled = trained(f, args, left * float(share or 1.0) / rest, args.out, compiled)
    print(f"{total:g} shares in {time.perf_counter() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main()
