"""Questions to an autoencoder: given its latents the columns of a row are independent."""

import numpy as np
import torch

from sklearn_dgm._queries.conditioning import Completions, ConditionalMixin, expected_cells
from sklearn_dgm._training.seeding import one_thread, torch_generator

# Draws of a cell whose mean or mode is the expectation of it.
N_DRAWS = 128


class AutoencoderQueriesMixin(ConditionalMixin):
    """Mixin of densities whose `_module` is a :class:`~sklearn_dgm.nn.vae.VariationalAutoencoder`."""

    def _is_estimated(self, Z):
        return np.full(len(Z), self.score_kind_ != "exact")

    def _completions(self, Z, n_particles, rng=None):
        """Yield completions given proposed latents; see :class:`ConditionalMixin`."""
        is_complete = ~np.isnan(Z).any(axis=1)
        (complete,), (others,) = np.nonzero(is_complete), np.nonzero(~is_complete)
        if len(complete):
            log_p = self._log_density(Z[complete])[:, None]
            yield Completions(complete, Z[complete][:, None], log_p, np.full(len(complete), np.inf))
        device = self._module_device()
        generator = None if rng is None else torch_generator(rng, device)
        step = self._latent_rows_at_once(n_particles)
        for start in range(0, len(others), step):
            rows = others[start : start + step]
            with one_thread(), torch.no_grad():
                z = torch.tensor(Z[rows], device=device)
                filled, log_w = self._module.complete(z, n_particles, generator)
                ess = 1 / log_w.softmax(dim=1).square().sum(dim=1)
            log_w = log_w - np.log(n_particles)
            yield Completions(rows, *(part.cpu().numpy() for part in (filled, log_w, ess)))

    def _log_density_at(self, z, Z, j):
        # All values share the latents, or their ratios would be those of two estimates.
        module, n_samples = self._module, self.n_importance_samples
        values = np.hstack([Z, z])

        def at(parts):
            rows, x = parts.split([Z.shape[1], z.shape[1]], dim=1)
            return module.log_prob_at(rows, j, x, n_samples)

        return self._in_chunks(at, values, self._latent_rows_at_once(n_samples * z.shape[1]))

    def _expected_given(self, H):
        """Return encoded rows of expectations and most probable categories, given latents (n, n_latents)."""
        uniforms = (torch.arange(N_DRAWS, dtype=torch.float64) + 0.5) / N_DRAWS
        columns = self.schema_.columns_
        weight = np.full((1, N_DRAWS), 1 / N_DRAWS)

        def expected(h):
            of_cells = uniforms.to(h).repeat(len(h))[:, None].expand(-1, len(columns))
            z = self._module.rows_of(h.repeat_interleave(N_DRAWS, dim=0), of_cells)
            z = z.reshape(len(h), N_DRAWS, -1).cpu().numpy()
            weights = np.broadcast_to(weight, z.shape[:2])
            cells = [expected_cells(c, z[..., j], weights) for j, c in enumerate(columns)]
            return torch.from_numpy(np.column_stack(cells))

        return self._in_chunks(expected, H, self._latent_rows_at_once(N_DRAWS))
