"""Sequences that are read, and the parts that they are split into."""

import gzip
import json
import re
import zipfile
from collections import Counter

import numpy as np

from sklearn_dgm.grammar._trees import CLOSE, OPEN, as_brackets, parts_of

# Characters of a row of text; the share of the text, at its end, that is scored.
ROW_LENGTH, TEST_SHARE = 256, 0.1
N_TEST_NAMES = 757
N_TRAIN_SENTENCES = 3514
# The keys of a piano.
LOWEST_NOTE, N_NOTES = 21, 88


def names_by_sex(folder):
    """Return first names in lower case, sorted and each once, by the file that they are in."""
    with zipfile.ZipFile(folder / "sequences" / "nltk_names.zip") as archive:
        return {
            sex: sorted(
                {
                    line.strip()
                    for line in archive.read(f"names/{sex}.txt").decode().lower().splitlines()
                }
                - {""}
            )
            for sex in ("female", "male")
        }


def names(folder):
    """Return distinct first names in three parts: train, validation and test."""
    every = np.array(sorted({name for part in names_by_sex(folder).values() for name in part}))
    every = every[np.random.default_rng(0).permutation(len(every))].tolist()
    ends = N_TEST_NAMES, 2 * N_TEST_NAMES + 1
    return every[ends[1] :], every[ends[0] : ends[1]], every[: ends[0]]


def sexes(folder):
    """Return names that are in one file only, shuffled, and the sex of each."""
    by_sex = names_by_sex(folder)
    female, male = (set(by_sex[sex]) for sex in ("female", "male"))
    every = sorted((name, name in male) for name in female ^ male)
    order = np.random.default_rng(0).permutation(len(every))
    return [every[i][0] for i in order], np.array([every[i][1] for i in order]).astype(int)


def shakespeare(folder):
    """Return rows of characters of tiny shakespeare in two parts: train, and test, its last tenth."""
    with gzip.open(folder / "sequences" / "tinyshakespeare.txt.gz", "rt") as file:
        text = file.read()
    n_train = len(text) - round(TEST_SHARE * len(text))
    return tuple(
        [part[i : i + ROW_LENGTH] for i in range(0, len(part), ROW_LENGTH)]
        for part in (text[:n_train], text[n_train:])
    )


def chorales(folder):
    """Return chorales of Bach as flags of notes, arrays of shape (n_steps, 88), in three parts by quarter notes."""
    with gzip.open(folder / "sequences" / "jsb_chorales_quarter.json.gz", "rt") as file:
        parts = json.load(file)
    return tuple(
        [_piano_roll(piece) for piece in parts[name]] for name in ("train", "valid", "test")
    )


def _piano_roll(piece):
    roll = np.zeros((len(piece), N_NOTES), dtype=bool)
    for step, chord in enumerate(piece):
        roll[step, np.array(chord, dtype=int) - LOWEST_NOTE] = True
    return roll


def treebank(folder):
    """Return sentences of the Penn treebank sample in two parts, train and test, as lists of words and trees.

    Traces, functions of constituents and the empty roots are left out, and words are in lower case; those that are seen
    once in the sentences for training are "<unk>".
    """
    with zipfile.ZipFile(folder / "sequences" / "nltk_treebank.zip") as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".mrg"))
        texts = [archive.read(name).decode() for name in names]
    every = [_without_traces(tree) for text in texts for tree in _trees_of(text)]
    seen = Counter(word for tree in every[:N_TRAIN_SENTENCES] for word in words_of(tree))
    every = [_with_known_words(tree, seen) for tree in every]
    pairs = [(words_of(tree), tree) for tree in every]
    return pairs[:N_TRAIN_SENTENCES], pairs[N_TRAIN_SENTENCES:]


def _trees_of(text):
    """Yield the trees of a file as lists of a label and children."""
    opened = []
    for kind, value in parts_of(text):
        if kind == OPEN:
            opened.append([value])
        elif kind != CLOSE:
            opened[-1].append(value)
        elif len(opened) > 1:
            node = opened.pop()
            opened[-1].append(node)
        else:
            root = opened.pop()
            yield root[1] if root[0] == "" and len(root) == 2 else root


def _without_traces(tree):
    """Return a tree without traces and what is empty then, and without functions; None if nothing is left."""
    label, *children = tree
    if label == "-NONE-":
        return None
    if not isinstance(children[0], str):
        children = [child for child in map(_without_traces, children) if child is not None]
    if not children:
        return None
    # "-LRB-" begins with what else begins a function.
    return [label[0] + re.split("[-=|]", label[1:])[0] if label[0] != "-" else label, *children]


def words_of(tree):
    """Return the words of a tree in lower case."""
    _, *children = tree
    if isinstance(children[0], str):
        return [children[0].lower()]
    return [word for child in children for word in words_of(child)]


def _with_known_words(tree, seen):
    label, *children = tree
    if isinstance(children[0], str):
        word = children[0].lower()
        return [label, word if seen[word] > 1 else "<unk>"]
    return [label, *(_with_known_words(child, seen) for child in children)]


def in_brackets(tree):
    """Return a tree in brackets."""
    label, *children = tree
    return as_brackets(label, [c if isinstance(c, str) else in_brackets(c) for c in children])
