"""Trees of sequences: in brackets, as tuples and as objects with labels, and the symbols of a grammar that they are of.

A grammar in Chomsky's normal form knows nodes of two children, and leaves. A chain of nodes with one child each is one
symbol, and further children hang below intermediate symbols, which know a few of the children to come.
"""

import re
from collections.abc import Mapping
from numbers import Number
from typing import NamedTuple

import numpy as np

from sklearn_dgm.columns import is_frame
from sklearn_dgm.columns._reading import is_missing
from sklearn_dgm.sequence._labels import rows_of_labels

OPEN, CLOSE, LEAF = "open", "close", "leaf"
# What would be taken for the brackets of the tree, or for the end of a word.
ESCAPES = {"(": "-LRB-", ")": "-RRB-", " ": "-SPACE-", "\n": "-NEWLINE-", "\t": "-TAB-"}
ESCAPED = str.maketrans(ESCAPES)
# Between the labels of a chain; before the children to come.
JOINT, AHEAD = "+", "|"


class Symbol(NamedTuple):
    """What a symbol of the grammar stands for.

    Attributes
    ----------
    labels : tuple of str
        The labels of a chain of nodes, the highest first; of an intermediate symbol that of the node; none of a leaf
        that has siblings.
    marks : tuple of str
        Of an intermediate symbol a mark, and the names of the children to come; of such a leaf its word.
    """

    labels: tuple
    marks: tuple = ()

    @property
    def is_intermediate(self):
        """Whether it is no node of the tree."""
        return bool(self.labels and self.marks)

    @property
    def name(self):
        """A name to read."""
        if not self.labels:
            return self.marks[0]
        label = JOINT.join(self.labels)
        return f"{label}{AHEAD}<{'-'.join(self.marks[1:])}>" if self.marks else label


def unique_names(symbols):
    """Return the names of symbols, of which one that others have, too, has a number behind it."""
    names: dict[str, None] = {}
    taken = {symbol.name for symbol in symbols}
    for symbol in symbols:
        name, number = symbol.name, 1
        if name in names:
            while name in taken:
                number += 1
                name = f"{symbol.name}#{number}"
        taken.add(name)
        names[name] = None
    return list(names)


class Node(NamedTuple):
    """A node of several children, or a leaf, and the chain of labels above.

    Attributes
    ----------
    labels : tuple of str
        The labels, the highest first; none of a leaf that has siblings.
    children : list of Node or None
        What is below; None of a leaf.
    step : int
        Which step of the sequence a leaf is.
    word : str
        The leaf.
    """

    labels: tuple
    children: list | None
    step: int = -1
    word: str = ""

    @property
    def symbol(self):
        """The symbol that it is of."""
        return Symbol(self.labels) if self.labels else Symbol((), (self.word,))


def escaped(token):
    """Return a token as it stands in brackets.

    Raises
    ------
    ValueError
        If it is empty or has white space that has no name.
    """
    text = str(token).translate(ESCAPED)
    if not text or re.search(r"\s", text):
        raise ValueError(f"the token {token!r} cannot be written in brackets; take form='tuples'.")
    return text


def parts_of(tree):
    """Yield the parts of a tree from left to right: where nodes begin, with their labels, leaves, and where nodes end.

    Parameters
    ----------
    tree : str, tuple or object with a method `label`
        A tree: in brackets; as tuples of a label and children; or an object whose elements are its children, such as
        ``nltk.Tree``.

    Yields
    ------
    kind : {"open", "leaf", "close"}
        What it is.
    value : object
        A label, a leaf, or None.

    Raises
    ------
    ValueError
        If it is no tree.
    """
    if isinstance(tree, str):
        yield from _parts_of_brackets(tree)
        return
    stack = [(None, tree)]
    while stack:
        kind, value = stack.pop()
        if kind is not None or not _is_node(value):
            yield kind or LEAF, value
            continue
        label = value.label() if hasattr(value, "label") else value[0] if value else ""
        children = list(value) if hasattr(value, "label") else value[1:]
        yield OPEN, label
        stack.append((CLOSE, None))
        stack.extend((None, child) for child in reversed(children))


def is_tree(value):
    """Tell whether something has one of the forms of trees."""
    return isinstance(value, str) or _is_node(value)


def _is_node(value):
    return isinstance(value, tuple) or callable(getattr(value, "label", None))


def _parts_of_brackets(text):
    for bracket, word in re.findall(r"(\(\s*[^\s()]*|\))|([^\s()]+)", text):
        if word:
            yield LEAF, word
        else:
            yield (CLOSE, None) if bracket == ")" else (OPEN, bracket[1:].strip())


def read_tree(tree, tokens):
    """Read the tree of a sequence.

    Parameters
    ----------
    tree : str, tuple or object with a method `label`
        The tree; see :func:`parts_of`.
    tokens : list
        The sequence.

    Returns
    -------
    root : Node
        The root; one without a label that has one child is left out.

    Raises
    ------
    ValueError
        If it is no tree, or its leaves are not the sequence.
    """
    opened, n_leaves, root = [], 0, None
    for kind, value in parts_of(tree):
        if root is not None:
            raise ValueError("goes on after its end")
        if not opened and kind != OPEN:
            raise ValueError(f"begins with {value!r}, and not with a node such as '(S'")
        if kind == OPEN:
            if value is None:
                raise ValueError("has a node whose label is None")
            value = str(value)
            if re.search(r"[\s()]", value):
                raise ValueError(f"has the label {value!r}, which is no word without brackets")
            opened.append((value, []))
            continue
        if kind == LEAF:
            if n_leaves == len(tokens) or not _is_token(value, tokens[n_leaves]):
                there = repr(tokens[n_leaves]) if n_leaves < len(tokens) else "no step more"
                raise ValueError(f"has the leaf {value!r} where the sequence has {there}")
            node = Node((), None, n_leaves, str(tokens[n_leaves]))
            n_leaves += 1
        else:
            node = _closed(*opened.pop())
        if opened:
            opened[-1][1].append(node)
        else:
            root = node
    if root is None:
        raise ValueError(f"lacks {len(opened)} closing bracket(s)" if opened else "is empty")
    if n_leaves < len(tokens):
        raise ValueError(f"has {n_leaves} leaves, the sequence {len(tokens)} steps")
    return root


def _is_token(leaf, token):
    if isinstance(leaf, np.ndarray | list):
        return False
    return leaf == token or str(leaf) in (str(token), str(token).translate(ESCAPED))


def _closed(label, children):
    """Return a node with these children, one of which is a part of its chain."""
    if not children:
        raise ValueError(f"has a node {label!r} without children")
    first = children[0]
    if not label and not first.labels and first.children is None:
        # Written in brackets, the leaf would be the label.
        raise ValueError(f"has a node without a label that begins with the leaf {first.word!r}")
    if len(children) > 1:
        return Node((label,), children)
    (child,) = children
    return child._replace(labels=(label, *child.labels)) if label else child


def productions(root, markov_order):
    """Yield the rules that a tree is derived by.

    Parameters
    ----------
    root : Node
        The tree.
    markov_order : int
        How many of the children to come intermediate symbols know.

    Yields
    ------
    production : (Symbol, Symbol, Symbol) or (Symbol, int)
        A symbol and both its children, or the step that it emits.
    """
    stack = [root]
    while stack:
        node = stack.pop()
        if node.children is None:
            yield node.symbol, node.step
            continue
        stack += node.children
        symbols, parent = [child.symbol for child in node.children], node.symbol
        names = [symbol.name for symbol in symbols]
        for j, symbol in enumerate(symbols[:-2], 1):
            rest = Symbol(node.labels[-1:], (AHEAD, *names[j : j + markov_order]))
            yield parent, symbol, rest
            parent = rest
        yield parent, *symbols[-2:]


def as_tuples(label, children):
    """Return a node as a tuple of its label and children."""
    return (label, *children)


def as_brackets(label, children):
    """Return a node in brackets."""
    return f"({label} {' '.join(children)})"


def built(nodes, symbols, leaves, make_node):
    """Return the tree of a derivation.

    Parameters
    ----------
    nodes : list of (int, int, int)
        Symbol, first step and length of each span; see :func:`~sklearn_dgm.grammar._inside.best_derivation`.
    symbols : list of Symbol
        What symbols stand for.
    leaves : list
        The leaves.
    make_node : {as_tuples, as_brackets}
        Makes a node of its label and children.

    Returns
    -------
    tree : {tuple, str}
        The tree; a leaf alone is a tree of that leaf.
    """
    parts = []  # for each node that no parent has yet the trees that stand in its place
    for number, start, length in reversed(nodes):
        symbol = symbols[number]
        trees = [leaves[start]] if length == 1 else [*parts.pop(), *parts.pop()]
        for label in () if symbol.is_intermediate else reversed(symbol.labels):
            trees = [make_node(label, trees)]
        parts.append(trees)
    ((tree,),) = parts
    return tree


def rows_of_trees(y):
    """Return what y has for each sequence as a list; None if it holds no trees, such as one number for each.

    Raises
    ------
    TypeError
        If it has no length or no order.
    ValueError
        If it is a single tree.
    """
    if y is None:
        return None
    if isinstance(y, str) or hasattr(y, "label"):
        raise ValueError("y is a single tree; hand in a list of trees, [y].")
    if hasattr(y, "__array__") and not hasattr(y, "__len__"):
        y = np.asarray(y)
    rows = rows_of_labels(y)
    if rows is None:
        if isinstance(y, Mapping) or not (hasattr(y, "__len__") and hasattr(y, "__getitem__")):
            raise TypeError(
                f"y should be a list of trees, got {type(y).__name__}; hand in list(y)."
            )
        rows = list(y)
    if is_frame(y) and y.shape[1] == 1:
        rows = [row[0] for row in rows]
    elif isinstance(y, np.ndarray) and y.ndim > 1 and (y.dtype.kind in "OU" or y.size == len(y)):
        # What an array makes of tuples that are equally long, or a column.
        rows = [row[0] if len(row) == 1 else _nested(row) for row in y.tolist()]
    return None if all(isinstance(row, Number) or is_missing(row) for row in rows) else rows


def _nested(row):
    return tuple(map(_nested, row)) if type(row) is list else row


def read_trees(y, tokens, counted=None):
    """Read the trees of sequences.

    Parameters
    ----------
    y : list of trees or None
        For each sequence a tree, or None where it is unknown.
    tokens : list of lists
        The sequences.
    counted : ndarray of bool of shape (n_sequences,), default=None
        Which sequences have weight; trees of others tell nothing.

    Returns
    -------
    roots : list of {Node, None}
        The trees.

    Raises
    ------
    ValueError
        If there are not as many trees as sequences, or one is no tree of its sequence; the message names it.
    """
    if len(y) != len(tokens):
        raise ValueError(f"y has {len(y)} entries, X has {len(tokens)} sequence(s).")
    roots = []
    for i, (tree, own) in enumerate(zip(y, tokens, strict=True)):
        if (counted is not None and not counted[i]) or is_missing(tree):
            roots.append(None)
            continue
        if not is_tree(tree):
            raise ValueError(
                f"y has {tree!r} for sequence {i}; it should be a tree in brackets, an nltk.Tree, or nested tuples."
            )
        try:
            roots.append(read_tree(tree, own))
        except ValueError as error:
            raise ValueError(f"the tree of sequence {i} in y {error}.") from error
    return roots
