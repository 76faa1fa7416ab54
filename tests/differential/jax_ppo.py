"""The gradient steps of a PPO update in jax, on one thread, in the pinned environment .venv-jax.

`jax_ppo.py FILE` reads what `benches/rivals/xla.py` wrote: weights by the names of
`named_weights`, columns of a batch [R, ...]
(R rows), the rows of each minibatch [steps, B] and settings. For each line of stdin it then writes one to stdout: for
`update` the CPU seconds of one update, which goes on from the one before; for a file's name that name, when the
weights are in it. The first line says that all is compiled.
"""

from __future__ import annotations

import os
import sys
import time

os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
os.environ["JAX_PLATFORMS"] = "cpu"

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax


def kind_of(weights, part):
    """`own` for agents' own networks, else `central`."""
    return next(name.split(".")[1] for name in weights if name.startswith(f"{part}."))


def applied(weights, part, obs, heads):
    """[N, B, in] -> [N, B, out], heads central networks' as many as there are agents; tanh between two layers."""
    kind, (agents, rows, size) = kind_of(weights, part), obs.shape
    x = obs if kind == "own" else obs.transpose(1, 0, 2).reshape(1, rows, agents * size)
    for layer in range(3):
        x = jnp.tanh(x) if layer else x
        x = x @ weights[f"{part}.{kind}.{layer}.weight"] + weights[f"{part}.{kind}.{layer}.bias"]
    return x if kind == "own" else x.reshape(rows, heads, -1).transpose(1, 0, 2)


def loss(weights, batch, settings):
    """The clipped surrogate and the squared errors of values: means over rows, sums over agents."""
    mean = applied(weights, "actor", batch["obs"], len(batch["obs"]))
    log_std = jnp.clip(weights[f"actor.{kind_of(weights, 'actor')}.log_std"], -5.0, 2.0)[:, None]
    scaled = (batch["actions"] - mean) * jnp.exp(-log_std)
    logp = (-0.5 * scaled**2 - log_std - 0.9189385332046727).sum(-1)
    ratio = jnp.exp(logp - batch["action_logp"])
    band = jnp.clip(ratio, 1.0 - settings["clip"], 1.0 + settings["clip"])
    surrogate = jnp.minimum(ratio * batch["advantages"], band * batch["advantages"])
    value = applied(weights, "critic", batch["obs"], 1)[..., 0]
    error = (value - batch["value_targets"]) ** 2
    return (settings["value_coeff"] * error.sum(0) - surrogate.sum(0)).mean()


def clipped(gradients, limit):
    """Each agent's gradients by their norm, and those of central networks by theirs."""
    scaled = {}
    for kind in ("own", "central"):
        group = {name: g for name, g in gradients.items() if name.split(".")[1] == kind}
        if group:
            first = 1 if kind == "own" else 0
            squares = sum((g**2).sum(tuple(range(first, g.ndim))) for g in group.values())
            scale = jnp.minimum(limit / (jnp.sqrt(squares) + 1e-6), 1.0)
            scaled |= {n: g * (scale.reshape(-1, *[1] * (g.ndim - 1)) if first else scale) for n, g in group.items()}
    return scaled


def update(state, columns, rows, settings):
    """All gradient steps. state: weights, Adam's two moments, steps so far."""

    def gradient_step(state, chosen):
        weights, first, second, count = state
        batch = {name: x[:, chosen] for name, x in columns.items()}
        gradients = clipped(jax.grad(loss)(weights, batch, settings), settings["grad_clip"])
        count = count + 1
        first = {name: 0.9 * first[name] + 0.1 * g for name, g in gradients.items()}
        second = {name: 0.999 * second[name] + 0.001 * g**2 for name, g in gradients.items()}
        rate, root = settings["lr"] / (1.0 - 0.9**count), jnp.sqrt(1.0 - 0.999**count)
        weights = {n: w - rate * first[n] / (jnp.sqrt(second[n]) / root + 1e-5) for n, w in weights.items()}
        return (weights, first, second, count), None

    return lax.scan(gradient_step, state, rows)[0]


def parts(file, kind):
    """The arrays of one kind, by name."""
    return {name.split(":", 1)[1]: jnp.asarray(x) for name, x in file.items() if name.startswith(f"{kind}:")}


def main(path):
    """Compile, then serve one line after the other."""
    with np.load(path) as file:
        weights, columns, settings = (parts(file, kind) for kind in ("weight", "column", "setting"))
        rows = jnp.asarray(file["rows"])
    columns = {name: jnp.swapaxes(x, 0, 1) for name, x in columns.items()}
    zeros = jax.tree.map(jnp.zeros_like, weights)
    state = (weights, zeros, zeros, jnp.float32(0.0))
    compiled = jax.jit(update).lower(state, columns, rows, settings).compile()
    print("ready", flush=True)
    for line in sys.stdin:
        if line.strip() == "update":
            began = time.process_time()
            state = jax.block_until_ready(compiled(state, columns, rows, settings))
            print(time.process_time() - began, flush=True)
        else:
            np.savez(line.strip(), **state[0])
            print(line.strip(), flush=True)


if __name__ == "__main__":
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    main(sys.argv[1])
