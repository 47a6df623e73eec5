"""Questions to a mixture that are there as far as its components answer them."""

from sklearn.utils.metaestimators import available_if

from sklearn_dgm._nested.measures import measures_of, measures_of_schema
from sklearn_dgm._queries.conditioning import ConditionalMixin
from sklearn_dgm.base import BaseDensity
from sklearn_dgm.mixture._densities import DensityMixture, TableSchema
from sklearn_dgm.mixture._queries import MixtureQueriesMixin


def has_closed_forms(density):
    """Tell whether the components of a mixture are named, and none of any density."""
    return isinstance(density.component, str)


def _conditions(density):
    """Tell whether the components of a mixture give some columns given others, encoded ones."""
    component = density.component
    is_family = isinstance(component, ConditionalMixin) and isinstance(component, BaseDensity)
    return has_closed_forms(density) or (is_family and hasattr(component, "conditional_sample"))


class ComponentQueriesMixin(MixtureQueriesMixin):
    """Mixin of a mixture whose `component` is the name of a closed form, or a density."""

    conditional_sample = available_if(_conditions)(ConditionalMixin.conditional_sample)
    conditional_mean = available_if(_conditions)(ConditionalMixin.conditional_mean)
    conditional_mode = available_if(_conditions)(ConditionalMixin.conditional_mode)
    predict_column = available_if(_conditions)(ConditionalMixin.predict_column)
    marginal = available_if(_conditions)(ConditionalMixin.marginal)
    _factors = available_if(has_closed_forms)(MixtureQueriesMixin._factors)

    @property
    def _marginals_are_exact(self):
        if has_closed_forms(self):
            return True
        return getattr(self.component, "_marginals_are_exact", False)

    def _measures(self):
        """Return the measure of each column; see :func:`~sklearn_dgm._nested.measures.measures_of`."""
        if isinstance(self.schema_, TableSchema):
            return measures_of(self._mixture.fitted[0][1])
        return measures_of_schema(self.schema_)

    def _is_estimated(self, Z):
        return self._mixture.is_estimated(Z)

    def _conditional_draws(self, Z, n_samples, rng):
        if isinstance(self._mixture, DensityMixture):
            return ConditionalMixin._conditional_draws(self, Z, n_samples, rng)
        return super()._conditional_draws(Z, n_samples, rng)

    def _conditional_means(self, Z):
        if isinstance(self._mixture, DensityMixture):
            return ConditionalMixin._conditional_means(self, Z)
        return super()._conditional_means(Z)

    def _completions(self, Z, n_particles, rng=None):
        if isinstance(self._mixture, DensityMixture):
            return self._mixture.completions(Z, n_particles, rng)
        return super()._completions(Z, n_particles, rng)
