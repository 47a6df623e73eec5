"""Whether nearest neighbours tell drawn rows from others."""

import torch


def nearest_neighbour_accuracy(rows, weight, reference, drawn):
    """Return how well nearest neighbours tell rows and drawn ones apart (Lopez-Paz and Oquab, 2017): 1/2 is best.

    Neighbours are rows of a reference and as many drawn ones. Of rows, that is the share whose nearest neighbour is of
    the reference: it is large if they are far from all that is drawn. Of drawn ones, it is the share whose nearest is
    another drawn one, large if they are far from all rows, or else the share of those whose nearest is of the
    reference, large if they are copies. Among several that are equally near, all count alike. The largest is returned.

    Parameters
    ----------
    rows : Tensor of shape (n, k)
        Points of the same distribution as the reference.
    weight : Tensor of shape (n,)
        Their weights.
    reference : Tensor of shape (m, k)
        Points.
    drawn : Tensor of shape (l * m, k)
        Other points, of which m at a time are set against the reference.

    Returns
    -------
    accuracy : Tensor of shape ()
        Between 0 and 1; with a single point of reference, that of the rows alone.
    """
    to_reference = _distances(rows, reference)
    of_rows, of_drawn = [], []
    for lot in drawn.split(len(reference)):
        of_rows.append(_share_of_nearest(to_reference, _distances(rows, lot)))
        if len(lot) > 1:
            own = _distances(lot, lot).fill_diagonal_(torch.inf)
            of_drawn.append(_share_of_nearest(own, _distances(lot, reference)))
    share = torch.stack(of_rows).mean(dim=0) @ weight / weight.sum()
    if not of_drawn:
        return share
    of_drawn = torch.stack(of_drawn).mean()
    return torch.stack([share, of_drawn, 1 - of_drawn]).max()


def _distances(x, y):
    """Return Euclidean distances, of shape (n, m), to six decimals: equal ones stay equal in a product of matrices."""
    return torch.cdist(x, y, compute_mode="use_mm_for_euclid_dist").round(decimals=6)


def _share_of_nearest(own, other):
    """Return of each point how many of its nearest neighbours are its own, as a share, given distances (n, m)."""
    nearest = torch.minimum(own.amin(dim=1), other.amin(dim=1))[:, None]
    n_own, n_other = ((distances == nearest).sum(dim=1) for distances in (own, other))
    return n_own / (n_own + n_other).double()
