"""Dropout's mask: its share, its values, and that four elements of one draw are independent."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lmmoe.mmoe import keep_mask


def seeded(number):
    return torch.Generator().manual_seed(number)


@pytest.mark.parametrize("share", [0.05, 0.1, 0.2, 0.5, 0.9])
def test_the_mask_drops_its_share(share):
    mask = keep_mask(torch.empty(400, 1001), share, seeded(0))
    kept = torch.tensor(1 / (1 - share))  # rounded as the mask is
    assert set(mask.unique().tolist()) == {0.0, float(kept)}
    count = mask.numel()
    spread = (share * (1 - share) / count) ** 0.5
    assert abs(float((mask == 0).double().mean()) - share) < 4.5 * spread
    # Each draw serves four elements: all four must have the share, and not drop together.
    four = (mask.flatten()[: count // 4 * 4].view(-1, 4) == 0).double()
    assert (four.mean(dim=0) - share).abs().max() < 9.5 * spread
    both = (four[:, :3] * four[:, 1:]).mean(dim=0)
    assert (both - share**2).abs().max() < 10 * spread


@given(st.lists(st.integers(1, 7), min_size=1, max_size=4), st.floats(0.01, 0.99))
def test_the_mask_has_the_shape_of_what_it_masks(shape, share):
    x = torch.empty(shape)
    mask = keep_mask(x, share, seeded(0))
    assert mask.shape == x.shape and mask.dtype == x.dtype
    assert (mask[mask > 0] - 1 / (1 - share)).abs().max() < 1e-4 if (mask > 0).any() else True
    assert torch.equal(mask, keep_mask(x, share, seeded(0)))
