"""Train the generator of handwritten digits: the decoder of a variational autoencoder (Kingma & Welling 2014).

    encoder  x → 400 ReLU → μ(x), log σ²(x) ∈ R^D          decoder  c → 400 ReLU → sigmoid → probability of each pixel

maximises the evidence lower bound E_q log p(x | c) − KL(q(c | x) ‖ N(0, I)) with a Bernoulli likelihood, q(c | x) =
N(μ(x), σ²(x)), by Adam (rate 1e-3, batches of 128). The decoder with its standard normal c is the generator. Minutes on
one core of a laptop; without MNIST the 8 × 8 digits of scikit-learn take its place, and the file says so.

    python tools/train_generator.py

writes results/generator.safetensors, which hmm_utils.data.generators.load_layers reads.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, relu

from hmm_utils.data import mnist
from hmm_utils.data.generators import TRAINED, Layer, save_layers
from hmm_utils.runs.cache import provenance


class Autoencoder(nn.Module):
    """Encoder N-`hidden`-2D and decoder D-`hidden`-N."""

    def __init__(self, n_inputs: int, n_latent: int, hidden: int) -> None:
        super().__init__()
        self.into, self.code = nn.Linear(n_inputs, hidden), nn.Linear(hidden, 2 * n_latent)
        self.out, self.pixels = nn.Linear(n_latent, hidden), nn.Linear(hidden, n_inputs)

    def minus_elbo(self, x: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """−ELBO in nats per image, averaged over images x (n, N), with one c per image from the noise (n, D)."""
        mean, log_variance = self.code(relu(self.into(x))).chunk(2, dim=1)
        c = mean + torch.exp(log_variance / 2) * noise
        logits = self.pixels(relu(self.out(c)))
        kl = (mean**2 + torch.exp(log_variance) - 1 - log_variance).sum() / 2
        return (binary_cross_entropy_with_logits(logits, x, reduction="sum") + kl) / len(x)

    def decoder(self) -> tuple[Layer, Layer]:
        arrays = {name: p.detach().numpy() for name, p in self.named_parameters()}
        return (
            Layer(arrays["out.weight"].T, "relu", arrays["out.bias"]),
            Layer(arrays["pixels.weight"].T, "sigmoid", arrays["pixels.bias"]),
        )


def images(n_images: int) -> tuple[np.ndarray, str]:
    """Images (n, N) with grey values from 0 to 1 in single precision, and what they are."""
    try:
        x = mnist.load().x_train[:n_images]
        return x.astype(np.float32) / 255, f"the first {len(x)} training images of MNIST"
    except mnist.DataError as missing:
        print(f"MNIST is not here, so that 8 × 8 digits stand in. {missing}")
        x = load_digits().data[:n_images]
        return x.astype(np.float32) / 16, f"{len(x)} of scikit-learn's 8 × 8 digits, in place of MNIST"


def train(
    x: np.ndarray, *, n_latent: int, hidden: int, epochs: int, batch: int = 128, lr: float = 1e-3, seed: int = 0
) -> tuple[Autoencoder, float]:
    """The trained autoencoder, and −ELBO in nats per image over the last epoch."""
    torch.manual_seed(seed)  # the initial weights of torch's layers come from nowhere else
    rng = np.random.default_rng(seed)
    model = Autoencoder(x.shape[1], n_latent, hidden)
    optimiser = torch.optim.Adam(model.parameters(), lr=lr)
    for epoch in range(epochs):
        order, total = rng.permutation(len(x)), 0.0
        for start in range(0, len(x), batch):
            part = torch.from_numpy(x[order[start : start + batch]])
            noise = torch.from_numpy(rng.standard_normal((len(part), n_latent), dtype=np.float32))
            loss = model.minus_elbo(part, noise)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            total += loss.item() * len(part)
        print(f"epoch {epoch + 1:3d}: −ELBO {total / len(x):.2f} nats per image", flush=True)
    return model, total / len(x)


def main() -> None:
    parser = argparse.ArgumentParser(description="Trains the generator of handwritten digits.")
    parser.add_argument("--out", type=Path, default=TRAINED, help="where to write (default: results/)")
    parser.add_argument("--latent", type=int, default=64, help="D")
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--epochs", type=int, default=30)
    given = parser.parse_args()
    # the same sums in the same order on every machine, and no threads that wait for each other
    torch.set_num_threads(1)
    x, data = images(given.images)
    model, loss = train(x, n_latent=given.latent, hidden=400, epochs=given.epochs)
    metadata = {"data": data, "epochs": str(given.epochs), "minus_elbo": f"{loss:.2f} nats per image"}
    save_layers(given.out, model.decoder(), metadata | {k: v for k, v in provenance().items() if k != "machine"})
    print(f"{given.out}: {given.out.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
