import torch
from torch import nn

from lvis.pretrain.muon import Muon, is_hidden_matrix, orthogonalised
from lvis.pretrain.schedule import optimizers, warmup_cosine


def test_an_update_has_nearly_equal_singular_values():
    for shape in ((8, 40), (40, 8)):
        update = orthogonalised(torch.randn(*shape)).float()
        values = torch.linalg.svdvals(update)
        # the quintic iteration lands in about [0.7, 1.2] (Jordan et al.)
        assert values.min() > 0.5
        assert values.max() < 1.4


def test_it_descends_on_convolution_kernels():
    torch.manual_seed(0)
    conv, wanted = nn.Conv3d(4, 8, 3, padding=1), nn.Conv3d(4, 8, 3, padding=1)
    frames = torch.randn(2, 4, 3, 6, 6)
    optimizer = Muon([conv.weight], lr=0.02)
    losses = []
    for _ in range(40):
        loss = (conv(frames) - wanted(frames).detach()).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def test_every_parameter_has_exactly_one_optimizer():
    net = nn.Sequential(nn.Conv3d(3, 8, 3), nn.Conv3d(8, 8, 3), nn.Linear(8, 3))
    chosen = optimizers(net.named_parameters(), adamw_rate=1e-3, muon_rate=1e-2)
    owned = [p for optimizer in chosen for group in optimizer.param_groups for p in group["params"]]
    assert sorted(map(id, owned)) == sorted(map(id, net.parameters()))
    assert not is_hidden_matrix(net[0].weight)  # pixels in
    assert is_hidden_matrix(net[1].weight)


def test_muon_leaves_alone_what_is_named():
    net = nn.ModuleDict({"text": nn.Linear(8, 8), "other": nn.Linear(8, 8)})
    adamw, muon = optimizers(
        net.named_parameters(), adamw_rate=1e-3, muon_rate=1e-2, adamw_only=("text.",)
    )
    assert [id(p) for p in muon.param_groups[0]["params"]] == [id(net["other"].weight)]
    assert any(p is net["text"].weight for p in adamw.param_groups[0]["params"])


def test_the_rate_warms_up_and_falls_to_its_last_value():
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = warmup_cosine(optimizer, steps=100, warmup_steps=10)
    rates = []
    for _ in range(101):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates[0] < rates[5] < rates[10] == max(rates)
    assert abs(rates[100] - 0.02) < 1e-9
