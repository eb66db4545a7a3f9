"""A small vision transformer: a masked autoencoder over 16-pixel patches, with pixel-wise logits after every block.

Tokens keep the raster order of their patches from the first layer to the last, in training as in use.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.networks.blocks import stem
from training.networks.masked_autoencoder import PATCH, Inspection, LogitHead, MaskedAutoencoder, blanked, with_prior


@dataclass(frozen=True)
class TransformerShape:
    """Width, depth and attention heads of encoder and decoder; stem: channels at half the side."""

    encoder: tuple[int, int, int]
    decoder: tuple[int, int, int]
    stem: int


class TransformerBlock(nn.Module):
    """Attention, then a perceptron, each on normalised tokens and added to them; (n, tokens, width)."""

    def __init__(self, width: int, heads: int, expansion: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.norm_attention, self.norm_perceptron = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query_key_value, self.project = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.perceptron = nn.Sequential(
            nn.Linear(width, expansion * width), nn.GELU(), nn.Linear(expansion * width, width)
        )

    def forward(self, tokens: Tensor) -> Tensor:
        parts: Tensor = self.query_key_value(self.norm_attention(tokens))
        parts = parts.reshape(*tokens.shape[:2], 3, self.heads, tokens.shape[2] // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4).unbind(0)
        seen = functional.scaled_dot_product_attention(query, key, value)
        tokens = tokens + self.project(seen.transpose(1, 2).flatten(2))
        result: Tensor = tokens + self.perceptron(self.norm_perceptron(tokens))
        return result


class Transformer(MaskedAutoencoder):
    """Reconstruct pictures (n, 3, size, size) in -1..1 and say where they are defective.

    Patches enter through overlapping convolutions, which learn from few pictures what a linear embedding needs many
    for. One linear head serves every decoder block. The deployed logit is that of the head after the last block,
    refined with the stem's features and the difference of picture and reconstruction; the other blocks' logits only
    train: averaging their probabilities would put a full-resolution sigmoid and logarithm per block into the graph.
    """

    def __init__(self, size: int, shape: TransformerShape, sees_difference: bool = True) -> None:
        super().__init__()
        (wide, depth, heads), (narrow, decoder_depth, decoder_heads) = shape.encoder, shape.decoder
        self.side = size // PATCH
        self.stem = stem(shape.stem)
        widths = [shape.stem, wide // 4, wide // 2, wide]
        layers: list[nn.Module] = []
        for inputs, outputs in itertools.pairwise(widths):
            layers += [nn.Conv2d(inputs, outputs, 3, 2, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
        self.embed = nn.Sequential(*layers, nn.Conv2d(wide, wide, 1))
        self.encoder = nn.Sequential(*(TransformerBlock(wide, heads) for _ in range(depth)), nn.LayerNorm(wide))
        self.bridge = nn.Linear(wide, narrow)
        self.mask_token = nn.Parameter(torch.zeros(narrow))
        self.decoder = nn.ModuleList(TransformerBlock(narrow, decoder_heads) for _ in range(decoder_depth))
        self.norm = nn.LayerNorm(narrow)
        self.recon_head = nn.Linear(narrow, 3 * PATCH * PATCH)
        self.block_head = with_prior(nn.Linear(narrow, PATCH * PATCH))
        self.logit_head = LogitHead(shape.stem + 4, shape.stem, sees_difference, prior=0.0)
        self.encoder_places: Tensor
        self.decoder_places: Tensor
        self.register_buffer("encoder_places", sine_places(self.side, wide), persistent=False)
        self.register_buffer("decoder_places", sine_places(self.side, narrow), persistent=False)

    def slow_parameters(self) -> list[nn.Parameter]:
        return [p for part in (self.stem, self.embed, self.encoder) for p in part.parameters()]

    def reconstruct_masked(self, image: Tensor, masked: Tensor) -> Tensor:
        # blanked before the stem: its kernels overlap, and would tell a patch's border to its neighbours
        tokens = self._tokens(self.stem(blanked(image, masked)))
        flat = masked.flatten(1)
        seen = (~flat).nonzero()[:, 1].view(flat.shape[0], -1, 1)
        visible = self.bridge(self.encoder(tokens.gather(1, seen.expand(-1, -1, tokens.shape[2]))))
        everywhere = self.mask_token.to(visible.dtype).expand(*flat.shape, -1)
        everywhere = everywhere.scatter(1, seen.expand(-1, -1, visible.shape[2]), visible)
        return self._reconstruction(self._decode(everywhere)[-1])

    def inspect(self, image: Tensor) -> Inspection:
        near, decoded = self._see(image)
        recon = self._reconstruction(decoded[-1])
        halves = [self._block_logits(tokens) for tokens in decoded]
        logits = [functional.pixel_shuffle(half, 2) for half in halves]
        return Inspection(recon, [*logits, self._refined(near, halves[-1], image, recon)])

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        near, decoded = self._see(image)
        recon = self._reconstruction(decoded[-1])
        return {"recon": recon, "seg_logit": self._refined(near, self._block_logits(decoded[-1]), image, recon)}

    def _see(self, image: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Features at half the side, and the tokens after every decoder block."""
        near = self.stem(image)
        return near, self._decode(self.bridge(self.encoder(self._tokens(near))))

    def _tokens(self, near: Tensor) -> Tensor:
        embedded: Tensor = self.embed(near).flatten(2).transpose(1, 2)
        return embedded + self.encoder_places

    def _decode(self, tokens: Tensor) -> list[Tensor]:
        tokens = tokens + self.decoder_places
        after = []
        for block in self.decoder:
            tokens = block(tokens)
            after.append(tokens)
        return after

    def _reconstruction(self, tokens: Tensor) -> Tensor:
        return functional.pixel_shuffle(self._grid(self.recon_head(self.norm(tokens))), PATCH)

    def _block_logits(self, tokens: Tensor) -> Tensor:
        """(n, 4, s/2, s/2): the logits of 2x2 pixels at every place."""
        return functional.pixel_shuffle(self._grid(self.block_head(self.norm(tokens))), PATCH // 2)

    def _grid(self, tokens: Tensor) -> Tensor:
        return tokens.transpose(1, 2).reshape(tokens.shape[0], tokens.shape[2], self.side, self.side)

    def _refined(self, near: Tensor, half: Tensor, image: Tensor, recon: Tensor) -> Tensor:
        refinement: Tensor = self.logit_head(torch.cat([near, half], 1), image, recon)
        # in this order: export finds the last convolution by the first summand
        return refinement + functional.pixel_shuffle(half, 2)


def sine_places(side: int, width: int) -> Tensor:
    """(1, side * side, width): sines and cosines of row and column at octaves of frequency; fixed, in raster order."""
    frequency = torch.exp(-math.log(10000.0) * torch.arange(width // 4) / (width // 4))
    angle = torch.arange(side)[:, None] * frequency
    axis = torch.cat([angle.sin(), angle.cos()], 1)  # (side, width / 2)
    rows, columns = axis[:, None].expand(-1, side, -1), axis[None].expand(side, -1, -1)
    return torch.cat([rows, columns], 2).reshape(1, side * side, width)
