"""OmniAnomaly: its densities against textbook ones, its network row by row."""

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal

from lmmoe.detectors.omni_anomaly import OmniNetwork, Planar, following, log_normal


def test_latent_variables_follow_each_other_as_observations_of_a_random_walk():
    rows = 7
    means, deviations = following(rows)
    z = torch.from_numpy(np.random.default_rng(0).normal(size=(rows, 1)).astype(np.float32))
    found = log_normal(z, means @ z, deviations[:, 0]).sum()
    steps = np.minimum.outer(np.arange(1, rows + 1), np.arange(1, rows + 1))
    expected = multivariate_normal(cov=steps + np.eye(rows)).logpdf(z[:, 0])
    assert found.item() == pytest.approx(expected, rel=1e-5)


def test_flows_give_the_determinant_of_their_jacobian_and_can_be_inverted():
    torch.manual_seed(0)
    flow = Planar(3, 5)
    with torch.no_grad():
        flow.u *= 9  # far enough that some would fold without the condition
        flow.w *= -3
    z = torch.tensor([0.3, -1.0, 2.0])
    jacobian = torch.autograd.functional.jacobian(lambda x: flow(x)[0], z)
    assert torch.linalg.det(jacobian) > 0
    assert torch.linalg.slogdet(jacobian)[1].item() == pytest.approx(flow(z)[1].item(), rel=1e-4)


def test_the_network_is_the_paper_s_row_by_row():
    torch.manual_seed(0)
    network = OmniNetwork(4, 6, 2, 5, 3)
    x, noise = torch.randn(1, 4, 6), torch.randn(6, 1, 2)
    cells = {}
    for name in ("encoder", "decoder"):
        weights = getattr(network, name).state_dict()
        cells[name] = torch.nn.GRUCell(4 if name == "encoder" else 2, 5)
        cells[name].load_state_dict({k.removesuffix("_l0"): w for k, w in weights.items()})
    densities, bound = network(x, noise)
    e, d, z, earlier = torch.zeros(1, 5), torch.zeros(1, 5), torch.zeros(1, 2), []
    means, deviations = following(6)
    for t in range(6):
        e = cells["encoder"](x[:, :, t], e)
        both = torch.cat([network.inner.weight, network.before.T], dim=1)  # over state and z
        hidden = torch.relu(torch.cat([e, z], dim=1) @ both.T + network.inner.bias)
        mean, raw = network.latent(hidden).chunk(2, dim=1)
        posterior = torch.distributions.Normal(mean, torch.log1p(raw.exp()) + 1e-4)
        z = mean + posterior.scale * noise[t]
        bent, determinant = network.flows(z)
        earlier.append(bent)
        d = cells["decoder"](bent, d)
        mean, raw = network.rows(torch.relu(network.outer(d))).chunk(2, dim=1)
        row = torch.distributions.Normal(mean, torch.log1p(raw.exp()) + 1e-4)
        assert row.log_prob(x[:, :, t]).detach() == pytest.approx(densities[t].detach(), abs=1e-4)
        middle = sum(means[t, s] * earlier[s] for s in range(t))
        prior = torch.distributions.Normal(middle, deviations[t, 0]).log_prob(bent).sum()
        expected = prior - posterior.log_prob(z).sum() + determinant
        assert bound[t, 0].item() == pytest.approx(expected.item(), abs=1e-4)
