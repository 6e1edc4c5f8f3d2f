"""What a linear model needs to know of the examples: sums and products of their columns.

For tables [X Y] of p inputs and q targets, one row an example,

    sums = 1ᵀ[X Y],    products = Xᵀ[X Y]                                                    (1)

hold everything that ridge regression with an intercept needs:

    (X_cᵀX_c + ridge·I) W = X_cᵀY_c,   the columns centred                                   (2)

They come as exact integers, from fixed-point numbers with f fraction bits, so that a protocol may
add them up in a ring. No adversary here; who may see them is the protocol's to say.
Source of (2): Hastie, Tibshirani and Friedman, The Elements of Statistical Learning, 2nd edition,
section 3.4.1.
"""

import warnings
from dataclasses import dataclass

import numpy as np
import scipy.linalg


@dataclass(frozen=True)
class Aggregates:
    """What the servers open, exact: (1) in units of 2^-f (sums) and 2^-2f (products).

    ``rows``: patients in it. ``sums``: ``int64`` (p + q,), p columns of X and then q of Y.
    ``products``: ``int64`` (p, p + q). ``survivors``: whose tables are in it.
    """

    rows: int
    sums: np.ndarray
    products: np.ndarray
    fraction_bits: int
    survivors: tuple[str, ...]

    @property
    def mean(self) -> np.ndarray:
        """Of each column of X and Y, (p + q,)."""
        return self.sums / (self.rows * 2.0**self.fraction_bits)

    @property
    def covariance(self) -> np.ndarray:
        """Of each column of X with each of X and Y, (p, p + q), divided by the rows."""
        # n Σ x y - Σx Σy, in integers: in doubles a constant column would not come out as 0.
        wide, inputs = self.products.astype(object), len(self.products)
        sums = self.sums.astype(object)
        centred = self.rows * wide - np.outer(sums[:inputs], sums)
        return (centred / (self.rows**2 * 4**self.fraction_bits)).astype(np.float64)

    @property
    def variance(self) -> np.ndarray:
        """Of each column of X, (p,), divided by the rows."""
        return np.diagonal(self.covariance).copy()

    def solve(self, ridge: float) -> tuple[np.ndarray, np.ndarray]:
        """Weights (q, p) and intercepts (q,) by (2); ValueError if ridge=0 leaves them open."""
        inputs, scatter = len(self.products), self.rows * self.covariance
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", scipy.linalg.LinAlgWarning)
                matrix = scatter[:, :inputs] + ridge * np.eye(inputs)
                weights = scipy.linalg.solve(matrix, scatter[:, inputs:], assume_a="pos").T
        except (np.linalg.LinAlgError, scipy.linalg.LinAlgWarning) as error:
            raise ValueError(
                f"X'X must be invertible with ridge={ridge}, and is not: some columns are constant "
                "or depend on others; take a larger ridge"
            ) from error
        return weights, self.mean[inputs:] - weights @ self.mean[:inputs]
