import torch

from longtake.autoencoders import Posterior


def test_kl_is_the_mean_log_ratio_of_the_densities_summed_over_a_sample():
    mean, log_variance = torch.randn(2, 3, 4), torch.randn(2, 3, 4)
    x = torch.linspace(-30, 30, 6001)[:, None, None, None]
    log_p = -0.5 * ((x - mean) ** 2 / log_variance.exp() + log_variance)
    log_ratio = log_p + 0.5 * x**2
    density = log_p.exp() / (2 * torch.pi) ** 0.5
    want = torch.trapezoid(density * log_ratio, dx=0.01, dim=0).sum((1, 2))
    got = Posterior(mean=mean, log_variance=log_variance).kl()
    torch.testing.assert_close(got, want, atol=1e-3, rtol=1e-3)


def test_kl_of_the_standard_normal_is_zero():
    zeros = torch.zeros(2, 3, 4)
    assert Posterior(mean=zeros, log_variance=zeros).kl().eq(0).all()


def test_a_sample_moves_with_mean_and_deviation():
    mean, noise = torch.randn(2, 3), torch.randn(2, 3)
    posterior = Posterior(mean=mean, log_variance=torch.full((2, 3), 4.0).log())
    torch.testing.assert_close(posterior.sample(noise), mean + 2 * noise)
