"""Picture of the tree of a sequence."""

from typing import Any, Self

from sklearn.utils.validation import check_is_fitted

from sklearn_dgm._sklearn import check_matplotlib_support
from sklearn_dgm.grammar._trees import CLOSE, LEAF, OPEN, is_tree, parts_of
from sklearn_dgm.tags import last_step

# Lengths are in points.
FONT_SIZE, GAP, LEVEL, LEAN = 10, 10, 30, 8
LINE_COLOR, LEAF_COLOR = "0.55", "tab:blue"
MIN_WIDTH = 72


class ParseTreeDisplay:
    """The tree of a sequence: nodes above what they consist of, and the steps at the foot, from left to right.

    It is recommended to use :meth:`from_estimator` to create a display. All parameters are stored as attributes.

    Parameters
    ----------
    tree : {tuple, str, nltk.Tree}
        A label and children, each of which is such a tuple or a leaf; or a tree in another form that `predict` returns
        or `fit` takes.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes.
    figure_ : matplotlib Figure or SubFigure
        The figure.
    labels_ : list of matplotlib Text
        The labels of the nodes, a node before those below it.
    leaves_ : list of matplotlib Text
        The leaves, from left to right.
    lines_ : list of matplotlib Line2D
        The lines from nodes to what is below them.

    See Also
    --------
    ContextFreeGrammarDensity : Learns trees, and finds that of a sequence.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from sklearn_dgm import ContextFreeGrammarDensity, ParseTreeDisplay
    >>> sentences = [["the", "dog", "barks"], ["the", "cat", "sees", "the", "dog"]]
    >>> trees = [
    ...     "(S (NP (DT the) (NN dog)) (VP (VB barks)))",
    ...     "(S (NP (DT the) (NN cat)) (VP (VB sees) (NP (DT the) (NN dog))))",
    ... ]
    >>> density = ContextFreeGrammarDensity().fit(sentences, trees)
    >>> display = ParseTreeDisplay.from_estimator(density, ["the", "dog", "sees", "the", "cat"])
    >>> [leaf.get_text() for leaf in display.leaves_]
    ['the', 'dog', 'sees', 'the', 'cat']
    >>> plt.close("all")
    """

    def __init__(self, tree: Any) -> None:
        self.tree = tree

    @classmethod
    def from_estimator(cls, estimator: Any, sequence: Any, *, ax: Any = None) -> Self:
        """Draw the most probable tree of a sequence.

        Parameters
        ----------
        estimator : estimator instance
            A fitted :class:`~sklearn_dgm.ContextFreeGrammarDensity`, or a search that ends in one.
        sequence : {str, list, tuple, ndarray}
            One sequence: a row of what `fit` takes.
        ax : matplotlib Axes, default=None
            Axes to draw on; by default a new figure, as large as the tree needs.

        Returns
        -------
        display : ParseTreeDisplay
            The picture and what it shows.

        Raises
        ------
        TypeError
            If the estimator predicts no trees.
        ValueError
            If the sequence has no tree.
        """
        check_matplotlib_support(f"{cls.__name__}.from_estimator")
        check_is_fitted(estimator)
        grammar = last_step(estimator)
        if not hasattr(grammar, "symbols_"):
            raise TypeError(
                f"{type(grammar).__name__} is no grammar: it predicts no trees to draw."
            )
        tree = grammar.predict([sequence], form="tuples")[0]
        if tree is None:
            raise ValueError(f"the sequence has no tree to draw: {sequence!r:.200}.")
        return cls(tree).plot(ax=ax)

    def plot(self, ax: Any = None) -> Self:
        """Draw the tree.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on; by default a new figure, as large as the tree needs.

        Returns
        -------
        display : ParseTreeDisplay
            The display, with its artists.

        Raises
        ------
        TypeError
            If `tree` is no tree.
        ValueError
            If its brackets do not match.
        """
        check_matplotlib_support(f"{type(self).__name__}.plot")
        import matplotlib.pyplot as plt

        nodes, below = _in_order(self.tree)
        has_own_figure = ax is None
        if has_own_figure:
            figure = plt.figure()
            ax = figure.add_axes((0, 0, 1, 1))
        self.ax_, self.figure_ = ax, ax.figure
        ax.set_axis_off()
        self.labels_: list[Any] = []
        self.leaves_: list[Any] = []
        self.lines_: list[Any] = []
        texts = [self._write(*node) for node in nodes]
        x, y, width = _places(below, [self._width(text) + GAP for text in texts])
        height = max(y)
        ax.set(xlim=(0, width), ylim=(height + LEVEL / 2, -LEVEL / 2))
        if has_own_figure:
            self.figure_.set_size_inches(max(width, MIN_WIDTH) / 72, (height + LEVEL) / 72)
        for k, text in enumerate(texts):
            text.set_position((x[k], y[k]))
            for child in below[k]:
                ends = [y[k] + LEAN, y[child] - LEAN]
                self.lines_ += ax.plot([x[k], x[child]], ends, color=LINE_COLOR, linewidth=1)
        return self

    def _write(self, text, is_leaf):
        """Write the label of a node, or a leaf."""
        artist = self.ax_.text(
            0,
            0,
            text,
            fontsize=FONT_SIZE,
            ha="center",
            va="center",
            color=LEAF_COLOR if is_leaf else "black",
            parse_math=False,
        )
        (self.leaves_ if is_leaf else self.labels_).append(artist)
        return artist

    def _width(self, text):
        return text.get_window_extent().width / self.figure_.dpi * 72


def _in_order(tree):
    """Return labels and leaves, a node before what is below it, and the numbers of those just below each."""
    if not is_tree(tree):
        raise TypeError(
            f"tree should be a tree in brackets, an nltk.Tree, or nested tuples, got {tree!r:.100}."
        )
    unmatched = ValueError(f"tree is not one tree whose brackets match: {tree!r:.100}.")
    nodes, below, opened = [], [], []
    for kind, value in parts_of(tree):
        if kind != CLOSE:
            if opened:
                below[opened[-1]].append(len(nodes))
            elif nodes or kind == LEAF:
                raise unmatched
            if kind == OPEN:
                opened.append(len(nodes))
            nodes.append((str(value), kind == LEAF))
            below.append([])
        elif opened:
            opened.pop()
        else:
            raise unmatched
    if opened or not nodes:
        raise unmatched
    return nodes, below


def _places(below, widths):
    """Return the places of nodes, each with room for its label and for what is below it, and the width of all."""
    n = len(widths)
    room, left, x, depth = list(widths), [0.0] * n, [0.0] * n, [0] * n
    for k in reversed(range(n)):
        room[k] = max(room[k], sum(room[child] for child in below[k]))
    for k in range(n):
        at = left[k] + (room[k] - sum(room[child] for child in below[k])) / 2
        for child in below[k]:
            left[child], depth[child] = at, depth[k] + 1
            at += room[child]
    for k in reversed(range(n)):
        ends = below[k][:1] + below[k][-1:]
        x[k] = sum(x[child] for child in ends) / 2 if ends else left[k] + room[k] / 2
    # All leaves stand at the foot.
    y = [float(LEVEL * (depth[k] if below[k] else max(depth))) for k in range(n)]
    return x, y, room[0]
