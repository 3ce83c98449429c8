"""Dropout's mask: its share, its values, and that four elements of one draw are independent."""

import torch

from lmmoe.mmoe import keep_mask


def seeded(number):
    return torch.Generator().manual_seed(number)


def test_the_mask_drops_its_share():
    for share in [0.05, 0.1, 0.2, 0.5, 0.9]:
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
