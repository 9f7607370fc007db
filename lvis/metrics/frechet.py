"""The Frechet distance of two sets of features, added up set by set in constant memory."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lvis.metrics.errors import Unmeasured


@dataclass(frozen=True)
class Moments:
    """Count, mean and centred second moment of feature vectors: a value that is added to.

    `add` and `merge` give new ones, so parts computed by several processes are merged as they
    come (Chan, Golub and LeVeque 1979); in float64 the order changes the last digits at most.

    Attributes:
        count: feature vectors so far.
        mean: (D,) float64.
        scatter: (D, D) float64, the sum of (f - mean)(f - mean)^T.
    """

    count: int
    mean: Tensor
    scatter: Tensor

    @classmethod
    def empty(cls, dimensions: int) -> Moments:
        """Of no vectors."""
        zeros = torch.zeros(dimensions, dimensions, dtype=torch.float64)
        return cls(0, zeros[0].clone(), zeros)

    @classmethod
    def of(cls, features: Tensor) -> Moments:
        """Of the rows of (N, D)."""
        features = features.detach().double().cpu()
        if not len(features):
            return cls.empty(features.shape[1])
        mean = features.mean(dim=0)
        centred = features - mean
        return cls(len(features), mean, centred.T @ centred)

    def add(self, features: Tensor) -> Moments:
        """These and the rows of (N, D)."""
        return self.merge(Moments.of(features))

    def merge(self, other: Moments) -> Moments:
        """Of both sets together.

        Raises:
            ValueError: features of another dimension.
        """
        if self.mean.shape != other.mean.shape:
            raise ValueError(f"{len(self.mean)} and {len(other.mean)} features do not merge")
        count = self.count + other.count
        if not count:
            return self
        shift = other.mean - self.mean
        between = torch.outer(shift, shift) * (self.count * other.count / count)
        return Moments(
            count,
            self.mean + shift * (other.count / count),
            self.scatter + other.scatter + between,
        )

    @property
    def covariance(self) -> Tensor:
        """(D, D), divided by count - 1.

        Raises:
            Unmeasured: fewer than two vectors.
        """
        if self.count < 2:
            raise Unmeasured(f"{self.count} feature vectors; a covariance needs 2 or more")
        return self.scatter / (self.count - 1)


def frechet_distance(first: Moments, second: Moments) -> float:
    """|m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)), between Gaussians of these moments
    (Heusel et al. 2017, equation 6).

    tr (S1 S2)^(1/2) is the sum of the square roots of the eigenvalues of the symmetric
    S1^(1/2) S2 S1^(1/2), so covariances without full rank, the rule with 100 clips and 400
    features, need no small multiple of the identity.

    Raises:
        Unmeasured: fewer than two vectors on a side.
        ValueError: features of different dimensions.
    """
    if first.mean.shape != second.mean.shape:
        raise ValueError(f"{len(first.mean)} and {len(second.mean)} features are not comparable")
    a, b = first.covariance, second.covariance
    values, vectors = torch.linalg.eigh(a)
    root = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    cross = torch.linalg.eigvalsh(root @ b @ root).clamp(min=0).sqrt().sum()
    distance = (first.mean - second.mean).square().sum() + a.trace() + b.trace() - 2 * cross
    return max(0.0, distance.item())
